"""Where messages are kept. What a store has answered for is on disk, fsynced (RFC 5321 section 6.1).

`sqlite` is the queue of one machine; `memory` is for tests, and speaks the same verbs (letterlock.queue.store). Both
are held to them by one contract suite. SQL stands in files.
"""
