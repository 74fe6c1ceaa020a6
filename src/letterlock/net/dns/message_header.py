"""The few octets of a DNS message that its carrier looks at: id, flags, question (RFC 1035 section 4.1)."""

from collections.abc import Callable

HEADER_OCTETS = 12  # RFC 1035 section 4.1.1
MAX_MESSAGE_OCTETS = 65_535  # the length field over TCP has 16 bits (RFC 1035 section 4.2.2)
_QR, _OPCODE = 0x80, 0x78  # bits of the third octet (RFC 1035 section 4.1.1)
# FORMERR, SERVFAIL, NOTIMP, REFUSED: another upstream may do better.
_POOR = frozenset({1, 2, 4, 5})
_NO_QUESTION = "the query has no question"


def question(query: bytes) -> bytes:
    """The question of a query that we wrote ourselves: name, type, class. Raises ValueError when there is none."""
    end = HEADER_OCTETS
    try:
        while octets := query[end]:
            end += octets + 1
    except IndexError:
        raise ValueError(_NO_QUESTION) from None
    if len(query) < end + 5:
        raise ValueError(_NO_QUESTION)
    return query[HEADER_OCTETS : end + 5]


def answers(reply: bytes, query: bytes, *, asked: bytes | None = None, exact_case: bool = False) -> bool:
    """Whether a reply is to this query: id, QR, opcode and question alike (RFC 5452 section 9.1).

    `asked` is the query's question, where that is known already.
    """
    if len(reply) < HEADER_OCTETS or reply[:2] != query[:2]:
        return False
    if not reply[2] & _QR or (reply[2] ^ query[2]) & _OPCODE or reply[4:6] != b"\x00\x01":
        return False
    asked = asked or question(query)
    if reply.startswith(asked, HEADER_OCTETS):
        return True
    echoed = reply[HEADER_OCTETS : HEADER_OCTETS + len(asked)]
    return not exact_case and echoed.lower() == asked.lower()


def poor(reply: bytes) -> bool:
    """Whether a reply says that this upstream could not, or would not, answer."""
    return reply[3] & 0x0F in _POOR


def refuses(reply: bytes) -> bool:
    """Whether a reply says that this upstream does not answer such queries, whatever they ask."""
    return poor(reply) and reply[3] & 0x0F != 2


def with_id(message: bytes, message_id: int) -> bytes:
    """The message with another id."""
    return message_id.to_bytes(2, "big") + message[2:]


def mix_case(query: bytes, random_bits: Callable[[int], int]) -> bytes:
    """The query with its letters in random case, which a reply has to echo: more for a forger to guess (0x20).

    Length octets are below 64, and so are never letters.
    """
    name = question(query)[:-4]  # without type and class
    bits = random_bits(len(name))
    mixed = bytes(octet ^ 0x20 if bits >> at & 1 and _letter(octet) else octet for at, octet in enumerate(name))
    return query[:HEADER_OCTETS] + mixed + query[HEADER_OCTETS + len(name) :]


def _letter(octet: int) -> bool:
    return 0x41 <= octet & 0xDF <= 0x5A  # A to Z, and a to z without the bit of the case


def restored(reply: bytes, query: bytes, asked: bytes | None = None) -> bytes:
    """The reply with the id and question of `query`; names that point to the question get its case.

    `asked` is the query's question, where that is known already.
    """
    asked = asked or question(query)
    if reply.startswith(asked, HEADER_OCTETS) and reply[:2] == query[:2]:
        return reply
    return query[:2] + reply[2:HEADER_OCTETS] + asked + reply[HEADER_OCTETS + len(asked) :]
