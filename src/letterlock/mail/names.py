"""Domain names as the rest of Letterlock carries them: lower-case A-labels, no trailing dot (RFC 5890, RFC 1035).

Rules and routes are found by these texts, so each destination must have one spelling only: `canonical`.
"""

import functools
import ipaddress
import re
from typing import Annotated

import idna

DomainText = Annotated[str, "domain name"]  # the configuration reads a value of this type by `normalise`
MAX_NAME_OCTETS = 253  # as text; 255 on the wire, where two more octets are lengths (RFC 1035 section 2.3.4)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_ZONE = re.compile(r"[A-Za-z0-9._~-]{1,64}")  # as RFC 6874 section 2 has it in URIs; interfaces are named like that


class InvalidName(ValueError):
    """The text is not a domain name that mail can use."""


@functools.lru_cache(maxsize=4_096)  # the domains of the mail in hand; a name has at most 255 bytes
def normalise(text: str) -> str:
    """Return a domain name as lower-case A-labels without the trailing dot.

    Labels are letters, digits, hyphen and underscore (mail meets underscores in MX names), 1 to 63 octets each, at
    most 253 octets in all. U-labels become A-labels by IDNA 2008 (faß.de and fass.de stay different domains).

    Raises InvalidName.
    """
    name = text if text.isascii() else _to_a_labels(text)  # first, for a dot may be an ideographic one (UTS 46)
    name = name.removesuffix(".").lower()
    if not name:
        raise InvalidName("empty domain name")
    if len(name) > MAX_NAME_OCTETS:
        raise InvalidName(f"longer than {MAX_NAME_OCTETS} octets: {name[:40]}...")
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            raise InvalidName(f"{text!r} is not a domain name: bad label {label!r}")
    return name


def _to_a_labels(name: str) -> str:
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidName(f"{name!r} is not a domain name: {error}") from None


def is_address_literal(domain: str) -> bool:
    """Tell whether a mailbox domain is an address literal such as [192.0.2.1] (RFC 5321 section 4.1.3)."""
    return domain.startswith("[")


@functools.lru_cache(maxsize=4_096)  # as above
def literal_address(domain: str) -> str:
    """Return the IP address inside an address literal, in its shortest form; IPv4 inside of IPv6 is IPv4.

    Raises InvalidName when the brackets do not hold an IPv4 address or `IPv6:` and an IPv6 address.
    """
    if not (domain.startswith("[") and domain.endswith("]")):
        raise InvalidName(f"{domain!r} is not an address literal")
    inner = domain[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            address = ipaddress.IPv6Address(_with_sound_zone(inner[5:]))
            return str(address.ipv4_mapped or address)  # ::ffff:192.0.2.1 is reached as 192.0.2.1 (RFC 4291 2.5.5.2)
        return str(ipaddress.IPv4Address(inner))
    except ValueError:
        raise InvalidName(f"{domain!r} is not an address literal") from None


def _with_sound_zone(text: str) -> str:
    """The text, which may be an IPv6 address: ipaddress takes anything for a zone, line ends too. Raises ValueError."""
    _, percent, zone = text.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        raise ValueError("no zone")
    return text


def canonical_literal(domain: str) -> str:
    """Return the one spelling of an address literal: `[192.0.2.1]` or `[ipv6:2001:db8::1]`. Raises InvalidName."""
    address = literal_address(domain)
    return f"[ipv6:{address}]" if ":" in address else f"[{address}]"


def canonical(domain: str) -> str:
    """Return the one spelling of a domain or an address literal. Raises InvalidName."""
    return canonical_literal(domain) if is_address_literal(domain) else normalise(domain)


@functools.lru_cache(maxsize=4_096)  # as above
def is_ip_address(text: str) -> bool:
    """Tell whether a text is an IP address, as sometimes stands wrongly in an MX record."""
    try:
        ipaddress.ip_address(text.removesuffix("."))
    except ValueError:  # the usual case
        return False
    return True
