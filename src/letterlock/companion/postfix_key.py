"""The next hop that Postfix asks for in smtp_tls_policy_maps: `domain`, `domain:port`, `[host]`, `[host]:port`."""

import ipaddress
import re

from letterlock.mail.names import (
    InvalidName,
    canonical_literal,
    is_address_literal,
    is_ip_address,
    literal_address,
    normalise,
)
from letterlock.routing.routes import NextHop

SMTP_PORT = 25  # RFC 5321 section 4.5.4.2
_PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465}  # services(5), as Postfix resolves them
_MAX_OCTETS = 300  # a name of 253 octets with brackets and a port; anything longer is no next hop
_IN_BRACKETS = re.compile(r"\[([^\[\]]+)\](?::([a-z0-9-]+))?")


def next_hop(key: bytes, usual_port: int = SMTP_PORT) -> NextHop | None:
    """The next hop, at `usual_port` if the key has no port.

    None for what is none, such as a parent domain (`.example.org`), a mailbox or a socket's path.
    """
    try:
        text = key.decode("utf-8").lower()  # SMTPUTF8: Postfix may ask for U-labels
    except UnicodeDecodeError:
        return None
    if not text or len(key) > _MAX_OCTETS or text[0] in "./@" or "@" in text:
        return None
    try:
        return _in_brackets(text, usual_port) if text[0] == "[" else _by_mx(text, usual_port)
    except InvalidName:  # Postfix may ask about anything
        return None


def stays_on_this_machine(hop: NextHop) -> bool:
    """Whether nobody is on the way: a content filter or the relay door on loopback, which rules are not written for."""
    if hop.is_host and hop.domain == "localhost":
        return True
    return is_address_literal(hop.domain) and ipaddress.ip_address(literal_address(hop.domain)).is_loopback


def _in_brackets(text: str, usual_port: int) -> NextHop | None:
    found = _IN_BRACKETS.fullmatch(text)
    port = _port(found[2], usual_port) if found else None
    if found is None or port is None:
        return None
    inner = found[1]
    address = inner.removeprefix("ipv6:")
    if is_ip_address(address):
        return NextHop(canonical_literal(f"[{'ipv6:' * (':' in address)}{address}]"), port)
    return NextHop(normalise(inner), port, is_host=True)


def _by_mx(text: str, usual_port: int) -> NextHop | None:
    name, colon, service = text.partition(":")
    port = _port(service if colon else None, usual_port)
    return None if port is None or is_ip_address(name) else NextHop(normalise(name), port)


def _port(service: str | None, usual_port: int) -> int | None:
    if service is None:
        return usual_port
    # more digits are no port, and int() of many is slow
    if service.isascii() and service.isdigit() and len(service) <= 5:
        return int(service) if 0 < int(service) < 65536 else None
    return _PORTS.get(service)
