"""Rules that everything observed of a domain would already satisfy, as TOML with the evidence."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from letterlock.memory.remembered import DomainMemory, HostMemory, excused
from letterlock.memory.traces import Trace, holding


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """The strictest rule for a domain: a value of `tls`, and the names that `verify` is to accept."""

    domain: str
    tls: str
    names: tuple[str, ...] = ()


def suggestion(memory: DomainMemory, now: float) -> Suggestion | None:
    """The rule for a domain; None where nothing can be counted on, or something is gone these days.

    Every host that is known has to have what is demanded, for any of them may get the mail.
    """
    hosts = memory.known_hosts(now)
    gone = memory.alarms(now) or any(excused(each, now) for each in memory.hosts)
    if not hosts or gone or memory.domain.startswith("[") or not holding(memory.tls, now):
        return None
    if not all(holding(each.tls, now) for each in hosts if each.tls is not None):
        return None
    used = [each for each in hosts if each.tls is not None]
    everywhere = len(used) == len(hosts)  # of a host that was only named, nothing is known
    if everywhere and holding(memory.signed, now) and all(holding(each.dane, now) for each in hosts):
        return Suggestion(domain=memory.domain, tls="dane-only")
    if everywhere and all(holding(each.certificate, now) for each in hosts):
        return Suggestion(domain=memory.domain, tls="verify", names=tuple(each.name for each in hosts))
    return Suggestion(domain=memory.domain, tls="require-tls")


def as_toml(
    memory: DomainMemory,
    found: Suggestion,
    now: float,
    *,
    kept: Mapping[str, str] = MappingProxyType({}),
    written: str | None = None,
) -> Iterator[str]:
    """The lines of the rule, the evidence before it.

    `kept`: further keys, of a rule for many domains that this one would take the place of. `written`: where the domain
    has a table already; TOML allows no second one, so that the lines to change there are comments.
    """
    yield f"# TLS {_seen(memory.tls)}{', signed with DNSSEC' if holding(memory.signed, now) else ''}"
    for host in memory.known_hosts(now):
        yield f"#   {host.name}: {', '.join(_evidence(host, now)) or 'named as a host, never used'}"
    lines = [f"tls = {json.dumps(found.tls)}"]
    lines += [f"names = {json.dumps(list(found.names))}"] if found.names else []
    if written is not None:
        yield f"# in its table at {written}:"
        yield from (f"#   {line}" for line in lines)
        return
    yield f"[domain.{json.dumps(found.domain)}]"
    yield from lines
    yield from (f"{key} = {json.dumps(value)}" for key, value in kept.items())


def _evidence(host: HostMemory, now: float) -> Iterator[str]:
    if host.tls is not None:
        yield f"TLS {_seen(host.tls)}"
    if holding(host.dane, now) and host.dane is not None:
        yield f"DANE on {host.dane.days} days"
    if holding(host.certificate, now) and host.certificate is not None:
        issuer = "".join(each for each in host.issuer if each.isprintable())
        by = issuer or "an unknown issuer"
        yield f"certificate for its name on {host.certificate.days} days, last issued by {by}"


def _seen(trace: Trace | None) -> str:
    return "never" if trace is None else f"on {trace.days} days from {day(trace.first)} to {day(trace.last)}"


def day(at: float) -> str:
    """A day, for people."""
    return f"{dt.datetime.fromtimestamp(min(at, _LATEST), dt.UTC):%Y-%m-%d}"


def moment(at: float) -> str:
    """A day with the time, for people."""
    return f"{dt.datetime.fromtimestamp(min(at, _LATEST), dt.UTC):%Y-%m-%d %H:%M} UTC"


_LATEST = 253_402_300_799.0  # 9999-12-31, the last day that datetime knows: a damaged clock may say anything
