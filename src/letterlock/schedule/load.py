"""What a deliverer has in hand, and how often it reached its limits: plain numbers, for monitoring."""

from collections.abc import Mapping
from dataclasses import dataclass

from letterlock.deliver.contents import Contents
from letterlock.deliver.pool import SessionPool
from letterlock.schedule.leasing import Leasing
from letterlock.schedule.parking import Parking
from letterlock.schedule.slots import Slots


@dataclass(frozen=True, slots=True)
class Load:
    """How many deliveries are in progress, or waiting for slots or a busy host, and hits by the name of the limit."""

    in_progress: int
    waiting: int
    limit_hits: Mapping[str, int]


def load_of(
    in_progress: int,
    following: int,
    full: int,
    slots: Slots,
    parking: Parking,
    leasing: Leasing,
    pool: SessionPool,
    contents: Contents,
) -> Load:
    """`following`: how many wait for the slot and the session of another one; `full`: how often nothing could begin for
    want of a slot."""
    hits = {
        "max_concurrent": full,
        "max_concurrent_per_destination": leasing.crowdings,
        "max_handshakes_per_host": pool.handshake_slots.refusals,
        "max_connections_per_host": pool.handshake_slots.fillings,
        "max_sessions": pool.handshake_slots.exhausted,
        "max_idle_sessions": pool.displaced,
        "memory_out": contents.refusals,
        "max_waiting": parking.refusals,
    }
    return Load(in_progress, slots.waiting + parking.parked + following, hits)
