"""RFC 8305: which address of a host is dialled when, and who wins. No clock: head starts are endless or none."""

import asyncio
import math
from dataclasses import dataclass, field

from letterlock.deliver.eyeballs import Race, connect, in_order
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.ports import Stream
from tests.deliver.world import MemoryDialer, MemoryStream, memory_pair, mute

SIX, SIX_TOO, FOUR, FOUR_TOO = "2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"


@dataclass
class SlowDialer:
    """Connects to an address when it is told that it may."""

    may: dict[str, asyncio.Event]
    dialled: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    streams: dict[str, MemoryStream] = field(default_factory=dict)

    async def dial(self, address: str, port: int) -> Stream:
        """Wait for the permission."""
        self.dialled.append(address)
        try:
            await self.may[address].wait()
        except asyncio.CancelledError:
            self.given_up.append(address)
            raise
        self.streams[address], _ = memory_pair(address)
        return self.streams[address]

    async def start_tls(
        self, stream: Stream, sni: str | None, *, compatible: bool = False
    ) -> tuple[Stream, Completed | HandshakeFailed]:
        """Nobody gets so far."""
        raise NotImplementedError


def slow(*addresses: str) -> SlowDialer:
    return SlowDialer({address: asyncio.Event() for address in addresses})


async def race(dialer: SlowDialer | MemoryDialer, *addresses: str, head_start: float = math.inf) -> Race:
    return await connect(addresses, 25, dialer, limit_seconds=5, head_start_seconds=head_start)


def test_rfc8305_4_families_take_turns_and_ipv6_begins() -> None:
    assert in_order([FOUR, FOUR_TOO, SIX]) == [SIX, FOUR, FOUR_TOO]
    assert in_order([FOUR, SIX, SIX_TOO]) == [SIX, FOUR, SIX_TOO]
    assert in_order([FOUR_TOO, FOUR]) == [FOUR_TOO, FOUR], "within a family the order is the resolver's"
    assert in_order([]) == []


async def test_who_connects_within_his_head_start_is_the_only_one_dialled() -> None:
    dialer = slow(SIX, FOUR)
    dialer.may[SIX].set()
    won = await race(dialer, SIX, FOUR)
    assert (won.address, won.failed, dialer.dialled) == (SIX, (), [SIX])


async def test_rfc8305_5_the_next_is_dialled_when_the_head_start_is_over_and_the_first_to_connect_wins() -> None:
    dialer = slow(SIX, FOUR)
    dialer.may[FOUR].set()
    won = await race(dialer, SIX, FOUR, head_start=0)
    assert (won.address, won.failed) == (FOUR, ())
    assert dialer.given_up == [SIX], "and is dropped; it has not failed, and may be tried again"


async def test_the_next_is_dialled_at_once_when_one_has_failed() -> None:
    dialer = MemoryDialer(handlers={FOUR_TOO: mute})
    won = await race(dialer, SIX, FOUR, FOUR_TOO)
    assert won.address == FOUR_TOO
    assert won.failed == ((SIX, "cannot connect: Connection refused"), (FOUR, "cannot connect: Connection refused"))
    await dialer.aclose()


async def test_of_two_that_connect_together_the_later_one_is_closed() -> None:
    dialer = slow(SIX, FOUR)
    for may in dialer.may.values():
        asyncio.get_running_loop().call_soon(may.set)
    won = await race(dialer, SIX, FOUR, head_start=0)
    assert won.address is not None
    others = [stream for address, stream in dialer.streams.items() if address != won.address]
    assert all(stream.over for stream in others)


async def test_nobody_connects() -> None:
    lost = await race(MemoryDialer(), SIX, FOUR)
    assert (lost.address, lost.stream, [address for address, _ in lost.failed]) == (None, None, [SIX, FOUR])


async def test_each_has_its_own_limit() -> None:
    dialer = slow(SIX, FOUR)
    lost = await connect([SIX, FOUR], 25, dialer, limit_seconds=0.01)
    assert lost.failed == ((SIX, "no connection within 0 seconds"), (FOUR, "no connection within 0 seconds"))


async def test_whoever_gives_up_the_race_leaves_nobody_dialling() -> None:
    dialer = slow(SIX, FOUR)
    racing = asyncio.create_task(race(dialer, SIX, FOUR, head_start=0))
    for _ in range(10):
        await asyncio.sleep(0)
    assert dialer.dialled == [SIX, FOUR]
    racing.cancel()
    await asyncio.gather(racing, return_exceptions=True)
    assert sorted(dialer.given_up) == sorted([SIX, FOUR])
