"""The domain in From, to choose the key that signs (RFC 6376 section 5.1). Not for decisions about foreign mail."""

import re
from functools import lru_cache

from letterlock.mail.names import InvalidName, normalise
from letterlock.mailauth.message import Message

_MAX_OCTETS = 8192  # a From field of more is no address that we would sign for
# What has no end is matched as well, up to where it must have ended: looked through once, not from each beginning.
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+(")?', re.DOTALL)
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*+(\))?", re.DOTALL)
_REMEMBERED_OCTETS = 256  # more than nearly every From has
_MAX_NESTING = 8  # of comments
_ANGLE = re.compile(rb"<[^<>]*@([^<>@]*)>")
_BARE = re.compile(rb"(?<=[^\s,;:<>@])@([^\s,;:<>@]+)")


def author_domain(message: Message) -> str | None:
    """The one domain of all authors, in A-labels; None when there is none, or several, or From is malformed."""
    fields = [field for field in message.fields if field.name == b"from"]
    if len(fields) != 1 or len(value := fields[0].value) > _MAX_OCTETS:
        return None
    return _remembered(value) if len(value) <= _REMEMBERED_OCTETS else _domain_in(value)


@lru_cache(maxsize=256)  # a relay signs for few authors; 64 KB at most
def _remembered(value: bytes) -> str | None:
    return _domain_in(value)


def _domain_in(value: bytes) -> str | None:
    text = _QUOTED.sub(lambda found: b"q" if found[1] else b'"', value.replace(b"\r\n", b""))
    for _ in range(_MAX_NESTING):
        if b"(" not in text:
            break
        text = _COMMENT.sub(lambda found: b" " if found[1] else found[0], text)
    if b"(" in text or b'"' in text:  # one that does not end, or is nested too deeply
        return None
    try:
        found = {normalise(domain.strip().decode()) for domain in _ANGLE.findall(text) or _BARE.findall(text)}
    except (InvalidName, UnicodeDecodeError):  # nobody's domain: no key of ours is for it
        return None
    return found.pop() if len(found) == 1 else None
