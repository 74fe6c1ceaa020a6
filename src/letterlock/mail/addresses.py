"""Mailboxes as written in MAIL FROM and RCPT TO (RFC 5321 section 4.1.2)."""

import functools
import re

from letterlock.frozen import frozen_dataclass
from letterlock.mail.names import InvalidName, canonical

MAX_LOCAL_PART_OCTETS = 64  # RFC 5321 section 4.5.3.1.1
MAX_PATH_OCTETS = 254  # 256 with the angle brackets (RFC 5321 section 4.5.3.1.3)
BEYOND_ASCII = r"\u00a0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff"  # no controls, no line ends, no halves
_ATEXT = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~\-{BEYOND_ASCII}]+"
_DOT_STRING = re.compile(rf"{_ATEXT}(\.{_ATEXT})*")
# Dots where the grammar has none (`a..b@`, `a.@`, `.a@`): providers have given such addresses to millions of people.
_ODD_DOTS = re.compile(rf"\.*{_ATEXT}(\.+{_ATEXT})*\.*")
_QUOTES = 2  # one at each end
_QUOTED_STRING = re.compile(rf'"([\x20-\x21\x23-\x5b\x5d-\x7e{BEYOND_ASCII}]|\\[\x20-\x7e])*"')
_SOURCE_ROUTE = re.compile(r"@[^:]+:")


class InvalidAddress(ValueError):
    """The text is not a mailbox by RFC 5321."""


@frozen_dataclass(frozen=True, slots=True, order=True)
class Mailbox:
    """A mailbox: local part as given (quoting kept), domain as lower-case A-labels or an address literal."""

    local_part: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the mailbox can only travel with SMTPUTF8 (RFC 6531 section 3.3)."""
        return not self.local_part.isascii()


@functools.lru_cache(maxsize=4096)  # a text is bounded by the command line that it came in; a server sees few names
def parse_mailbox(text: str) -> Mailbox:
    """Parse `local@domain`; a source route before it is ignored (RFC 5321 appendix C).

    A local part with dots at its ends or side by side is accepted, and quoted: that is the same mailbox, written as
    RFC 5321 section 4.1.2 allows it, so it can travel through servers that are strict. Raises InvalidAddress.
    """
    text = _SOURCE_ROUTE.sub("", text, count=1) if text.startswith("@") else text
    local_part, at, domain = text.rpartition("@")
    if not at or not local_part or not domain:
        raise InvalidAddress("an address has the form local@domain")
    local_part = _parse_local_part(local_part)
    try:
        name = canonical(domain)
    except InvalidName as error:
        raise InvalidAddress(str(error)) from None
    if "%" in name:  # a zone means something on one machine only (RFC 4007), and one link has several names
        raise InvalidAddress("an address literal has no zone (RFC 5321 section 4.1.3)")
    if len(local_part.encode()) + 1 + len(name) > MAX_PATH_OCTETS:
        raise InvalidAddress(f"the address is longer than {MAX_PATH_OCTETS} octets")
    return Mailbox(local_part, name)


def _parse_local_part(text: str) -> str:
    """A dot-string or a quoted string, as given; odd dots quoted. Raises InvalidAddress."""
    quoted = text.startswith('"')
    octets = len(text.encode("utf-8", "surrogatepass")) - (_QUOTES if quoted else 0)  # the quotes may be ours
    if octets > MAX_LOCAL_PART_OCTETS:
        raise InvalidAddress(f"the local part is longer than {MAX_LOCAL_PART_OCTETS} bytes")
    if _DOT_STRING.fullmatch(text) or (quoted and _QUOTED_STRING.fullmatch(text)):
        return text
    if _ODD_DOTS.fullmatch(text):
        return f'"{text}"'
    raise InvalidAddress("the local part is malformed")
