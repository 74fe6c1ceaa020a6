"""The ARC sets of a message, and the fields in them, read strictly (RFC 8617 section 4)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from letterlock.mailauth.dkim.reasons import DkimReason, UnusableSignature
from letterlock.mailauth.dkim.signature import (
    Algorithm,
    Signature,
    algorithm,
    domain_and_selector,
    signature_of,
    signed_names,
    times,
    value_span,
)
from letterlock.mailauth.dkim.tags import Tag, octets, parse_tags, shown
from letterlock.mailauth.message import Field, Message

RESULTS, MESSAGE_SIGNATURE, SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"
MAX_SETS = 50  # RFC 8617 section 4.2.1

_RESULTS_INSTANCE = re.compile(rb"(?:[ \t]|\([^()\\]*+\))*+i[ \t]*+=[ \t]*+([0-9]{1,2})[ \t]*+;")  # section 4.1.1
_INSTANCE = re.compile(rb"[0-9]{1,2}")
_SIGNATURE_TAGS = (b"i", b"a", b"b", b"bh", b"d", b"h", b"s")
_SEAL_TAGS = (b"i", b"a", b"b", b"cv", b"d", b"s")


class Status(StrEnum):
    """The state of a chain, cv= (RFC 8617 section 4.4)."""

    NONE = "none"
    PASS = "pass"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """An ARC-Seal that can be verified once its key is known."""

    field: Field
    algorithm: Algorithm
    domain: str
    selector: str
    status: Status
    signature: bytes
    unsigned_value: tuple[int, int]

    @property
    def key_name(self) -> str:
        """The name of the TXT record with the key."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def unsigned_field(self) -> Field:
        """The field with an empty b=."""
        start, end = self.unsigned_value
        return Field(self.field.name, self.field.raw[:start] + self.field.raw[end:])


@dataclass(frozen=True, slots=True)
class ArcSet:
    """What one hop added: its results, its signature over the message, its seal over all sets so far.

    `instance` counts the hops from 1 (RFC 8617 section 4.2.1).
    """

    instance: int
    results: Field
    signature: Signature
    seal: Seal


def arc_sets(message: Message) -> tuple[ArcSet, ...]:
    """The sets from the first on; empty when the message has no field of ARC. Raises UnusableSignature."""
    groups = [_by_instance(message.named(name)) for name in (RESULTS, MESSAGE_SIGNATURE, SEAL)]
    count = max(map(len, groups))
    if any(sorted(group) != list(range(1, count + 1)) for group in groups):
        raise UnusableSignature(DkimReason.ARC_SETS, _counted(groups))
    results, signatures, seals = groups
    return tuple(
        ArcSet(number, results[number], parse_message_signature(signatures[number]), parse_seal(seals[number]))
        for number in range(1, count + 1)
    )


def _counted(groups: list[dict[int, Field]]) -> str:
    results, signatures, seals = (",".join(map(str, sorted(group))) or "none" for group in groups)
    return f"results {results}; signatures {signatures}; seals {seals}"


def _by_instance(fields: tuple[Field, ...]) -> dict[int, Field]:
    if len(fields) > MAX_SETS:
        raise UnusableSignature(DkimReason.ARC_TOO_LONG, f"{len(fields)} fields {fields[0].name.decode()}")
    found: dict[int, Field] = {}
    for field in fields:
        number = instance_of(field)
        if number in found:
            raise UnusableSignature(DkimReason.ARC_SETS, f"two {field.name.decode()} of instance {number}")
        found[number] = field
    return found


def instance_of(field: Field) -> int:
    """The number in i=. Raises UnusableSignature."""
    if field.name == RESULTS:
        matched = _RESULTS_INSTANCE.match(field.value.replace(b"\r\n", b""))
        text = matched[1] if matched else b""
    else:
        tags = parse_tags(field.value)
        text = tags[b"i"].value if b"i" in tags else b""
    number = int(text) if _INSTANCE.fullmatch(text) else 0
    if not 1 <= number <= MAX_SETS:
        raise UnusableSignature(DkimReason.ARC_SETS, f"{field.name.decode()} without an instance from 1 to {MAX_SETS}")
    return number


def parse_message_signature(field: Field) -> Signature:
    """Read an ARC-Message-Signature (section 4.1.2). Raises UnusableSignature."""
    tags = parse_tags(field.value)
    _require(tags, _SIGNATURE_TAGS)
    names = signed_names(tags[b"h"].value)
    if b"from" not in names:
        raise UnusableSignature(DkimReason.FROM_NOT_SIGNED)
    if SEAL in names:
        raise UnusableSignature(DkimReason.SEAL_SIGNED)
    domain, _ = domain_and_selector(tags)
    return signature_of(field, tags, names, f"@{domain}")


def parse_seal(field: Field) -> Seal:
    """Read an ARC-Seal (section 4.1.3). Raises UnusableSignature."""
    tags = parse_tags(field.value)
    _require(tags, _SEAL_TAGS)
    if b"h" in tags:
        raise UnusableSignature(DkimReason.FORBIDDEN_TAG)
    times(tags)  # nothing depends on them, but a seal that is not by the grammar is none
    domain, selector = domain_and_selector(tags)
    return Seal(
        field=field,
        algorithm=algorithm(tags[b"a"].value),
        domain=domain,
        selector=selector,
        status=_status(tags[b"cv"].value),
        signature=octets(tags[b"b"].value, "b"),
        unsigned_value=value_span(field, tags[b"b"]),
    )


def _require(tags: dict[bytes, Tag], names: tuple[bytes, ...]) -> None:
    for name in names:
        if name not in tags:
            raise UnusableSignature(DkimReason.TAG_MISSING, f"there is no {name.decode()}=")


def _status(value: bytes) -> Status:
    try:
        return Status(value.decode("latin-1"))  # values are case-sensitive (RFC 6376 section 3.2)
    except ValueError:
        raise UnusableSignature(DkimReason.ARC_STATUS, f"cv={shown(value)}") from None
