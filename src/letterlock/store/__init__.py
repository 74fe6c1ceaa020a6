"""Where messages are kept. What a store has answered for is on disk, fsynced (RFC 5321 section 6.1).

The queue of one machine (`fresh.open_queue`) has two parts. What is about to be delivered is appended to segments
(`segments`, `segment_log`), and most of it ends there; whatever else becomes of a message, it moves into a SQLite file
(`sqlite`, its SQL in files). `recovery` moves what a dead server left. `memory` is for tests. All of them speak the
same verbs (letterlock.queue.store), and one contract suite holds them to it. Contents have a checksum on the disk, and
with the operator's key they are encrypted (`sealing`). What is damaged is told of and set aside, never served.
"""
