"""The upstream of the resolver's benchmark: a signed world on loopback, behind a simulated round trip.

`python -m bench.resolver_upstream --zones 200 --names 5 --delay 0.02` prints one JSON line with its port and the trust
anchor, and serves until its standard input ends. Replies are made once and kept, so that it is never the bottleneck.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from typing import cast

import dns.message

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Denial, Zone

TLSA = "3 1 1 " + "ab" * 32


def world(zones: int, names: int) -> NameSpace:
    """A root, `bench.`, and zones `zN.bench.` with hosts `mxN`, every other one denied by NSEC3."""
    root, tld = Zone(".", key=ZoneKey.make()), Zone("bench.", key=ZoneKey.make())
    root.delegate(tld)
    made = [root, tld]
    for number in range(zones):
        zone = Zone(f"z{number}.bench.", key=ZoneKey.make(), denial=Denial.NSEC3 if number % 2 else Denial.NSEC)
        for host in range(names):
            zone.add(f"mx{host}", "A", "192.0.2.1")
            zone.add(f"_25._tcp.mx{host}", "TLSA", TLSA)
        tld.delegate(zone)
        made.append(zone)
    for zone in made:
        zone.publish(Validity.around(time.time()))
    return NameSpace(made)


def destinations(zones: int, names: int) -> NameSpace:
    """A root, `bench.`, and mail domains `uN.bench.` without signatures and `sN.bench.` with TLSA; hosts at each."""
    root, tld = Zone(".", key=ZoneKey.make()), Zone("bench.", key=ZoneKey.make(), denial=Denial.NSEC3)
    root.delegate(tld)
    made = [root, tld]
    for number, letter in itertools.product(range(zones), "us"):
        key = ZoneKey.make() if letter == "s" else None
        zone = Zone(f"{letter}{number}.bench.", key=key, denial=Denial.NSEC3)
        zone.add(zone.origin.to_text(), "MX", *(f"{10 * host} mx{host or ''}" for host in range(names)))
        for host in range(names):
            zone.add(f"mx{host or ''}", "A", "127.0.0.1")
            if key is not None:
                zone.add(f"_25._tcp.mx{host or ''}", "TLSA", TLSA)
        tld.delegate(zone)
        made.append(zone)
    for zone in made:
        zone.publish(Validity.around(time.time()))
    return NameSpace(made)


KINDS = {"names": world, "destinations": destinations}


class Upstream(asyncio.DatagramProtocol):
    """Answers after a delay, from a table that fills itself."""

    def __init__(self, names: NameSpace, delay: float) -> None:
        self._names = names
        self._delay = delay
        self._replies: dict[bytes, tuple[bytes, bytes]] = {}  # header behind the id, and all behind the question
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one query."""
        end = data.index(b"\0", 12) + 5
        key = data[12:end].lower()
        if key not in self._replies:
            reply = self._names.answer(dns.message.from_wire(data)).to_wire(max_size=65_535)
            self._replies[key] = reply[2:12], reply[end:]
        head, rest = self._replies[key]
        answer = data[:2] + head + data[12:end] + rest
        if self._transport is not None:
            asyncio.get_running_loop().call_later(self._delay, self._transport.sendto, answer, addr)


async def serve(kind: str, zones: int, names: int, delay: float) -> None:
    """Serve until standard input ends."""
    space = KINDS[kind](zones, names)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Upstream(space, delay), local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    print(json.dumps({"port": port, "anchor": space.anchor()}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    transport.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zones", type=int, default=200)
    parser.add_argument("--names", type=int, default=5)
    parser.add_argument("--kind", choices=KINDS, default="names", help="names to look up, or mail domains")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each reply")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.kind, arguments.zones, arguments.names, arguments.delay))


if __name__ == "__main__":
    main()
