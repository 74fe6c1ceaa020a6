"""How a memory grows: from deliveries that succeeded, and from nothing else."""

from collections.abc import Iterable
from dataclasses import replace

from letterlock.frozen import frozen_dataclass
from letterlock.memory.comparison import MAX_HOSTS, can_miss, place
from letterlock.memory.remembered import GAP_SECONDS, Difference, DomainMemory, HostMemory, NotedChange
from letterlock.memory.traces import LIFETIME_SECONDS, extended, holding

MAX_KEYS = 4  # chosen: of a host; a pool of servers may have a key each
MAX_CHANGES = 16  # chosen: of a domain; bounds the row


@frozen_dataclass(frozen=True, slots=True)
class VerifiedKey:
    """The key of a certificate that was verified for the host's name: its SHA-256, and the certificate's issuer."""

    sha256: str
    issuer: str


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one attempt showed of a host, `at` a moment (seconds since 1970).

    `delivered`: a message was taken there. `hosts` are all that the domain named, this one among them. `encrypted`: in
    a TLS session. `missing`: what is remembered and was not there; `held`: mail waits for it.
    """

    domain: str
    host: str
    at: float
    hosts: tuple[str, ...] = ()
    delivered: bool = True
    encrypted: bool = False
    certificate: VerifiedKey | None = None
    dane: bool = False
    mta_sts: bool = False
    signed: bool = False
    missing: frozenset[Difference] = frozenset()
    held: bool = False


def learn(memory: DomainMemory | None, sighting: Sighting) -> DomainMemory | None:
    """What is remembered after a sighting; None: still nothing.

    Only a delivery adds to what is known. Neither a failure nor a delivery in clear takes anything away:
    an attacker can cause both. A difference is noted, and forgotten when what was missing is there again.
    """
    if memory is None:
        if not sighting.delivered:
            return None
        memory = DomainMemory(domain=sighting.domain)
    changes = _changes(memory, sighting)
    if sighting.delivered:
        memory = _encrypted(memory, sighting) if sighting.encrypted else _in_clear(memory, sighting)
    return replace(memory, changes=changes)


@frozen_dataclass(frozen=True, slots=True)
class Learned:
    """Which differences began with a domain's sightings, which ended or settled, and what is remembered now."""

    memory: DomainMemory
    began: tuple[NotedChange, ...]
    ended: tuple[NotedChange, ...]
    settled: tuple[NotedChange, ...] = ()


def compared(before: DomainMemory | None, after: DomainMemory | None) -> Learned | None:
    """What became of the differences; None: nothing that anybody should know.

    One for which mail waits now, and did not before, has begun.
    """
    if after is None:
        return None
    known = {(each.what, each.host): each for each in before.changes} if before is not None else {}
    left = {(each.what, each.host) for each in after.changes}
    new = tuple(each for each in after.changes if _is_new(known.get((each.what, each.host)), each))
    gone = tuple(each for key, each in known.items() if key not in left)
    settled = tuple(each for each in after.changes if _settles(known.get((each.what, each.host)), each))
    return Learned(after, new, gone, settled) if new or gone or settled else None


def _settles(before: NotedChange | None, after: NotedChange) -> bool:
    """Whether a difference has settled just now: each does so once."""
    return before is not None and after.settled(after.last) and not before.settled(before.last)


def _is_new(before: NotedChange | None, after: NotedChange) -> bool:
    return before is None or before.since != after.since or (after.held and not before.held)


def _encrypted(memory: DomainMemory, sighting: Sighting) -> DomainMemory:
    now = sighting.at
    others = (each for each in sighting.hosts[:MAX_HOSTS] if not _is_held(memory, each))
    names = dict.fromkeys((sighting.host, *others))
    hosts = {each.name: each for each in memory.hosts}
    for name in names:
        host = hosts.get(name, HostMemory(name=name))
        hosts[name] = replace(host, seen=extended(host.seen, now))
    hosts[sighting.host] = _host(hosts[sighting.host], sighting)
    return replace(
        memory,
        tls=extended(memory.tls, now),
        mta_sts=extended(memory.mta_sts, now) if sighting.mta_sts else memory.mta_sts,
        signed=extended(memory.signed, now) if sighting.signed else memory.signed,
        hosts=_bounded(hosts.values(), now),
    )


def _is_held(memory: DomainMemory, host: str) -> bool:
    """Whether mail waits rather than go to a host: that unsigned DNS goes on naming it must not make it known."""
    change = memory.change(Difference.HOST, host)
    return change is not None and change.held


def _host(host: HostMemory, sighting: Sighting) -> HostMemory:
    now, shown = sighting.at, sighting.certificate
    host = replace(host, tls=extended(host.tls, now), dane=extended(host.dane, now) if sighting.dane else host.dane)
    if shown is None:
        return host
    keys = tuple(dict.fromkeys((shown.sha256, *host.keys)))[:MAX_KEYS]
    return replace(host, certificate=extended(host.certificate, now), issuer=shown.issuer, keys=keys)


def _in_clear(memory: DomainMemory, sighting: Sighting) -> DomainMemory:
    """Cleartext is remembered only where TLS cannot be counted on, so that nobody can strip a domain of what it has."""
    if holding(memory.tls, sighting.at):
        return memory
    hosts = {each.name: each for each in memory.hosts}
    host = hosts.get(sighting.host, HostMemory(name=sighting.host))
    hosts[host.name] = replace(host, clear=extended(host.clear, sighting.at))
    return replace(memory, hosts=_bounded(hosts.values(), sighting.at))


def _bounded(hosts: Iterable[HostMemory], now: float) -> tuple[HostMemory, ...]:
    """At most MAX_HOSTS: those that can be counted on stay, however many others turn up; of those the last ones."""

    def worth(host: HostMemory) -> tuple[bool, float]:
        return holding(host.seen, now) is not None, host.last

    return tuple(sorted(sorted(hosts, key=worth, reverse=True)[:MAX_HOSTS], key=lambda host: host.name))


def _changes(memory: DomainMemory, sighting: Sighting) -> tuple[NotedChange, ...]:
    now = sighting.at
    noted = {
        (each.what, each.host): replace(each, last=now) if each.settled(now) else each  # and stays so
        for each in memory.changes
        if not _refuted(each, sighting) and now - each.last <= LIFETIME_SECONDS
    }
    for what in sorted(sighting.missing):
        if not can_miss(memory, what, sighting.host, now):
            continue  # it was forgotten, or has faded, since the attempt began
        key = what, place(what, sighting.host)
        noted[key] = _again(noted.get(key), *key, sighting)
    newest = sorted(noted.values(), key=lambda each: (-each.last, each.what, each.host))
    return tuple(newest[:MAX_CHANGES])


def _again(before: NotedChange | None, what: Difference, host: str, sighting: Sighting) -> NotedChange:
    """A difference that was seen now. What was announced now and then only begins to settle anew after each gap."""
    now = sighting.at
    if before is None:
        return NotedChange(what=what, host=host, since=now, last=now, held=sighting.held)
    settles = before.ends() is not None and not before.settled(before.last)
    gap = settles and now - before.last > GAP_SECONDS
    return NotedChange(
        what=what,
        host=host,
        since=now if gap else min(before.since, now),
        last=now,
        count=before.count + 1,
        held=before.held or sighting.held,
    )


def _refuted(change: NotedChange, sighting: Sighting) -> bool:
    """Whether what was missing is there."""
    if change.what in sighting.missing:
        return False
    delivered = sighting.delivered and sighting.encrypted and change.host == sighting.host
    match change.what:
        case Difference.HOST:
            return bool(sighting.hosts) and change.host not in sighting.hosts
        case Difference.SIGNED:
            return sighting.signed
        case Difference.MTA_STS:
            return sighting.mta_sts
        case Difference.DANE:
            return sighting.dane and change.host == sighting.host
        case Difference.TLS | Difference.CERTIFICATE:
            return delivered
