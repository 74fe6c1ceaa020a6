"""What is remembered of one next-hop domain: the domain's own traits, its hosts, and what differs at present."""

from dataclasses import dataclass
from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.memory.traces import DAY_SECONDS, LIFETIME_SECONDS, Trace

SETTLE_SECONDS = DAY_SECONDS  # chosen: longer than a mistake in a zone mostly lasts, and short for mail that waits
GAP_SECONDS = DAY_SECONDS / 2  # chosen: twice the longest pause of the usual schedule between tries of waiting mail
ALARM_SECONDS = 7 * DAY_SECONDS  # chosen: longer than mail waits; then a difference that nobody sees is no alarm


class Difference(StrEnum):
    """What was always there, and is not now."""

    HOST = "mx-host"  # the domain's mail goes to a host that it never went to
    SIGNED = "dnssec"  # the MX records were signed
    MTA_STS = "mta-sts"  # the domain had a policy
    DANE = "dane"  # the host had signed TLSA records
    TLS = "tls"
    CERTIFICATE = "certificate"  # the certificate could be verified for the host's name


ANNOUNCED = frozenset({Difference.HOST, Difference.SIGNED, Difference.MTA_STS, Difference.DANE})
"""What a domain says in DNS, or by HTTPS, and may change at any time. The others have no honest reason to vanish."""
PROVEN = frozenset({Difference.SIGNED, Difference.DANE})
"""Of these, what nobody can hide: that there is no signature, or no TLSA record, is signed (RFC 4035 section 5.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedChange:
    """A difference, seen from `since` until `last` (seconds since 1970), `count` times; `held`: mail waited for it.

    `host` is the host that it was seen at; empty where it is about the domain.
    """

    what: Difference
    host: str
    since: float
    last: float
    count: int = 1
    held: bool = False

    def settled(self, now: float) -> bool:
        """Whether it was announced for so long that it is the domain's own doing.

        Mail that waits for what unsigned DNS says goes on waiting: an attacker can say it for as long as they like.
        """
        if not self._may_settle:
            return False
        lasted = self.last - self.since >= SETTLE_SECONDS
        return lasted or (now - self.since >= SETTLE_SECONDS and now - self.last <= GAP_SECONDS)

    def alarming(self, now: float) -> bool:
        """Whether an operator should know: it is seen these days, and has not settled."""
        return now - self.last <= ALARM_SECONDS and not self.settled(now)

    def ends(self) -> float | None:
        """When it settles, if it stays as it is; None for what never does."""
        return self.since + SETTLE_SECONDS if self._may_settle else None

    @property
    def _may_settle(self) -> bool:
        return self.what in (PROVEN if self.held else ANNOUNCED)


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """One host of a domain.

    `seen`: it was among the domain's hosts when mail was delivered inside TLS. `clear`: mail went to it in clear,
    before TLS could be counted on; it is excused from what is expected of the domain until TLS holds for itself.
    `issuer` is of the last certificate that was verified, `keys` are the SHA-256 of the last verified keys, the newest
    first, in hexadecimal.
    """

    name: str
    seen: Trace | None = None
    tls: Trace | None = None
    certificate: Trace | None = None
    dane: Trace | None = None
    clear: Trace | None = None
    issuer: str = ""
    keys: tuple[str, ...] = ()

    @property
    def last(self) -> float:
        """When it was last met."""
        return max((each.last for each in (self.seen, self.clear) if each is not None), default=0.0)


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class DomainMemory:
    """A next-hop domain, or `[host]` where a route names the host itself."""

    domain: str
    tls: Trace | None = None
    mta_sts: Trace | None = None
    signed: Trace | None = None
    hosts: tuple[HostMemory, ...] = ()
    changes: tuple[NotedChange, ...] = ()

    @property
    def last(self) -> float:
        """When mail was last delivered there."""
        return max((each.last for each in self.hosts), default=0.0)

    def host(self, name: str) -> HostMemory | None:
        """What is remembered of a host."""
        return next((each for each in self.hosts if each.name == name), None)

    def known_hosts(self, now: float) -> tuple[HostMemory, ...]:
        """The hosts that can be counted on to be the domain's."""
        return tuple(each for each in self.hosts if each.seen is not None and each.seen.holds(now))

    def change(self, what: Difference, host: str = "") -> NotedChange | None:
        """A difference that is noted."""
        return next((each for each in self.changes if each.what is what and each.host == host), None)

    def alarms(self, now: float) -> tuple[NotedChange, ...]:
        """The differences that an operator should know of, the oldest first."""
        return tuple(sorted((each for each in self.changes if each.alarming(now)), key=lambda each: each.since))


def excused(host: HostMemory, now: float) -> bool:
    """Whether a host is known to take mail in clear."""
    clear = host.clear is not None and now - host.clear.last <= LIFETIME_SECONDS
    return clear and not (host.tls is not None and host.tls.holds(now))
