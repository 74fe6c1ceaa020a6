"""The life of a message: tasks, leases, retry, settle; and the verbs that every store speaks.

Delivery takes a DeliveryTask and returns an Attempt; the pure `settle` turns it into a Settlement; only the store
writes it, and refuses an expired lease. What failed for good is remembered as a notice until its DSN is accepted.
"""
