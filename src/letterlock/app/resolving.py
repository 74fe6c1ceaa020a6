"""From options to validated DNS, and to the finder of evidence on destinations."""

import asyncio
import logging
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dns.name

from letterlock.app.beside import beside
from letterlock.app.binding import StartFailed
from letterlock.app.system_clock import SystemClock
from letterlock.config import Options, ResolverOptions, system_roots
from letterlock.discover import Discoverer
from letterlock.discover.remembered_finder import RememberedFinder
from letterlock.discover.sts_finder import StsFinder
from letterlock.net.dial import TcpDialer
from letterlock.net.dns import NoUpstreams, Upstream, UpstreamReport, UpstreamTransport, system_upstreams
from letterlock.net.https import fetch_policy
from letterlock.net.ourselves import Ourselves
from letterlock.resolver import Resolver
from letterlock.state.memory_reader import MemoryReader, is_readable
from letterlock.state.shared_state import SharedState, open_state

log = logging.getLogger("letterlock.app.server")


@dataclass(frozen=True, slots=True)
class Dns:
    """The validating resolver, and whom it asks."""

    resolver: Resolver
    transport: UpstreamTransport

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """Whom it asks."""
        return self.transport.upstreams

    async def examine(self) -> tuple[UpstreamReport, ...]:
        """Find out which upstreams are fit for validation, by a zone that is known to be signed; prefer those."""
        zone = min((anchor.zone for anchor in self.resolver.anchors), key=len, default=dns.name.root)
        return await self.transport.examine(zone)


@asynccontextmanager
async def validated_dns(
    options: ResolverOptions, now: float | None = None, *, keeps_sections: bool = False
) -> AsyncIterator[Dns]:
    """The validating resolver over its upstreams; `now` stands for the clock. Raises StartFailed.

    `keeps_sections`: it is to pass its answers on as DNS messages.
    """
    try:
        upstreams = options.upstreams or system_upstreams()
    except NoUpstreams as error:
        raise StartFailed(f"{error}\n  hint: name one in [resolver] upstream, or by --upstream") from None
    transport = UpstreamTransport(upstreams, timeout_seconds=options.timeout_seconds)
    resolver = Resolver(
        transport,
        anchors=options.anchors or None,
        now=now,
        negative_anchors=options.negative_anchors,
        algorithms=options.algorithms,
        keeps_sections=keeps_sections,
    )
    try:
        yield Dns(resolver, transport)
    finally:
        await transport.aclose()


UNFIT_HINT = (
    "hint: name another resolver in [resolver] upstream, or by --upstream; Unbound and BIND leave signatures alone"
)


async def examine_upstreams(asked: Dns) -> None:
    """Warn of upstreams that are not fit for validation: behind them every signed name looks forged."""
    for report in await asked.examine():
        if report.findings:
            log.warning("upstream %s; %s", report, UNFIT_HINT)


REFRESH_PAUSE_SECONDS = 300.0  # chosen: as long as RFC 8461 section 3.3 has between two tries for one policy


@asynccontextmanager
async def discovering(
    options: Options, asked: Dns, state: SharedState | None, sockets: Sequence[socket.socket] = ()
) -> AsyncIterator[Discoverer]:
    """The finder of evidence on destinations. It refreshes remembered MTA-STS policies before they expire.

    `state` is that of a server, which listens on `sockets` and must not send to itself. None is for a command: it
    remembers policies until it ends, and may examine this machine. Raises StoreFailed.
    """
    clock, public_roots = SystemClock(), options.public_roots or system_roots()
    if state is None:
        memory = remembered_here(options.state_directory)
    else:
        memory = RememberedFinder(state.memory, clock.monotonic)
    make = partial(
        Discoverer,
        asked.resolver,
        options.rules,
        clock=clock,
        public_roots=public_roots,
        ourselves=None if state is None else _ourselves(options, sockets),
        implicit_tls=options.deliver.implicit_tls,
        memory=memory,
    )
    if not options.mta_sts:
        yield make()
        return
    remembered = state or open_state(options.store.engine, None)
    fetch = partial(fetch_policy, roots=public_roots, clock=clock, connect=TcpDialer().dial, port=options.mta_sts_port)
    finder = StsFinder(asked.resolver, fetch, remembered.policies(), clock, random.SystemRandom().random)
    refreshing = asyncio.create_task(beside("refreshing MTA-STS policies", lambda: _refresh(finder, clock)))
    try:
        yield make(sts=finder)
    finally:
        refreshing.cancel()
        await finder.close()
        if state is None:
            await remembered.close()


def remembered_here(directory: Path) -> RememberedFinder | None:
    """What the server of this directory remembers, for a command; None where there is none, or it is not for us."""
    if not is_readable(directory):
        return None
    reader = MemoryReader(directory)
    return RememberedFinder(lambda: reader, SystemClock().monotonic)


def _ourselves(options: Options, sockets: Sequence[socket.socket]) -> Ourselves:
    listening = [bound.getsockname()[:2] for bound in sockets] or [(at.address, at.port) for at in options.listen]
    return Ourselves(
        listening, own=options.own_addresses, usual_port=options.deliver.port, loopback=options.loopback_hosts
    )


async def _refresh(finder: StsFinder, clock: SystemClock) -> None:
    while True:
        await finder.refresh_due(clock.now())
        await asyncio.sleep(REFRESH_PAUSE_SECONDS)
