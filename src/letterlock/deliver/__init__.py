"""Sending mail: one attempt from start to end.

An attempt (`attempt.py`) asks for the evidence, lets the pure policy say what must hold, opens a session with one
judged address (`session.py`), shows the policy what the session showed, and only with a `Cleared` in hand sends the
message (`transaction.py`): MAIL FROM cannot be sent without one. It returns an Attempt and writes nothing.
`schedule` leases tasks, keeps the leases alive, and hands each Attempt to `queue.settle` and the store.

A host's addresses race for the connection (`eyeballs.py`), only a few handshakes with it are in progress at once
(`handshake_slots.py`), and a server's refusals may ask for fewer connections or another time (`reply_hints.py`). Each
route may have its own schedule and source addresses (`route_settings.py`).

RFC 5321 (sections 4.5.3.2, 4.5.4.1, 5.1), RFC 3207, RFC 7672, RFC 8305. What this room refuses: to retry with less
protection than was required (a fallback is data in the Requirement), to look a name up again between judging and
dialling, to bounce a message for what a server said before the session was cleared, and to call sent what was not
answered 2yz.
"""
