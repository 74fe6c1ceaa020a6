"""Asks the doors as smtp(8) would: the name server of its resolv.conf for AD, and its socketmap for a policy."""

import contextlib
import socket
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode

from letterlock.companion.traps import Trap
from letterlock.socketmap.netstrings import MAX_REPLY_OCTETS, BadNetstring, NetstringReader, netstring

SECONDS = 20.0  # of one question: a lookup through the whole chain, on a slow line


@dataclass(frozen=True, slots=True)
class Probes:
    """Names whose state is known: signed, signed and broken, not signed."""

    good: str
    bogus: str
    insecure: str


USUAL = Probes(good="debian.org", bogus="dnssec-failed.org", insecure="gmail.com")
"""Domains that have been so for years, the second one on purpose."""


def dns_traps(server: str, probes: Probes, port: int = 53) -> list[Trap]:
    """Whether a name server gives the AD bit to what is signed, and to nothing else."""
    place = server if port == 53 else f"{server} port {port}"  # the port of DNS, which nobody writes
    repair = "letterlock serve must run with [resolver] listen; see its log: journalctl -u letterlock"
    try:
        good, bogus, insecure = (_asked(server, port, each) for each in (probes.good, probes.bogus, probes.insecure))
    except (OSError, dns.exception.DNSException) as error:
        return [
            Trap("problem", f"the name server {place} does not answer: {str(error) or type(error).__name__}", repair)
        ]
    return [
        _judged(probes.good, good, "secure", repair),
        _judged(probes.bogus, bogus, "failed", repair),
        _judged(probes.insecure, insecure, "insecure", repair),
    ]


_WORDS = {"secure": "signed, and AD is set", "failed": "bogus, and refused", "insecure": "not signed, and AD is clear"}
_WRONG = {"secure": "AD is set", "failed": "the lookup fails", "insecure": "AD is clear"}


def _judged(name: str, found: str, right: str, repair: str) -> Trap:
    if found == right:
        return Trap("ok", f"{name} is {_WORDS[right]}")
    return Trap("problem", f"{name} should be {_WORDS[right]}, but {_WRONG[found]}", repair)


def _asked(server: str, port: int, name: str) -> str:
    """`secure`, `insecure` or `failed`, by the flags that Postfix goes by. Raises OSError, DNSException."""
    query = dns.message.make_query(name, "MX", want_dnssec=True)
    query.flags |= dns.flags.AD
    reply = dns.query.udp_with_fallback(query, server, timeout=SECONDS, port=port)[0]
    if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return "failed"
    return "secure" if reply.flags & dns.flags.AD else "insecure"


def socketmap_trap(place: str, name: str, key: str = ".check") -> Trap:
    """Whether a socketmap, `inet:HOST:PORT` or `unix:PATH`, answers: for a parent domain there is never a policy."""
    repair = "letterlock serve must run with [policy_server] listen; see its log: journalctl -u letterlock"
    try:
        answer = ask_socketmap(place, f"{name} {key}")
    except (OSError, BadNetstring, ValueError) as error:
        return Trap("problem", f"the policy door {place} does not answer: {error}", repair)
    if answer.startswith("NOTFOUND"):
        return Trap("ok", f"the policy door answers at {place}")
    return Trap("problem", f"{place} answers {answer[:80]!r}", repair)


def ask_socketmap(place: str, request: str) -> str:
    """One question. Raises OSError (ConnectionResetError when the server closes without a reply), ValueError."""
    reader = NetstringReader(MAX_REPLY_OCTETS)
    with contextlib.closing(_connected(place)) as connection:
        connection.sendall(netstring(request.encode()))
        while data := connection.recv(65_536):
            if frames := reader.feed(data):
                return frames[0].decode(errors="replace")
    raise ConnectionResetError("the connection ended before an answer came")


def _connected(place: str) -> socket.socket:
    kind, _, rest = place.partition(":")
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(SECONDS)
        connection.connect(rest)
        return connection
    host, _, port = rest.rpartition(":")
    return socket.create_connection((host.removeprefix("[").removesuffix("]"), int(port)), SECONDS)
