"""Delivery status notifications: telling a sender, in plain words and for machines, what became of a message.

One message of three parts (RFC 3462, RFC 3464): an explanation for people, the status of each recipient for programs,
and the header of the message that it is about. Never the body: it was given to us for somebody else. Whatever a remote
server said is quoted, bounded and without control characters. Pure: the date and the ids are handed in.
"""

from letterlock.dsn.compose import MAX_HEADER_OCTETS, Report, ToldRecipient, compose, header_of

__all__ = ["MAX_HEADER_OCTETS", "Report", "ToldRecipient", "compose", "header_of"]
