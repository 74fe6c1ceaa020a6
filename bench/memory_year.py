"""A simulated year of memory: `python -m bench.memory_year`.

10,000 destinations get mail daily, weekly or monthly, by a clock that is set by hand. They have outages, move to other
MX hosts, forget to renew certificates, break their TLS for a day or give up DANE; attackers strip STARTTLS, show
another certificate or forge the MX records. What is remembered and compared is the server's own code. It counts attacks
that were noticed, false alarms, and mail that waited in vain, in both modes, and the size of the memory. Under `hold`
once with an operator who finds out within a day which alarms are honest changes, and has those domains forgotten; and
once with nobody who looks.
"""

import argparse
import math
import random
import sys
from collections import Counter
from dataclasses import dataclass, field, replace

from letterlock.memory.comparison import AnnouncedTraits, differences, expectation
from letterlock.memory.learning import Sighting, VerifiedKey, learn
from letterlock.memory.memory_text import to_json
from letterlock.memory.remembered import Difference, DomainMemory
from letterlock.memory.traces import DAY_SECONDS

BEGIN = 1_800_000_000.0  # any moment will do
RETRY_SECONDS = 4_000.0  # the longest wait of the usual schedule
LIFETIME = 5 * DAY_SECONDS  # of a message in the queue
PACES = (1.0, 7.0, 30.0)  # days between two messages, on average
SHARES = (10, 30, 60)  # of destinations, in per cent


@dataclass(frozen=True, slots=True)
class Face:
    """What a destination shows, to us or through an attacker: `key` None is a certificate that cannot be verified."""

    hosts: tuple[str, ...]
    tls: bool = True
    key: str | None = None
    expired: bool = False
    dane: bool = False
    signed: bool = False
    mta_sts: bool = False
    down: bool = False


@dataclass(frozen=True, slots=True)
class Episode:
    """A while in which a destination shows another face. `attack` names what an attacker does."""

    kind: str
    begin: float
    end: float
    face: Face
    attack: bool = False


@dataclass(frozen=True, slots=True)
class Watched:
    """The mode, and after how many seconds an operator has an honest change forgotten."""

    hold: bool
    forgives: float = math.inf

    def __str__(self) -> str:
        if not self.hold:
            return "mode observe"
        return "mode hold, nobody looks" if self.forgives == math.inf else "mode hold, alarms answered within a day"


@dataclass(slots=True)
class Counts:
    """What came of a year."""

    messages: int = 0
    attacked: Counter[str] = field(default_factory=Counter)  # messages that an attacker could have read
    noticed: Counter[str] = field(default_factory=Counter)  # of them, those that were held, or told of
    read: int = 0  # of them, those that the attacker got in the end
    unknown: int = 0  # attacked messages to destinations that were not known yet
    false_alarms: Counter[str] = field(default_factory=Counter)  # honest episodes
    in_vain: Counter[str] = field(default_factory=Counter)  # messages that waited without an attacker
    hours: list[float] = field(default_factory=list)  # that these waited
    expired: int = 0  # of these, at the end of their lifetime
    octets: list[int] = field(default_factory=list)  # of the rows


OBSERVED, ANSWERED, UNWATCHED = Watched(hold=False), Watched(hold=True, forgives=DAY_SECONDS), Watched(hold=True)


def destination(chance: random.Random, number: int) -> tuple[Face, list[Episode]]:
    """A destination, and its year."""
    name = f"d{number}.example"
    hosts = tuple(f"mx{each}.{name}" for each in range(chance.choice((1, 1, 1, 2, 2, 3))))
    signed, tls = chance.random() < 0.06, chance.random() < 0.95
    face = Face(
        hosts=hosts,
        tls=tls,
        key=f"{number}" if tls and chance.random() < 0.75 else None,
        dane=tls and signed and chance.random() < 0.6,
        signed=signed,
        mta_sts=tls and chance.random() < 0.03,
    )
    return face, list(_episodes(chance, number, face))


def _episodes(chance: random.Random, number: int, face: Face) -> list[Episode]:
    """The episodes of a year; the later one hides the earlier, so a move lasts and an attack passes."""

    def some_time(shortest: float, longest: float) -> tuple[float, float]:
        begin = BEGIN + chance.uniform(0, 365) * DAY_SECONDS
        return begin, begin + chance.uniform(shortest, longest) * DAY_SECONDS

    found, end = [], BEGIN + 400 * DAY_SECONDS
    if chance.random() < 0.10:
        begin, _ = some_time(1, 1)
        key = f"{number}b" if chance.random() < 0.9 else None
        face = replace(face, hosts=(f"mx.new{number}.example",), key=key, dane=False)
        found.append(Episode("move to other MX hosts", begin, end, face))
    honest = (
        (0.10, "outage", 0.2, 3, replace(face, down=True)),
        (0.05, "certificate not renewed", 1, 14, replace(face, expired=True)),
        (0.02, "certificate replaced by one that nobody verifies", 1, 20, replace(face, key=None)),
        (0.01, "TLS broken for a while", 0.1, 2, replace(face, tls=False)),
        (0.002, "TLS given up", 400, 400, replace(face, tls=False)),
        (0.005, "DANE given up", 400, 400, replace(face, dane=False)),
        (0.005, "MTA-STS given up", 400, 400, replace(face, mta_sts=False)),
        (0.005, "DNSSEC given up", 400, 400, replace(face, signed=False, dane=False)),
    )
    for share, kind, shortest, longest, shown in honest:
        if chance.random() < share and shown != face:
            found.append(Episode(kind, *some_time(shortest, longest), shown))
    evil = f"mx.evil{number}.example"
    other = "another certificate" if face.key else "another certificate, where none could be verified before"
    attacks = (
        ("STARTTLS stripped", 0.1, 30, replace(face, tls=False, dane=False, mta_sts=False)),
        (other, 0.1, 30, replace(face, key=None, dane=False, mta_sts=False)),
        ("MX forged for hours", 0.1, 0.9, Face(hosts=(evil,), key=f"evil{number}")),
        ("MX forged for days", 1.5, 20, Face(hosts=(evil,), key=f"evil{number}")),
    )
    if not face.signed and not face.mta_sts and chance.random() < 0.08:  # the others do not need memory
        name, least, most, evil_face = chance.choice(attacks)
        found.append(Episode(name, *some_time(least, most), evil_face, attack=True))
    return found


def shown_at(face: Face, episodes: list[Episode], now: float) -> tuple[Face, Episode | None]:
    """What is shown at a moment, and for what episode."""
    current = None
    for each in episodes:
        if each.begin <= now < each.end:
            face, current = each.face, each
    return face, current


def missing_at(memory: DomainMemory | None, face: Face, host: str, now: float, *, hold: bool) -> frozenset[Difference]:
    """As `letterlock.policy.by_memory.missing` has it."""
    if memory is None:
        return frozenset()
    vouched = face.signed or face.mta_sts
    announced = AnnouncedTraits(host=host, signed=face.signed, vouched=vouched, dane=face.dane, mta_sts=face.mta_sts)
    found = {*differences(memory, announced, now, hold=hold)}
    expected = expectation(memory, host, now)
    if expected.tls is not None and not face.tls:
        found.add(Difference.TLS)
    elif expected.certificate is not None and not face.dane:
        valid = face.key is not None and not face.expired
        if not valid and face.key not in expected.keys:
            found.add(Difference.CERTIFICATE)
    return frozenset(found)


def deliver(
    domain: str, memory: DomainMemory | None, face: Face, now: float, *, hold: bool
) -> tuple[DomainMemory | None, frozenset[Difference]]:
    """One attempt: what is remembered after it, and what was missing."""
    host = face.hosts[0]
    gone = missing_at(memory, face, host, now, hold=hold)
    key = VerifiedKey(face.key, "Authority") if face.tls and face.key and not face.expired else None
    sighting = Sighting(
        domain=domain,
        host=host,
        at=now,
        hosts=face.hosts,
        delivered=not (hold and gone),
        encrypted=face.tls,
        certificate=key,
        dane=face.dane,
        mta_sts=face.mta_sts,
        signed=face.signed,
        missing=gone,
        held=hold and bool(gone),
    )
    return learn(memory, sighting), gone


def live(chance: random.Random, number: int, counts: Counts, watched: Watched) -> None:
    """One destination's year."""
    face, episodes = destination(chance, number)
    pace = chance.choices(PACES, SHARES)[0]
    memory: DomainMemory | None = None
    now, end, told = BEGIN, BEGIN + 365 * DAY_SECONDS, dict[int, float]()
    while (now := now + chance.expovariate(1 / (pace * DAY_SECONDS))) < end:
        counts.messages += 1
        memory = _send(f"d{number}.example", memory, (face, episodes), now, counts, told, watched)
    if memory is not None:
        counts.octets.append(len(to_json(memory)))


def _send(
    domain: str,
    memory: DomainMemory | None,
    life: tuple[Face, list[Episode]],
    began: float,
    counts: Counts,
    told: dict[int, float],
    watched: Watched,
) -> DomainMemory | None:
    """A message, with all its attempts."""
    now, waited, attacked, hold = began, "", False, watched.hold
    while now < began + LIFETIME:
        shown, episode = shown_at(*life, now)
        if not shown.down:
            memory, gone = deliver(domain, memory, shown, now, hold=hold)
            by_attacker = episode is not None and episode.attack
            if by_attacker and not attacked and episode is not None:
                attacked = True
                _count_attack(counts, memory, episode.kind, gone, now)
            elif gone and not by_attacker:
                kind = episode.kind if episode is not None else "aftermath"
                waited = waited or kind
                if id(episode) not in told:
                    told[id(episode)] = now
                    counts.false_alarms[kind] += 1
                elif now - told[id(episode)] >= watched.forgives:
                    memory, gone = deliver(domain, None, shown, now, hold=hold)
            if not (hold and gone):
                counts.read += attacked and by_attacker and memory is not None and bool(memory.known_hosts(now))
                break
        now += RETRY_SECONDS
    else:
        counts.expired += bool(waited and hold)
    if waited and hold:
        counts.in_vain[waited] += 1
        counts.hours.append((now - began) / 3600)
    return memory


def _count_attack(
    counts: Counts, memory: DomainMemory | None, kind: str, gone: frozenset[Difference], now: float
) -> None:
    if memory is None or not memory.known_hosts(now):
        counts.unknown += 1
        return
    counts.attacked[kind] += 1
    counts.noticed[kind] += bool(gone)


def year(destinations: int, seed: int, watched: Watched) -> Counts:
    """A year of so many destinations."""
    counts = Counts()
    for number in range(destinations):
        live(random.Random(f"{seed}/{number}"), number, counts, watched)  # noqa: S311  # a simulation
    return counts


def report(counts: Counts, destinations: int, watched: Watched) -> list[str]:
    """The counts, for people."""
    attacked, noticed = counts.attacked.total(), counts.noticed.total()
    lines = [f"{watched}: {destinations:,} destinations, {counts.messages:,} messages"]
    lines.append(f"  attacked messages to known destinations: {attacked:,}, noticed {noticed:,}")
    lines += [f"    {kind}: {counts.noticed[kind]:,} of {counts.attacked[kind]:,}" for kind in sorted(counts.attacked)]
    lines.append(f"  of these, read by the attacker in the end: {counts.read:,}")
    lines.append(f"  attacked messages at first contact, which nobody can notice: {counts.unknown:,}")
    lines.append(f"  false alarms: {counts.false_alarms.total():,}")
    lines += [f"    {kind}: {number:,}" for kind, number in sorted(counts.false_alarms.items())]
    if watched.hold:
        hours = sorted(counts.hours) or [0.0]
        median = hours[len(hours) // 2]
        lines.append(f"  messages that waited in vain: {len(counts.hours):,}, the median {median:.0f} h")
        lines.append(f"    of these, to the end of their lifetime: {counts.expired:,}")
        lines += [f"    {kind}: {number:,}" for kind, number in sorted(counts.in_vain.items())]
    rows = sorted(counts.octets) or [0]
    middle = rows[len(rows) // 2]
    lines.append(f"  stored: {sum(rows) / 1e6:.1f} MB, the median row {middle} bytes, the largest {rows[-1]}")
    return lines


def main() -> None:
    """Print both years."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--destinations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=17)
    chosen = parser.parse_args()
    for watched in (OBSERVED, ANSWERED, UNWATCHED):
        counts = year(chosen.destinations, chosen.seed, watched)
        sys.stdout.write("\n".join(report(counts, chosen.destinations, watched)) + "\n\n")


if __name__ == "__main__":
    main()
