"""Happy eyeballs (RFC 8305): one host's addresses dialled in turn, each a little after the one before.

IPv6 first, then the families by turns (section 4). The next address is dialled when the one before has failed, or has
not connected within HEAD_START_SECONDS (section 5). The first that connects wins, and the others are dropped: they may
still be tried when the winner turns out to be no use. Who wins changes nothing about what is demanded of the host.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence

from letterlock.deliver.conversation import say
from letterlock.frozen import frozen_dataclass
from letterlock.ports import Dialer, Stream

HEAD_START_SECONDS = 0.25  # RFC 8305 section 5 recommends 250 ms


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """The winner, if there is one, and the failures with their reasons; all others may be tried again."""

    address: str | None = None
    stream: Stream | None = None
    failed: tuple[tuple[str, str], ...] = ()


def in_order(addresses: Sequence[str]) -> list[str]:
    """The addresses by turns of their families, IPv6 first, else in the order that they came in."""
    if len(addresses) < 2:
        return list(addresses)
    ipv6 = [address for address in addresses if ":" in address]
    ipv4 = [address for address in addresses if ":" not in address]
    pairs = itertools.zip_longest(ipv6, ipv4)
    return [address for pair in pairs for address in pair if address is not None]


async def connect(
    addresses: Sequence[str],
    port: int,
    dialer: Dialer,
    *,
    limit_seconds: float,
    head_start_seconds: float = HEAD_START_SECONDS,
) -> Race:
    """Connect to one of the addresses, in this order of preference; each may take `limit_seconds`. Never raises."""
    if len(addresses) == 1:  # mostly: nobody to race with needs no task
        [address] = addresses
        result = await _dial(address, port, dialer, limit_seconds)
        return Race(failed=((address, result),)) if isinstance(result, str) else Race(address=address, stream=result)
    waiting = deque(addresses)
    dialling: dict[asyncio.Task[Stream | str], str] = {}
    failed: list[tuple[str, str]] = []
    try:
        while waiting or dialling:
            if waiting:
                address = waiting.popleft()
                dialling[asyncio.create_task(_dial(address, port, dialer, limit_seconds))] = address
            head_start = head_start_seconds if waiting else None
            await asyncio.wait(dialling, timeout=head_start, return_when=asyncio.FIRST_COMPLETED)
            for task in [each for each in dialling if each.done()]:
                address, result = dialling.pop(task), task.result()
                if not isinstance(result, str):
                    return Race(address=address, stream=result, failed=tuple(failed))
                failed.append((address, result))
        return Race(failed=tuple(failed))
    finally:
        await _drop(list(dialling))


async def _dial(address: str, port: int, dialer: Dialer, seconds: float) -> Stream | str:
    """The connection, or why there is none."""
    try:
        async with asyncio.timeout(seconds):
            return await dialer.dial(address, port)
    except TimeoutError:
        return f"no connection within {seconds:.0f} seconds"
    except OSError as error:
        return f"cannot connect: {say(error)}"


async def _drop(dialling: Sequence[asyncio.Task[Stream | str]]) -> None:
    """End those that came too late, connected or not."""
    for task in dialling:
        task.cancel()
    for late in await asyncio.gather(*dialling, return_exceptions=True):
        if not isinstance(late, str | BaseException):
            await late.close()
