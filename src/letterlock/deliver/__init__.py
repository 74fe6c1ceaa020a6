"""Sending mail: one attempt from start to end, and the worker that has attempts made.

An attempt (`attempt.py`) asks for the evidence, lets the pure policy say what must hold, opens a session with one
judged address (`session.py`), shows the policy what the session showed, and only with a `Cleared` in hand sends the
message (`transaction.py`): MAIL FROM cannot be sent without one. It returns an Attempt and writes nothing. The worker
(`worker.py`) leases tasks, keeps the leases alive, and hands each Attempt to `queue.settle` and the store.

Nobody starves: a next hop has few seats, fewer in trouble (`seats.py`); it is leased no more than it will soon want
(`intake.py`); one that keeps failing rests (`rests.py`). A host's addresses race for the connection (`eyeballs.py`), a
few handshakes with it go on at once (`turns.py`), and what its refusals ask for is read with care (`advice.py`). Each
route may have its own schedule and source addresses (`terms.py`).

RFC 5321 (sections 4.5.3.2, 4.5.4.1, 5.1), RFC 3207, RFC 7672, RFC 8305. What this room refuses: to retry with less
protection than was required (a fallback is data in the Requirement), to look a name up again between judging and
dialling, to bounce a message for what a server said before the session was cleared, and to call sent what was not
answered 2yz.
"""
