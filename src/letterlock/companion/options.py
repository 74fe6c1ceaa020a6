"""The options of the doors, with the keys of the configuration that fill them."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Literal

from letterlock.keys import Key
from letterlock.shares import DIVIDED

LOOPBACK: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyServerOptions:
    """The policy door, as configured."""

    answer: Annotated[
        Literal["level", "fingerprint"],
        Key(
            "policy_server.answer",
            '`"level"`: Postfix looks TLSA records up itself, so its resolver must be trusted. `"fingerprint"`: the '
            "answer carries the digests of DANE-EE records where every host has one; "
            "Postfix needs `smtp_tls_fingerprint_digest = sha256`.",
        ),
    ] = "level"
    allow: Annotated[
        tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...],
        Key(
            "policy_server.allow",
            "Networks that may ask over TCP. UNIX sockets are for everybody on this machine.",
            most=1000,
        ),
    ] = LOOPBACK
    relay: Annotated[
        str,
        Key(
            "policy_server.relay",
            "Next hop that the map `transport` answers with: the relay door, in the form of transport(5).",
        ),
    ] = "smtp:[127.0.0.1]:2525"
    transport: Annotated[
        Literal["protected", "all"],
        Key(
            "policy_server.transport",
            '`"protected"`: the map `transport` sends mail through the relay door if DANE, MTA-STS or a rule of yours '
            'demands something for its domain, or this could not be found out. `"all"`: all mail.',
        ),
    ] = "protected"
    local_domains: frozenset[str] = frozenset()  # whose mail Postfix delivers itself: never through the relay door
    max_connections: Annotated[
        int,
        DIVIDED,
        Key(
            "policy_server.max_connections",
            "Most connections at once; each smtp(8) process keeps one.",
            least=1,
            most=100_000,
        ),
    ] = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverDoorOptions:
    """The resolver door, as configured."""

    allow: Annotated[
        tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...],
        Key(
            "resolver.allow",
            "Networks that may ask the resolver door; others are refused. Over UDP, clients outside this machine get "
            "an answer only with a cookie (RFC 7873), otherwise they are sent to TCP.",
            most=1000,
        ),
    ] = LOOPBACK
    max_connections: Annotated[
        int,
        DIVIDED,
        Key("resolver.max_connections", "Most TCP connections to the resolver door.", least=1, most=100_000),
    ] = 500
