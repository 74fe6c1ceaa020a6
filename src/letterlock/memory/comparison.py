"""What is expected of a host, and how what its domain announces differs from what is remembered."""

from collections.abc import Iterator
from dataclasses import dataclass

from letterlock.frozen import frozen_dataclass
from letterlock.memory.remembered import PROVEN, Difference, DomainMemory, excused
from letterlock.memory.traces import Trace, holding

MAX_HOSTS = 16  # chosen: more than domains have; a row stays below 8 KB


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedSession:
    """What a session with a host has to have, each with the trace that says so; None: nothing is expected.

    `keys` are of certificates that were verified for the host: SHA-256, in hexadecimal.
    """

    tls: Trace | None = None
    certificate: Trace | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedTraits:
    """What DNS and HTTPS say of a host and its domain now. None: not asked for, or could not be found out.

    `vouched`: something proves that it is a host of the domain: signed DNS, an MTA-STS policy in force, the operator.
    """

    host: str
    signed: bool | None
    vouched: bool
    dane: bool | None
    mta_sts: bool | None


def expectation(memory: DomainMemory, host: str, now: float) -> ExpectedSession:
    """What a session has to have.

    TLS, if it holds for the host; or if it holds for the domain, none of whose hosts takes mail in clear. A verified
    certificate only if it holds for this very host: a certificate for a name that unsigned DNS gave proves nothing.
    """
    known = memory.host(host)
    tls = holding(known.tls, now) if known is not None else None
    if tls is None and not any(excused(each, now) for each in memory.hosts):
        tls = holding(memory.tls, now)
    if known is None:
        return ExpectedSession(tls=tls)
    certificate = holding(known.certificate, now)
    return ExpectedSession(tls=tls, certificate=certificate, keys=known.keys if certificate else ())


def differences(memory: DomainMemory, announced: AnnouncedTraits, now: float, *, hold: bool) -> tuple[Difference, ...]:
    """What is announced no more, and has not settled. With `hold`, only what is proven settles.

    TLSA records that could not be looked up are missed like those that are gone.
    """
    found = _differing(memory, announced, now)
    return tuple(
        what for what in found if (hold and what not in PROVEN) or not _has_settled(memory, what, announced.host, now)
    )


def can_miss(memory: DomainMemory, what: Difference, host: str, now: float) -> bool:
    """Whether enough is known for this to be missed."""
    known, expected = memory.host(host), expectation(memory, host, now)
    match what:
        case Difference.HOST:
            return bool(memory.known_hosts(now))
        case Difference.SIGNED:
            return holding(memory.signed, now) is not None
        case Difference.MTA_STS:
            return holding(memory.mta_sts, now) is not None
        case Difference.DANE:
            return known is not None and holding(known.dane, now) is not None
        case Difference.TLS:
            return expected.tls is not None
        case Difference.CERTIFICATE:
            return expected.certificate is not None


def place(what: Difference, host: str) -> str:
    """The host that a difference is noted for; empty where it is the domain's."""
    return "" if what in (Difference.SIGNED, Difference.MTA_STS) else host


def _differing(memory: DomainMemory, announced: AnnouncedTraits, now: float) -> Iterator[Difference]:
    if announced.signed is False and holding(memory.signed, now):
        yield Difference.SIGNED
    if announced.mta_sts is False and holding(memory.mta_sts, now):
        yield Difference.MTA_STS
    host = memory.host(announced.host)
    if host is None or host.seen is None or not host.seen.holds(now):
        if not announced.vouched and 0 < len(memory.known_hosts(now)) < MAX_HOSTS:
            yield Difference.HOST
    elif not announced.dane and holding(host.dane, now):
        yield Difference.DANE


def _has_settled(memory: DomainMemory, what: Difference, host: str, now: float) -> bool:
    change = memory.change(what, place(what, host))
    return change is not None and change.settled(now)
