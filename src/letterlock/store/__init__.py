"""Where messages are stored. An accepted message is on disk, fsynced (RFC 5321 section 6.1).

`engines` opens the store that the configuration names. The SQLite engine has two parts. A message that is about to be
delivered is appended to segments (`segments`), and most messages end there; one that has to wait moves into a SQLite
file (`sqlite`, its SQL in files). `adoption` takes over the queues of former workers. Every store implements the
protocols of letterlock.queue.store, and one contract suite per protocol holds it to them. Contents have a checksum on
the disk, and with the operator's key they are encrypted (`sealing`). A damaged message is reported and set aside, never
served.
"""
