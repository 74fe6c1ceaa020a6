"""How much mail is sent at once where the configuration does not say: as much as the machine can bear.

A delivery to a host far away mostly waits, so the number of them, and not the processor, limits how fast mail leaves.
What one host sees of that stays the same on any machine: `max_concurrent_per_destination`, `max_connections_per_host`
and `max_handshakes_per_host` do not grow with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from letterlock.machine import Machine
from letterlock.net.dns.transport import MAX_QUERIES

LEAST, MOST = 50, 5_000  # chosen: what runs in 256 MB; and beyond, the disk is the limit
PER_PROCESSOR = 500  # some 250 sessions a second are set up by one, and far away each takes a second or two
MEMORY_SHARE = 8  # of the memory, for sessions: an eighth
DELIVERY_OCTETS = 500_000  # a session inside TLS takes 100 kB, and four deliveries that take long may stand aside
LEAST_IDLE = 100  # chosen: an idle session costs little, and saves a handshake
PER_DELIVERY = 3  # descriptors: connections in the making at once to one host's addresses, and a Maildir's files
ASIDE_AND_IDLE = 5  # descriptors as well: of deliveries that stand aside, and of the session that is kept afterwards
BESIDE = 256  # descriptors: the queue, policies over HTTPS, the control socket and its clients, the log
PER_HOST = 20  # chosen: what Postfix opens to one destination, and what large hosts take from a stranger
SET = "set in the configuration"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The value of a limit, a number of connections or sessions, and why it is what it is."""

    value: int
    why: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """Limits of the whole server that depend on the machine."""

    max_concurrent: Chosen
    max_idle_sessions: Chosen
    max_connections_per_host: Chosen

    @property
    def by_key(self) -> Mapping[str, Chosen]:
        """By the keys of the file."""
        return {f"delivery.{name}": getattr(self, name) for name in self.__slots__}


def capacity(
    machine: Machine,
    *,
    workers: int,
    max_connections: int,
    per_destination: int,
    max_concurrent: int | None,
    max_idle_sessions: int | None,
    max_connections_per_host: int | None,
) -> Capacity:
    """The limits that hold: those in the file, and the rest as it fits the machine.

    `max_concurrent` and `max_connections_per_host` limit deliveries (None: not in the file), `max_connections` clients;
    `per_destination` is the most that the operator lets one place have.
    """
    concurrent = _set(max_concurrent) or _concurrent(machine, workers, max_connections)
    idle = max(LEAST_IDLE, concurrent.value)
    per_host = max(PER_HOST, per_destination)
    return Capacity(
        max_concurrent=concurrent,
        max_idle_sessions=_set(max_idle_sessions) or Chosen(idle, f"as max_concurrent, and at least {LEAST_IDLE}"),
        max_connections_per_host=_set(max_connections_per_host)
        or Chosen(per_host, f"{PER_HOST}, or as many as one destination may have"),
    )


def _set(value: int | None) -> Chosen | None:
    return None if value is None else Chosen(value, SET)


def _concurrent(machine: Machine, workers: int, max_connections: int) -> Chosen:
    """What the scarcest of the machine's means allows."""
    used = min(workers, machine.processors)
    each = machine.descriptors - MAX_QUERIES - BESIDE
    bounds = (
        Chosen(
            PER_PROCESSOR * used,
            f"{PER_PROCESSOR} for {'the processor' if used == 1 else f'each of {used} processors'} that workers use",
        ),
        Chosen(machine.memory_octets // MEMORY_SHARE // DELIVERY_OCTETS, f"for {machine.memory_octets >> 20:,} MiB"),
        Chosen(
            (each * workers - max_connections) // (PER_DELIVERY + ASIDE_AND_IDLE),
            f"for {machine.descriptors:,} file descriptors",
        ),
        Chosen(MOST, "the most on any machine"),
    )
    scarcest = min(bounds, key=lambda bound: bound.value)
    return scarcest if scarcest.value >= LEAST else Chosen(LEAST, f"the least, {scarcest.why}")
