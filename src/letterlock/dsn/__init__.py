"""Delivery status notifications: telling a sender, in plain words and for machines, what became of a message.

One message of three parts (RFC 3462, RFC 3464): an explanation for people, the status of each recipient for programs,
and the header of the message that it is about. The body goes back only to a sender who asked for it (RET=FULL, RFC 3461
section 4.3) and only of what has failed and is not large. Whatever a stranger said is quoted, bounded and without
control characters; the boundary is in no part, so that nobody can add parts. Pure: the date and the ids are
handed in.
"""

from letterlock.dsn.compose import MAX_HEADER_OCTETS, MAX_RETURNED_OCTETS, compose, header_of
from letterlock.dsn.reports import Fate, Report, ToldReason, ToldRecipient
from letterlock.dsn.seven_bit import in_seven_bits

__all__ = [
    "MAX_HEADER_OCTETS",
    "MAX_RETURNED_OCTETS",
    "Fate",
    "Report",
    "ToldReason",
    "ToldRecipient",
    "compose",
    "header_of",
    "in_seven_bits",
]
