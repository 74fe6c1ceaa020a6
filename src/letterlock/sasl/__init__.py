"""SASL, the server's side (RFC 4422): PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS. Pure: messages in, steps out.

An exchange is given the client's messages and returns what to do next: send a challenge, check a password, fetch a
user's SCRAM credential, or end. It never learns whether a user exists: the driver gives it a false credential then.
"""
