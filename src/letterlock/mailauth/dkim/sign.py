"""Sign messages (RFC 6376 section 5): several keys at once, and a guard against fields that are added later.

    signer = Signer([key, ...])
    content = signer.sign(split(content), now) + content

The cost for a message of 4 KB: 0.03 ms for hashing and writing, and for each key what `SigningKey.sign` costs, during
which other threads run. The body is hashed once for all keys, in blocks, without a copy.
"""

from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256

from letterlock.mailauth.dkim.canonical import Form, body_digest, canonical_field, relaxed_digest, relaxed_value
from letterlock.mailauth.dkim.signature import Algorithm
from letterlock.mailauth.dkim.signature_writer import SignatureDraft, draft
from letterlock.mailauth.dkim.signing_domain import author_domain
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.message import Field, Message

# Named once more than they occur, so that one more breaks the signature (RFC 6376 sections 5.4.2 and 8.15).
# These are what a reader sees and what decides how a body is shown, whether they are there or not.
GUARDED = (
    b"from",
    b"reply-to",
    b"subject",
    b"date",
    b"to",
    b"cc",
    b"message-id",
    b"in-reply-to",
    b"references",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
)
# Guarded in the same way, but only when they occur: lists and forwarders add them to mail of others, rightly.
GUARDED_IF_PRESENT = (
    b"sender",
    b"content-disposition",
    b"content-id",
    b"content-description",
    b"resent-date",
    b"resent-from",
    b"resent-to",
    b"resent-cc",
    b"resent-message-id",
    b"list-id",
    b"list-help",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
    b"tls-report-domain",  # RFC 8460 section 5.3: both are to be signed
    b"tls-report-submitter",
    b"feedback-id",
)
# Of each name: RFC 5322 section 3.6 allows one, and Resent- blocks repeat. All names together must stay below the 256
# that our own verifier reads. Fields above are unsigned, as they are where a message is malformed beyond that.
MAX_INSTANCES = 7

_ALWAYS = frozenset(GUARDED)
_NAMES = GUARDED + GUARDED_IF_PRESENT


class Signer:
    """Signs for the domains that its keys are for, with every key of a domain."""

    def __init__(self, keys: Iterable[SigningKey], *, lifetime_seconds: int | None = None) -> None:
        """`lifetime_seconds` puts an expiry (x=) into the signatures; the queue's lifetime and a week is a good one."""
        self._lifetime_seconds = lifetime_seconds
        self._keys: dict[str, list[SigningKey]] = {}
        for key in keys:
            self._keys.setdefault(key.domain, []).append(key)

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains that it can sign for."""
        return tuple(self._keys)

    def keys_for(self, domain: str) -> Sequence[SigningKey]:
        """The keys of a domain (lower-case A-labels), or of the nearest one above it, which DMARC accepts too."""
        while domain:
            if domain in self._keys:
                return self._keys[domain]
            domain = domain.partition(".")[2]
        return ()

    def sign(self, message: Message, now: float, domain: str | None = None) -> bytes:
        """The DKIM-Signature fields to put on top of the message, each with its CRLF; b"" when there is no key.

        Without a `domain` the one in From decides; a From with several domains is not signed. `now` is in seconds since
        1970 and becomes t= (RFC 6376 section 3.5).
        """
        domain = author_domain(message) if domain is None else domain
        keys = self.keys_for(domain) if domain else ()
        return sign_with(keys, message, now, self._lifetime_seconds) if keys else b""


def sign_with(keys: Sequence[SigningKey], message: Message, now: float, lifetime_seconds: int | None = None) -> bytes:
    """The DKIM-Signature fields made with these keys, relaxed/relaxed, over the whole body (RFC 6376 section 5).

    `now`, in seconds since 1970, becomes t=, and `lifetime_seconds` after it x= (None: the signature never expires).
    """
    names, header = signed_part(message)
    digest = None if message.rest is not None else relaxed_digest(message.body)
    body_hash = b2a_base64(digest or body_digest(message.body_views(), Form.RELAXED), newline=False)
    signed_at = int(now)
    expires_at = signed_at + lifetime_seconds if lifetime_seconds else None
    hashed = sha256(header)
    fields = []
    for key in keys:
        unsigned, relaxed = _around_body_hash(key.domain, key.selector, key.algorithm, signed_at, expires_at, names)
        signed = hashed.copy() if len(keys) > 1 else hashed
        signed.update(body_hash.join(relaxed))
        made = SignatureDraft(body_hash.join(unsigned), b"")
        fields.append(made.signed(key.sign(signed.digest())) + b"\r\n")
    return b"".join(fields)


_BODY_HASH_PLACE = b"?" * 44  # as long as a SHA-256 in base64, and no character of any tag


@lru_cache(maxsize=64)  # messages of one second differ by little but this; 5 KB each at most
def _around_body_hash(
    domain: str, selector: str, algorithm: Algorithm, signed_at: int, expires_at: int | None, names: bytes
) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """What stands before and after the value of bh=, in a field with an empty b=, and in its relaxed form."""
    tags = [
        b"v=1",
        b"a=" + algorithm.encode(),
        b"c=relaxed/relaxed",
        b"d=" + domain.encode(),
        b"s=" + selector.encode(),
    ]
    times = [b"t=%d" % signed_at] + ([] if expires_at is None else [b"x=%d" % expires_at])
    made = draft(b"DKIM-Signature", [*tags, *times, b"h=" + names, b"bh=" + _BODY_HASH_PLACE])
    relaxed = canonical_field(Field(b"dkim-signature", made.unsigned), Form.RELAXED)
    before, _, after = made.unsigned.partition(_BODY_HASH_PLACE)
    relaxed_before, _, relaxed_after = relaxed.partition(_BODY_HASH_PLACE)
    return (before, after), (relaxed_before, relaxed_after)


def signed_part(message: Message) -> tuple[bytes, bytes]:
    """The value of h= for a message, and the fields that it names in their relaxed form."""
    fields = message.fields
    present = tuple([field.name for field in fields])
    short = len(present) <= _REMEMBERED_FIELDS and sum(map(len, present)) <= _REMEMBERED_OCTETS
    names, places = _remembered_plan(present) if short else _plan(present)
    chosen = [fields[at] for at in places]
    return names, b"".join([b"%b:%b\r\n" % (field.name, relaxed_value(field.value)) for field in chosen])


_REMEMBERED_FIELDS, _REMEMBERED_OCTETS = 64, 2048  # of a header's names: 1.5 times what large mail systems write


def _plan(present: tuple[bytes, ...]) -> tuple[bytes, tuple[int, ...]]:
    """The value of h= for a message with these fields, from the top, and the places of those that it names."""
    where: dict[bytes, list[int]] = {}
    for at, name in enumerate(present):
        where.setdefault(name, []).append(at)
    names: list[bytes] = []
    places: list[int] = []
    for name in _NAMES:
        found = where.get(name)
        if found is not None:
            names += [name] * (len(found) + 1 if len(found) <= MAX_INSTANCES else MAX_INSTANCES)
            places += reversed(found[-MAX_INSTANCES:])
        elif name in _ALWAYS:
            names.append(name)
    return b":".join(names), tuple(places)


_remembered_plan = lru_cache(maxsize=64)(_plan)  # the messages of a relay have a few kinds of headers
