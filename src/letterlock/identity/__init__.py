"""Decides whose identity a certificate chain proves.

A server presents a chain; this room decides whether it proves the server's identity, and if not, how close it came.
There are two kinds of proof. DANE (`dane`): a TLSA RRset from signed DNS names the server's key or certificate, or the
authority that issued it (RFC 6698, RFC 7671, RFC 7672). PKIX (`pkix`): the chain ends at a root that somebody chose to
trust, and the certificate has the right name (RFC 5280, RFC 9525).

Both take octets, names and a time, and return a match, or a mismatch that explains what was wanted and what was
seen. Nothing here asks for TLSA records or opens a session, and nothing here judges whether the names or the records
deserve belief: that is `letterlock.policy`. Paths are found here within a budget of signature checks (`path`), and
checked by OpenSSL and by stricter rules of our own (`validity`); names are compared in `certificate_names`. Refused:
PKIX-TA(0) and PKIX-EE(1) records (RFC 7672 section 3.1.3), SHA-1, short keys, keys that cost too much (`strength`),
and common names wherever a DNS-ID stands. The reasons are in our own words: no text of a library leaves this room.
"""
