"""Receiving mail: from a listening socket to a message on disk (RFC 5321).

How it works. `Listener` accepts connections, each in a task of its own, and counts them. A session reads, feeds the
sans-IO `smtp.server`, answers its decisions, and writes all replies to one read at once. A `Profile` says what a
listener is; `steps` turns it into the steps of a `pipeline`, which decide on senders, recipients and messages. A
message is answered with 250 only after `store.accept` returned, and so is on disk; if the store fails, the client gets
a 4yz reply and keeps the message.

What it refuses: relaying for anybody but the configured networks; more connections, bytes in memory, or recipients
than the options allow; clients that are slower than the time-outs allow. `letterlock.smtp` decides what is well-formed.
Stopping finishes open mail transactions, then replies 421.

The log uses Postfix's wording (`connect from`, `NOQUEUE: reject:`, `ID: client=`), so that its log tools understand it.
"""
