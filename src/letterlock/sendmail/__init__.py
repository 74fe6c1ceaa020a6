"""`sendmail` and `mailq`, for cron, mailers and scripts that know no other way to send.

`letterlock-sendmail` reads a message from standard input, gives it what RFC 5322 demands and it lacks (From, Date,
Message-ID), and hands it to the running server over SMTP (RFC 5321, DSN parameters of RFC 3461). It has no privileges
and no queue: who may send is the server's affair. What could not be handed over for now waits in the server's drop
directory, or, where there is none, in a file of the user's own; the exit status is one of sysexits.h.
`letterlock-mailq` asks the server over its control socket and prints what Postfix's `mailq` would.

Both are started often and live shortly, so this package imports nothing of the rest of the house, and of the standard
library only what the interpreter has loaded anyway: no `re`, `dataclasses`, `typing`, `socket`, `email` or `argparse`
(each costs 3 to 15 ms). `tests/sendmail/test_start.py` holds that list.

It refuses what could become a header, a command or a recipient that nobody meant: control characters in addresses and
names, malformed address lists, octets above 127 in addresses unless the server offers SMTPUTF8 (RFC 6531).
"""
