"""Sockets: DNS queries, outgoing connections, and TLS after STARTTLS.

The pure rooms say what is to be sent and judge what came back; this room moves the octets. It dials addresses and never
names, so that what was judged is what is dialled, and every read has a bound.
"""
