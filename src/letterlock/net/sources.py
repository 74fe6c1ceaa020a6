"""The addresses that connections are made from, where the operator fixed them."""

import functools
import ipaddress
import socket
from dataclasses import dataclass

from letterlock.net.errors import os_error_words
from letterlock.net.socket_address import socket_address


@dataclass(frozen=True, slots=True)
class SourceAddresses:
    """At most one address of each family. Neither: the system chooses.

    With one of them only, hosts are not dialled by the other family: an operator who names the
    sending address, for SPF or a firewall, does not want to be seen with another one.
    """

    ipv4: str | None = None
    ipv6: str | None = None

    def towards(self, address: str) -> str | None:
        """The address to bind before connecting to an IP address; None: the system chooses."""
        return self.ipv6 if ":" in address else self.ipv4

    def reaches(self, address: str) -> bool:
        """Whether an IP address may be dialled from here."""
        return self is ANY_SOURCE or self.towards(address) is not None or self == ANY_SOURCE

    def __str__(self) -> str:
        return " and ".join(address for address in (self.ipv4, self.ipv6) if address) or "any address"


_DISCARD_PORT = 9  # RFC 863; any port will do, for nothing is sent
ANY_SOURCE = SourceAddresses()


def parse_sources(texts: list[str]) -> SourceAddresses:
    """At most one IPv4 and one IPv6 address that a host can have. Raises ValueError, which says what is wrong."""
    found: dict[int, str] = {}
    for text in texts:
        address = ipaddress.ip_address(text)
        if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
            raise ValueError(f"{text} is no address that a host can have")
        if address.version in found:
            raise ValueError(f"{found[address.version]} and {text} are both IPv{address.version}")
        found[address.version] = str(address)
    return SourceAddresses(found.get(4), found.get(6))


def unusable(address: str) -> str | None:
    """Why this machine cannot send from an address; None when it can. Binds it for a moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind(socket_address(address, 0))
    except OSError as error:
        return os_error_words(error)
    return None


def address_towards(target: str) -> str | None:
    """The address of this machine that the system would send from to an IP address; nothing is sent.

    None: there is no route at present, or this machine does not have that address family at all.
    """
    try:
        return _address_towards(target)
    except OSError:  # no route, or no such family
        return None


def usual_address_towards(target: str) -> str | None:
    """The same, remembered once it is known: for reports about days."""
    try:
        return _remembered_address_towards(target)
    except OSError:  # not remembered: there may be a route tomorrow
        return None


def _address_towards(target: str) -> str:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(socket_address(target, _DISCARD_PORT))
        address: str = probe.getsockname()[0]
        return address


_remembered_address_towards = functools.lru_cache(maxsize=1_000)(_address_towards)  # a busy server's hosts of a day
