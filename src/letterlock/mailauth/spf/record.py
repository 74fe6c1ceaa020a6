"""The SPF record: which TXT record it is, and its terms (RFC 7208 sections 4.5, 4.6 and 12)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network

from letterlock.mailauth.spf.macros import InvalidMacro, check_domain_spec, check_string
from letterlock.mailauth.spf.reasons import SpfResult

# Records of large senders have 2 to 3 KB. One of 64 KB would cost a check 50 ms of CPU, and includes ten times that.
MAX_RECORD_OCTETS = 8_192
_SHOWN_CHARACTERS = 80  # chosen: of a term, in a line of text

_VERSION = re.compile(rb"v=spf1(?: |$)", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*+)=(.*)", re.IGNORECASE | re.DOTALL)
_DIRECTIVE = re.compile(
    r"([-+?~]?)([a-z0-9][a-z0-9._-]*+)(?::(.*?))??((?:/[0-9]+)?(?://[0-9]+)?)", re.IGNORECASE | re.DOTALL
)
_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}")


class InvalidSpfRecord(ValueError):
    """The record is against the grammar. `str()` says what is wrong; it holds text from outside."""


class Kind(StrEnum):
    """The eight mechanisms (section 5)."""

    ALL = "all"
    INCLUDE = "include"
    A = "a"
    MX = "mx"
    PTR = "ptr"
    IP4 = "ip4"
    IP6 = "ip6"
    EXISTS = "exists"


_KINDS = {kind.value: kind for kind in Kind}
QUALIFIERS = {"+": SpfResult.PASS, "-": SpfResult.FAIL, "~": SpfResult.SOFTFAIL, "?": SpfResult.NEUTRAL}
_MUST_HAVE_DOMAIN = frozenset({Kind.INCLUDE, Kind.EXISTS})
_MAY_HAVE_DOMAIN = frozenset({Kind.A, Kind.MX, Kind.PTR})
_MAY_HAVE_PREFIX = frozenset({Kind.A, Kind.MX})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """A mechanism with its qualifier's result. `target` is a checked domain-spec, empty for the current domain.

    `prefix4` and `prefix6` are the lengths in bits to which the addresses of `a` and `mx` are compared (RFC 7208
    section 5.6).
    """

    text: str
    result: SpfResult
    kind: Kind
    target: str = ""
    network: IPv4Network | IPv6Network | None = None
    prefix4: int = 32
    prefix6: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfRecord:
    """A checked record. `redirect` and `explanation` are domain-specs."""

    mechanisms: tuple[Mechanism, ...]
    redirect: str | None = None
    explanation: str | None = None


def spf_records(texts: Iterable[bytes]) -> tuple[bytes, ...]:
    """The TXT records that are SPF records: the version, then a blank or the end (section 4.5)."""
    return tuple(text for text in texts if _VERSION.match(text))


def parse_record(text: bytes) -> SpfRecord:
    """Check a whole record that begins with the version. Raises InvalidSpfRecord for an error anywhere in it."""
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, str] = {}
    for term in text.decode("latin-1")[len("v=spf1") :].split(" "):
        modifier = _MODIFIER.fullmatch(term)
        if modifier:
            _add_modifier(modifiers, modifier[1].lower(), modifier[2])
        elif term:
            mechanisms.append(_mechanism(term))
    return SpfRecord(mechanisms=tuple(mechanisms), redirect=modifiers.get("redirect"), explanation=modifiers.get("exp"))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")


def _add_modifier(modifiers: dict[str, str], name: str, value: str) -> None:
    known = name in ("redirect", "exp")
    if known and name in modifiers:
        raise InvalidSpfRecord(f"{name}= stands twice")
    try:
        if known:
            check_domain_spec(value)
        else:
            check_string(value)
    except InvalidMacro as error:
        raise InvalidSpfRecord(f"{name}=: {_shown(str(error))}") from None
    modifiers[name] = value


def _mechanism(term: str) -> Mechanism:
    found = _DIRECTIVE.fullmatch(term)
    if found is None:
        raise InvalidSpfRecord(f"{_shown(term)} is neither a mechanism nor a modifier")
    qualifier, name, value, prefix = found.groups()
    kind, result = _KINDS.get(name.lower()), QUALIFIERS[qualifier or "+"]
    if kind is None:
        raise InvalidSpfRecord(f"the mechanism {_shown(name)} is unknown")
    if kind in (Kind.IP4, Kind.IP6):
        return Mechanism(text=term, result=result, kind=kind, network=_network(kind, value, prefix, term))
    _check_arguments(kind, value, prefix, term)
    prefix4, prefix6 = _prefixes(prefix, term)
    return Mechanism(text=term, result=result, kind=kind, target=value or "", prefix4=prefix4, prefix6=prefix6)


def _check_arguments(kind: Kind, value: str | None, prefix: str, term: str) -> None:
    if prefix and kind not in _MAY_HAVE_PREFIX:
        raise InvalidSpfRecord(f"{_shown(term)}: {kind.value} takes no prefix length")
    if value is None:
        if kind in _MUST_HAVE_DOMAIN:
            raise InvalidSpfRecord(f"{_shown(term)}: {kind.value} needs a domain name")
        return
    if kind not in _MAY_HAVE_DOMAIN | _MUST_HAVE_DOMAIN:
        raise InvalidSpfRecord(f"{_shown(term)}: {kind.value} takes no domain name")
    try:
        check_domain_spec(value)
    except InvalidMacro as error:
        raise InvalidSpfRecord(f"{_shown(term)}: {_shown(str(error))}") from None


def _prefixes(text: str, term: str) -> tuple[int, int]:
    """The prefix lengths for IPv4 and IPv6 in `/24//64`, either of which may be missing."""
    before, double, after = text.partition("//")
    return (
        _prefix(before.removeprefix("/"), 32, term) if before else 32,
        _prefix(after, 128, term) if double else 128,
    )


def _prefix(digits: str, most: int, term: str) -> int:
    if not _PREFIX.fullmatch(digits) or int(digits) > most:
        raise InvalidSpfRecord(f"{_shown(term)}: the prefix length is not a number from 0 to {most}")
    return int(digits)


def _network(kind: Kind, value: str | None, prefix: str, term: str) -> IPv4Network | IPv6Network:
    most = 32 if kind is Kind.IP4 else 128
    if "//" in prefix:
        raise InvalidSpfRecord(f"{_shown(term)}: one prefix length is allowed")
    length = _prefix(prefix.removeprefix("/"), most, term) if prefix else most
    address = value or ""
    try:
        network = ip_network(f"{address}/{length}", strict=False)
    except ValueError:
        raise InvalidSpfRecord(f"{_shown(term)}: {_shown(address)} is not an address") from None
    if network.max_prefixlen != most or "%" in address:  # Python takes a scope, the grammar does not
        raise InvalidSpfRecord(f"{_shown(term)}: {_shown(address)} is not an address of that family")
    return network
