"""Seal a message that goes on: add the next ARC set (RFC 8617 section 5.1).

fields = seal(message, verdict, results, key, now)
content = fields + content
"""

import base64
import re
from hashlib import sha256

from letterlock.mailauth.arc.sets import MAX_SETS, MESSAGE_SIGNATURE, RESULTS, SEAL, Status, instance_of
from letterlock.mailauth.arc.verify import ChainVerdict
from letterlock.mailauth.dkim.canonical import Form, body_digest, canonical_field
from letterlock.mailauth.dkim.reasons import DkimReason, UnusableSignature
from letterlock.mailauth.dkim.sign import signed_part
from letterlock.mailauth.dkim.signature_writer import draft
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.message import Field, Message

_NAMES = {
    RESULTS: b"ARC-Authentication-Results",
    MESSAGE_SIGNATURE: b"ARC-Message-Signature",
    SEAL: b"ARC-Seal",
}
# RFC 8601 section 2.2; possessive, for the fields of others are read with it, and may be a megabyte of digits
_AUTHSERV_ID = re.compile(rb"[ \t]*+([^\s;\"()]++)(?:[ \t]++[0-9]++)?[ \t]*+;")


def seal(
    message: Message,
    verdict: ChainVerdict,
    results: bytes,
    key: SigningKey,
    now: float,
    names: tuple[bytes, ...] | None = None,
) -> bytes:
    """The three fields to put on top of the message, each with its CRLF; b"" when nothing may be added.

    `verdict` is the one on the chain as it came in; `results` the value of an Authentication-Results field (RFC 8601),
    authserv-id first, that states what this server found. Nothing is added to a chain that an earlier hop gave up, nor
    after 50 sets (sections 5.1 and 4.2.1). `names` are signed instead of those that our DKIM signatures cover. `now`,
    the time in the seal, is in seconds since 1970.
    """
    instance = _next_instance(message, verdict)
    if instance is None:
        return b""
    number = b"i=%d" % instance
    results_field = _NAMES[RESULTS] + b": " + number + b"; " + results.strip(b" \t\r\n")
    signature_field = _message_signature(message, number, key, now, names)
    seal_field = _seal(verdict, number, (results_field, signature_field), key, now)
    return b"".join(field + b"\r\n" for field in (seal_field, signature_field, results_field))


def own_results(message: Message, authserv_id: str) -> bytes:
    """The Authentication-Results fields of this server in one, authserv-id first: what a seal records.

    Only after fields of others that claim our authserv-id have been removed (RFC 8601 section 5).
    """
    found = []
    for field in message.named(b"authentication-results"):
        matched = _AUTHSERV_ID.match(field.value.replace(b"\r\n", b""))
        if matched and matched[1].decode("utf-8", "replace").lower() == authserv_id.lower():
            found.append(field.value.partition(b";")[2].strip(b" \t\r\n;"))
    return b";\r\n ".join([authserv_id.encode(), *(found or [b"none"])])


def _next_instance(message: Message, verdict: ChainVerdict) -> int | None:
    """The number of the new set; None when none may be added."""
    if verdict.reason is DkimReason.ARC_FAILED_BEFORE:
        return None
    highest = len(verdict.sets) or max((_readable_instance(field) for field in _arc_fields(message)), default=0)
    return highest + 1 if highest < MAX_SETS else None


def _arc_fields(message: Message) -> tuple[Field, ...]:
    return message.named(RESULTS) + message.named(MESSAGE_SIGNATURE) + message.named(SEAL)


def _readable_instance(field: Field) -> int:
    try:
        return instance_of(field)
    except UnusableSignature:  # fields without a readable number count for nothing
        return 0


def _message_signature(
    message: Message, number: bytes, key: SigningKey, now: float, names: tuple[bytes, ...] | None
) -> bytes:
    signed_names, header = signed_part(message) if names is None else _signed_part(message, names)
    body_hash = base64.b64encode(body_digest(message.body_views(), Form.RELAXED))
    made = draft(
        _NAMES[MESSAGE_SIGNATURE],
        [b"a=" + key.algorithm.encode()],
        [
            b"bh=" + body_hash,
            b"c=relaxed/relaxed",
            b"d=" + key.domain.encode(),
            b"h=" + signed_names,
            number,
            b"s=" + key.selector.encode(),
            b"t=%d" % now,
        ],
    )
    signed = header + canonical_field(Field(MESSAGE_SIGNATURE, made.unsigned), Form.RELAXED)
    # The seal covers white space inside b=. The signing vectors have none there, at most 700 bytes in one line.
    return made.signed(key.sign(sha256(signed).digest()), in_one_line=True)


def _signed_part(message: Message, names: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """The value of h= and the fields that it names, for names that are given."""
    left = {name: list(message.named(name)) for name in names}
    fields = [left[name].pop() for name in names if left[name]]
    return b":".join(names), b"".join(canonical_field(field, Form.RELAXED) + b"\r\n" for field in fields)


def _seal(verdict: ChainVerdict, number: bytes, own: tuple[bytes, bytes], key: SigningKey, now: float) -> bytes:
    """A seal over all sets; over its own only, when the chain does not hold (section 5.1.2)."""
    before = verdict.sets if verdict.status is Status.PASS else ()
    fields = [field for each in before for field in (each.results, each.signature.field, each.seal.field)]
    fields += [Field(name, raw) for name, raw in zip((RESULTS, MESSAGE_SIGNATURE), own, strict=True)]
    made = draft(
        _NAMES[SEAL],
        [b"a=" + key.algorithm.encode()],
        [
            b"cv=" + verdict.status.encode(),
            b"d=" + key.domain.encode(),
            number,
            b"s=" + key.selector.encode(),
            b"t=%d" % now,
        ],
    )
    signed = b"".join(canonical_field(field, Form.RELAXED) + b"\r\n" for field in fields)
    signed += canonical_field(Field(SEAL, made.unsigned), Form.RELAXED)
    return made.signed(key.sign(sha256(signed).digest()))
