"""A message goes as the last one like it went, and nobody looks again, for as long as the evidence may stand."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.deliver.pool import SessionPool
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import TlsDemand
from letterlock.net.tls import ServerContext
from letterlock.policy.evidence import DestinationEvidence, MxHost, TargetHost
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.recent import EVIDENCE_SECONDS
from letterlock.routing.routes import NextHop
from tests.deliver.world import (
    ADDRESS,
    ANN,
    BODY,
    OPTIONS,
    HandClock,
    HandDiscoverer,
    MemoryDialer,
    Server,
    make_ports,
    make_task,
)
from tests.policy.evidence import answer


@dataclass
class Looking(HandDiscoverer):
    """Evidence of this moment; `looked` is for whom. `port` is where a route leads, if not to the usual one."""

    clock: HandClock = field(default_factory=HandClock)
    looked: list[tuple[str, str | None]] = field(default_factory=list)
    port: int | None = None

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        self.looked.append((next_hop.domain, sender))
        found = await super().destination(replace(next_hop, port=self.port or next_hop.port), sender)
        return replace(found, at=self.clock.now())

    async def host(self, host: MxHost, port: int) -> TargetHost:
        return replace(await super().host(host, port), at=self.clock.now())


class Sender:
    """Sends message after message over one pool."""

    def __init__(self, dialer: MemoryDialer) -> None:
        self.clock = HandClock()
        self.world = Looking(clock=self.clock)
        self.ports = make_ports(dialer, self.world, self.clock)
        self.pool = SessionPool(self.clock, OPTIONS)

    async def send(
        self, *, sender: str | None = "sender.example", demand: TlsDemand = TlsDemand.NONE, to: Sequence[Mailbox] = ()
    ) -> Attempt:
        task = make_task(*(to or (ANN,)))
        path = None if sender is None else Mailbox("me", sender)
        task = replace(task, envelope=replace(task.envelope, reverse_path=path, tls_demand=demand))
        return await attempt(task, BODY, ports=self.ports, options=OPTIONS, pool=self.pool)


def delivered(made: Attempt) -> bool:
    return all(outcome.kind is OutcomeKind.DELIVERED for outcome in made.outcomes)


async def test_for_five_seconds_nobody_looks_again_and_the_attempt_tells_the_same(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    first, second = await sender.send(), await sender.send()
    assert delivered(first)
    assert len(sender.world.looked) == 1
    assert second == replace(first, ready_at=second.ready_at, sessions=second.sessions)
    assert [session.reused for session in (*first.sessions, *second.sessions)] == [False, True]
    await sender.pool.close()


@pytest.mark.parametrize("seconds", [EVIDENCE_SECONDS, -0.5], ids=["later", "after the clock was set back"])
async def test_then_somebody_looks(dialer: MemoryDialer, context: ServerContext, seconds: float) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    await sender.send()
    sender.clock.time += seconds
    assert delivered(await sender.send())
    assert len(sender.world.looked) == 2
    await sender.pool.close()


async def test_another_sender_and_another_demand_are_looked_at_by_themselves(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    for other in ("sender.example", "other.example", None):
        assert delivered(await sender.send(sender=other))
    assert not delivered(await sender.send(demand=TlsDemand.REQUIRETLS)), "nobody is authenticated here"
    assert len(sender.world.looked) == 4
    await sender.pool.close()


async def test_where_there_are_several_hosts_chance_decides_each_time(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    sender.world.hosts = {"mx.example.org": (ADDRESS,), "mx2.example.org": (ADDRESS,)}
    for _ in range(2):
        assert delivered(await sender.send())
    assert len(sender.world.looked) == 2
    await sender.pool.close()


async def test_what_is_demanded_now_is_asked_for_within_five_seconds(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    """The way is as old as the evidence: what was published since holds from the next look on."""
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    await sender.send()
    sender.world.hosts = {"elsewhere.example.org": ("192.0.2.99",)}
    assert delivered(await sender.send())
    sender.clock.time += EVIDENCE_SECONDS
    assert not delivered(await sender.send()), "nobody answers there"
    await sender.pool.close()


async def test_rfc7646_a_way_ends_with_the_evidence_that_it_rests_on(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    """A negative trust anchor that ends within these seconds, say."""
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    ending = answer("example.org", "MX", "10 mx.example.org.")
    sender.world.mx = replace(ending, expires_at=sender.clock.time + EVIDENCE_SECONDS / 2)
    await sender.send()
    sender.clock.time += EVIDENCE_SECONDS / 2
    await sender.send()
    assert len(sender.world.looked) == 2
    await sender.pool.close()


async def test_a_way_whose_session_has_ended_is_looked_for_anew_at_the_usual_port(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    sender.world.port = 2587
    assert (await sender.send()).port == 2587
    await sender.pool.close()
    sender.world.port = None
    made = await sender.send()
    assert delivered(made)
    assert made.port == OPTIONS.port
    await sender.pool.close()


async def test_what_a_kept_session_does_not_take_goes_on_to_a_new_one(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    assert delivered(await sender.send())
    server.answers["MAIL"] = [b"421 4.3.2 going down\r\n", b"250 2.1.0 fine\r\n"]
    made = await sender.send()
    assert delivered(made)
    assert len(dialer.dialled) == 2
    await sender.pool.close()
