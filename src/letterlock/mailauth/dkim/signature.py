"""A DKIM-Signature field, read and checked as far as it can be without its key (RFC 6376 sections 3.5 and 6.1.1)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from letterlock.mail.names import MAX_NAME_OCTETS, InvalidName, normalise
from letterlock.mailauth.dkim.canonical import Form
from letterlock.mailauth.dkim.reasons import DkimReason, UnusableSignature
from letterlock.mailauth.dkim.tags import Tag, colon_list, compact, number, octets, parse_tags, shown
from letterlock.mailauth.message import Field

FIELD_NAME = b"dkim-signature"
MAX_SIGNED_NAMES = 256  # signers name 10 to 40; each name costs a look-up, each field found is hashed

_REQUIRED = (b"v", b"a", b"b", b"bh", b"d", b"h", b"s")
_QP_OCTET = re.compile(rb"=([0-9A-F]{2})")
_HEADER_NAME = re.compile(rb"[\x21-\x39\x3c-\x7e]+")  # ftext without the semicolon (RFC 5322 section 3.6.8)


class Algorithm(StrEnum):
    """The signature algorithms in force (RFC 8301, RFC 8463)."""

    RSA_SHA256 = "rsa-sha256"
    ED25519_SHA256 = "ed25519-sha256"

    @property
    def key_type(self) -> bytes:
        """The k= of its keys."""
        return b"rsa" if self is Algorithm.RSA_SHA256 else b"ed25519"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature field that can be verified once its key is known.

    `domain`, `selector` and the domain of `identity` are A-labels. `names` are the lower-case names in h=, in order.
    `length` is l=, the octets of the canonical body that are signed; None is all of it. `unsigned_value` is the place
    of b= in the field's raw text.
    """

    field: Field
    algorithm: Algorithm
    header_form: Form
    body_form: Form
    domain: str
    selector: str
    identity: str
    names: tuple[bytes, ...]
    body_hash: bytes
    signature: bytes
    length: int | None = None
    signed_at: int | None = None
    expires_at: int | None = None
    unsigned_value: tuple[int, int]

    @property
    def key_name(self) -> str:
        """The name of the TXT record with the key (section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def identity_domain(self) -> str:
        """The domain of i=."""
        return self.identity.rpartition("@")[2]

    @property
    def unsigned_field(self) -> Field:
        """The field as it was before the signature was put into it: b= is empty."""
        start, end = self.unsigned_value
        return Field(self.field.name, self.field.raw[:start] + self.field.raw[end:])


def parse_signature(field: Field) -> Signature:
    """Read a DKIM-Signature field. Raises UnusableSignature."""
    tags = parse_tags(field.value)
    for name in _REQUIRED:
        if name not in tags:
            raise UnusableSignature(DkimReason.TAG_MISSING, f"there is no {name.decode()}=")
    if tags[b"v"].value != b"1":
        raise UnusableSignature(DkimReason.VERSION, f"v={shown(tags[b'v'].value)}")
    names = signed_names(tags[b"h"].value)
    if b"from" not in names:
        raise UnusableSignature(DkimReason.FROM_NOT_SIGNED)
    domain = _name(tags[b"d"].value, "d")
    return signature_of(field, tags, names, _identity(tags, domain))


def signature_of(field: Field, tags: dict[bytes, Tag], names: tuple[bytes, ...], identity: str) -> Signature:
    """What DKIM-Signature and ARC-Message-Signature have in common. Raises UnusableSignature."""
    if b"q" in tags and b"dns/txt" not in colon_list(tags[b"q"].value):
        raise UnusableSignature(DkimReason.QUERY_METHOD, f"q={shown(tags[b'q'].value)}")
    header_form, body_form = forms(tags)
    signed_at, expires_at = times(tags)
    domain, selector = domain_and_selector(tags)
    return Signature(
        field=field,
        algorithm=algorithm(tags[b"a"].value),
        header_form=header_form,
        body_form=body_form,
        domain=domain,
        selector=selector,
        identity=identity,
        names=names,
        body_hash=octets(tags[b"bh"].value, "bh"),
        signature=octets(tags[b"b"].value, "b"),
        length=number(tags[b"l"].value, "l") if b"l" in tags else None,
        signed_at=signed_at,
        expires_at=expires_at,
        unsigned_value=value_span(field, tags[b"b"]),
    )


def value_span(field: Field, tag: Tag) -> tuple[int, int]:
    """The position of a tag's value in a field's raw text, including the white space around it."""
    offset = len(field.raw) - len(field.value)
    return offset + tag.start, offset + tag.end


def algorithm(value: bytes) -> Algorithm:
    """The algorithm in a=. Raises UnusableSignature."""
    try:
        return Algorithm(value.decode("latin-1"))
    except ValueError:
        reason = DkimReason.SHA1 if value.endswith(b"-sha1") and value.startswith(b"rsa") else DkimReason.ALGORITHM
        raise UnusableSignature(reason, f"a={shown(value)}") from None


def forms(tags: dict[bytes, Tag]) -> tuple[Form, Form]:
    """The forms of the header and the body in c=; each is simple when it is not named. Raises UnusableSignature."""
    if b"c" not in tags:
        return Form.SIMPLE, Form.SIMPLE
    text = tags[b"c"].value.decode("latin-1")
    header, slash, body = text.partition("/")
    try:
        return Form(header), Form(body) if slash else Form.SIMPLE
    except ValueError:
        raise UnusableSignature(DkimReason.CANONICALIZATION, f"c={shown(tags[b'c'].value)}") from None


def times(tags: dict[bytes, Tag]) -> tuple[int | None, int | None]:
    """When it was signed (t=) and when it expires (x=). Raises UnusableSignature."""
    signed_at, expires_at = (number(tags[name].value, name.decode()) if name in tags else None for name in (b"t", b"x"))
    if signed_at is not None and expires_at is not None and expires_at <= signed_at:
        raise UnusableSignature(DkimReason.TIMES, f"t={signed_at}, x={expires_at}")
    return signed_at, expires_at


def signed_names(value: bytes) -> tuple[bytes, ...]:
    """The lower-case names in h=. Raises UnusableSignature."""
    if value.count(b":") >= MAX_SIGNED_NAMES:
        raise UnusableSignature(DkimReason.TOO_MANY_NAMES, f"{value.count(b':') + 1} names")
    names = tuple(name.lower() for name in colon_list(value))
    for name in names:
        if not _HEADER_NAME.fullmatch(name):
            raise UnusableSignature(DkimReason.SYNTAX, f"h= has {shown(name)}, which is no header field")
    return names


def domain_and_selector(tags: dict[bytes, Tag]) -> tuple[str, str]:
    """The domain in d= and the selector in s=, in A-labels. Raises UnusableSignature."""
    domain, selector = _name(tags[b"d"].value, "d"), _name(tags[b"s"].value, "s")
    octets_of_name = len(f"{selector}._domainkey.{domain}")
    if octets_of_name > MAX_NAME_OCTETS:
        raise UnusableSignature(DkimReason.SYNTAX, f"s= and d= make a DNS name of {octets_of_name} bytes")
    return domain, selector


def _name(value: bytes, tag: str) -> str:
    """A domain or selector in A-labels (RFC 8616 section 4). Raises UnusableSignature."""
    try:
        name = normalise(value.decode())
    except (InvalidName, UnicodeDecodeError):
        name = ""
    if not name or value.endswith(b"."):  # the grammar has no final dot
        raise UnusableSignature(DkimReason.SYNTAX, f"{tag}={shown(value)} is no domain name")
    return name


def _identity(tags: dict[bytes, Tag], domain: str) -> str:
    """The identity in i=, or `@` and the domain. Raises UnusableSignature unless it is in the domain."""
    if b"i" not in tags:
        return f"@{domain}"
    text = _QP_OCTET.sub(lambda found: bytes([int(found[1], 16)]), compact(tags[b"i"].value))
    local_part, at, name = text.rpartition(b"@")
    identity_domain = _name(name, "i") if at else ""
    if not (identity_domain == domain or identity_domain.endswith(f".{domain}")):
        raise UnusableSignature(DkimReason.IDENTITY, f"i={shown(text)}, d={domain}")
    return f"{local_part.decode('utf-8', 'replace')}@{identity_domain}"
