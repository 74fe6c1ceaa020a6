"""The life of a message: tasks, leases, retry, settle; and the verbs that every store speaks.

Delivery takes a DeliveryTask and returns an Attempt; the pure `settle` turns it into a Settlement; only the store
writes it, and refuses an expired lease. What failed for good is remembered as a notice until its DSN is accepted.
An operator's orders (`orders`: hold, quarantine, release, retry, remove, return) are values that the store obeys; what
is held or in quarantine is never leased, and never expires.
"""
