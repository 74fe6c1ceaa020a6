"""Domain names as the rest of Letterlock carries them: lower-case A-labels, no trailing dot (RFC 5890, RFC 1035)."""

import functools
import ipaddress
import re

import idna

MAX_NAME_OCTETS = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


class InvalidName(ValueError):
    """The text is not a domain name that mail can use."""


@functools.lru_cache(maxsize=4_096)
def normalise(text: str) -> str:
    """Return a domain name as lower-case A-labels without the trailing dot.

    Labels are letters, digits, hyphen and underscore (mail meets underscores in MX names), 1 to 63 octets each, at
    most 253 octets in all. U-labels become A-labels by IDNA 2008 (faß.de and fass.de stay different domains).

    Raises InvalidName.
    """
    name = text.removesuffix(".")
    if not name:
        raise InvalidName("empty domain name")
    if not name.isascii():
        name = _to_a_labels(name)
    name = name.lower()
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


@functools.lru_cache(maxsize=4_096)
def literal_address(domain: str) -> str:
    """Return the IP address inside an address literal, in its shortest form.

    Raises InvalidName when the brackets do not hold an IPv4 address or `IPv6:` and an IPv6 address.
    """
    if not (domain.startswith("[") and domain.endswith("]")):
        raise InvalidName(f"{domain!r} is not an address literal")
    inner = domain[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return str(ipaddress.IPv6Address(inner[5:]))
        return str(ipaddress.IPv4Address(inner))
    except ValueError:
        raise InvalidName(f"{domain!r} is not an address literal") from None


@functools.lru_cache(maxsize=4_096)
def is_ip_address(text: str) -> bool:
    """Tell whether a text is an IP address, as sometimes stands wrongly in an MX record."""
    try:
        ipaddress.ip_address(text.removesuffix("."))
    except ValueError:
        return False
    return True
