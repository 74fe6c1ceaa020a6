"""When mail to many hosts has arrived, a tenth of which answer slowly, in time that passes only while all wait.

    python -m bench.slow_hosts [--messages 1500] [--domains 300] [--alone]

The deliverer, its slots, sessions and followers are real, and the servers are in memory, in clear: each answers after
its delay, 0.04 or 0.4 s. The CPU takes no time here, so that the figures are the same on every machine, whatever else
it does. `--alone`: no envelope follows a content.
"""

import argparse
import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from unittest.mock import patch

from tests.deliver.test_same_way import Looking
from tests.deliver.virtual_time import virtual_time
from tests.deliver.world import OPTIONS, HandClock, MemoryDialer, MemoryStream, Wrapped, make_task
from tests.schedule.group_server import GroupServer
from tests.schedule.hand_store import HandStore

from letterlock.deliver.route_settings import SettingsByRoute
from letterlock.mail.addresses import Mailbox
from letterlock.policy.evidence import DestinationEvidence, MxHost, TargetHost
from letterlock.ports import Stream
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, Settlement
from letterlock.routing.routes import NextHop
from letterlock.schedule.deliverer import Deliverer
from letterlock.smtp.client import SmtpClient

QUICK_SECONDS, SLOW_SECONDS = 0.04, 0.4  # a reply's delay, as in `bench.relay --part mixed`
DOMAINS_PER_SLOW_ONE = 10  # as there, too
ACCEPTED_WITHIN_SECONDS = 2.0  # all messages, evenly
SESSIONS = 500  # deliveries at once, and idle sessions: what a worker has on a machine of the usual size
BODY = b"Subject: x\r\n\r\nhello\r\n"


class LoopClock(HandClock):
    """The event loop's time."""

    def now(self) -> float:
        """Seconds since 1970, about."""
        return 1_800_000_000.0 + self.monotonic()

    def monotonic(self) -> float:
        """Seconds."""
        return asyncio.get_running_loop().time()


@dataclass
class Each(Looking):
    """Each domain has one host."""

    addresses: Mapping[str, str] = field(default_factory=dict)

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """Its MX record."""
        self.hosts = {f"mx.{next_hop.domain}": ()}
        return await super().destination(next_hop, sender)

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """Its address."""
        self.hosts = {host.name: (self.addresses[host.name.removeprefix("mx.")],)}
        return await super().host(host, port)


class Late(Wrapped):
    """A server's side of a connection, whose octets take their time."""

    def __init__(self, inner: Stream, delay: float) -> None:
        super().__init__(inner)
        self._delay = delay

    async def write(self, data: bytes) -> None:
        """All octets, later."""
        await asyncio.sleep(self._delay)
        await super().write(data)


@dataclass
class LateDialer(MemoryDialer):
    """Connects after the delay of the address."""

    delays: Mapping[str, float] = field(default_factory=dict)

    async def dial(self, address: str, port: int) -> Stream:
        """Connect to a server that is as late."""
        await asyncio.sleep(self.delays[address])
        return await super().dial(address, port)


async def serve(delay: float, stream: MemoryStream) -> None:
    """Serve one connection."""
    await GroupServer(extensions=("PIPELINING", "8BITMIME"))(Late(stream, delay))


@dataclass
class TimedStore(HandStore):
    """Notes when each message was settled."""

    ends: dict[str, float] = field(default_factory=dict)

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        """It was delivered."""
        await super().settle(lease, settlement, attempt, now=now)
        self.ends[lease.message_id] = asyncio.get_running_loop().time()


def accept(deliverer: Deliverer, store: HandStore, number: int, domain: str) -> None:
    """Hand a message over, as a listener does."""
    recipient = Mailbox("ann", domain)
    envelope = replace(make_task(recipient, message_id=str(number), next_hop=domain).envelope, size=len(BODY))
    leases = deliverer.prepare(envelope)
    for lease in leases:
        task = DeliveryTask(lease=lease, envelope=envelope, recipients=(recipient,), attempts=0)
        store.leased[lease.token] = task
    deliverer.take(envelope, BODY, leases)


async def run(messages: int, domains: int) -> str:
    """Deliver them all; what came of it."""
    chance = random.Random(5)  # noqa: S311  # the same load each time
    names = [f"d{number}.example" for number in range(domains)]
    addresses = {name: f"10.{number // 250}.{number % 250}.1" for number, name in enumerate(names)}
    delays = {
        addresses[name]: SLOW_SECONDS if n % DOMAINS_PER_SLOW_ONE == 3 else QUICK_SECONDS
        for n, name in enumerate(names)
    }
    to = chance.choices(names, [1 / (number + 3) for number in range(domains)], k=messages)
    with virtual_time():
        loop, clock = asyncio.get_running_loop(), LoopClock()
        store, dialer = TimedStore(clock), LateDialer(delays=delays)
        for address, delay in delays.items():
            dialer.handlers[address] = partial(serve, delay)
        deliverer = Deliverer(
            replace(OPTIONS, max_concurrent=SESSIONS, max_idle_sessions=SESSIONS),
            store=store,
            discoverer=Each(clock=clock, addresses=addresses),
            dialer_from=lambda _: dialer,
            clock=clock,
            route_settings=SettingsByRoute(),
            chance=chance,
        )
        running, began = asyncio.create_task(deliverer.run()), loop.time()
        accepted: dict[str, float] = {}
        for number, domain in enumerate(to):
            accepted[str(number)] = loop.time()
            accept(deliverer, store, number, domain)
            await asyncio.sleep(ACCEPTED_WITHIN_SECONDS / messages)
        while len(store.ends) < messages:  # noqa: ASYNC110 - time passes at once
            await asyncio.sleep(QUICK_SECONDS / 4)
        ends = sorted(store.ends.values())
        slow = (number for number, domain in enumerate(to) if delays[addresses[domain]] == SLOW_SECONDS)
        waits = sorted(store.ends[str(number)] - accepted[str(number)] for number in slow)
        await deliverer.stop(1.0)
        await running
        await dialer.aclose()
    at_slow = f"median {waits[len(waits) // 2]:.2f} s, most {waits[-1]:.2f} s" if waits else "no mail"
    return (
        f"90 % after {ends[messages * 9 // 10] - began:.2f} s, all after {ends[-1] - began:.2f} s; at slow hosts "
        f"{at_slow}; {len(dialer.dialled)} connections"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1500, help="at least one for each domain")
    parser.add_argument("--domains", type=int, default=300, help=f"at least {DOMAINS_PER_SLOW_ONE}")
    parser.add_argument("--alone", action="store_true", help="no envelope follows a content")
    given = parser.parse_args()
    if not DOMAINS_PER_SLOW_ONE <= given.domains <= given.messages:
        parser.error(f"at least {DOMAINS_PER_SLOW_ONE} domains, and as many messages")
    if given.alone:
        with patch.object(SmtpClient, "may_follow", new=False):
            print(asyncio.run(run(given.messages, given.domains)))
    else:
        print(asyncio.run(run(given.messages, given.domains)))


if __name__ == "__main__":
    main()
