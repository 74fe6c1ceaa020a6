"""Receiving mail: from a listening socket to a message on disk (RFC 5321).

How it works. `Listener` accepts connections, each in a task of its own, and counts them. A session reads, feeds the
sans-IO `smtp.server`, answers its decisions, and writes all replies to one read at once. `relay` says who may send
where. A message is answered with 250 only after `store.accept` returned, and so is on disk; if the store fails, the
client is told to come again, and keeps it.

What it refuses: relaying for anybody but the configured networks; more connections, octets in memory, or recipients
than the options say; clients that are slower than the time-outs allow. What the wire may say and may not,
`letterlock.smtp` decides. Stopping finishes what is in hand, then says 421.

The log speaks Postfix's words (`connect from`, `NOQUEUE: reject:`, `ID: client=`), so that its log tools understand it.
"""
