"""The only place that builds things: from Options to a running server, and from a running server to nothing.

Start: bind the sockets, give up root, open the queue, then bring up control socket, reporter, deliverer, listener.
Stop, the other way round: no new mail, finish what is in hand, give back what is not, close the queue.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401  # loaded lazily otherwise, when its file may not be readable any more
import logging
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from letterlock.admin.server import ControlFailed, ControlServer
from letterlock.app.beside import beside
from letterlock.app.binding import StartFailed, bind, bind_metrics
from letterlock.app.certificate_watch import CertificateWatch
from letterlock.app.chance import SecretBits
from letterlock.app.directories import open_drop, take_directory, warn_of_final_hops
from letterlock.app.doors import NO_SOCKETS, Doors, DoorSockets, bind_doors, open_doors, refuse_loop
from letterlock.app.logs import flush_log
from letterlock.app.measuring import Meter, MetricsPlace, Parts
from letterlock.app.report_parts import Reports, open_reports
from letterlock.app.resolving import Dns, discovering, examine_upstreams, validated_dns
from letterlock.app.system_clock import SystemClock
from letterlock.config import Options
from letterlock.deliver.log import DeliveryLog
from letterlock.deliver.memory_keeper import MemoryKeeper
from letterlock.discover import Discoverer
from letterlock.discover.anchor_keeper import AnchorKeeper
from letterlock.discover.mail_authentication import MailJudge
from letterlock.discover.recent_discoverer import RecentDiscoverer
from letterlock.events import own_handler
from letterlock.machine import boot_id
from letterlock.net.dial import TcpDialer
from letterlock.ports import ProtectionMemory, Rates, Resolver
from letterlock.queue.folders import CONTROL_SOCKET
from letterlock.queue.ids import IdMaker
from letterlock.queue.observing import Observers, at_once
from letterlock.queue.store import QueueInUse, StoreFailed
from letterlock.receive.accept_turns import AcceptTurns
from letterlock.receive.drop import DropCollector
from letterlock.receive.listener import Listener
from letterlock.receive.profiles import profile_of_local_users
from letterlock.receive.receipt_log import ReceiptLog
from letterlock.report.worker import Reporter
from letterlock.schedule.deliverer import Deliverer
from letterlock.state.in_memory import StateInMemory
from letterlock.state.report_store import ReportStore
from letterlock.state.shared_state import open_state
from letterlock.state.statistics_store import StatisticsStore
from letterlock.statistics.statistics_collector import StatisticsCollector
from letterlock.store.engines import Leftovers, OpenedStore, StoreOptions, open_store

log = logging.getLogger("letterlock.app.server")
STOP_GRACE_SECONDS = 20.0  # chosen: most sessions end within it; twice this is still below the 90 s of systemd


Reload = Callable[[], Awaitable[dict[str, object]]]
"""Reads the configuration again; what became of it, for the command line."""


def _report_loss(error: Exception, lost: int) -> None:
    log.error("internal error in an observer: %d events since the last such line are lost to it", lost, exc_info=error)


class Server:
    """A running server: where it listens, and the parts that tests and the lab look at."""

    def __init__(
        self,
        options: Options,
        opened: OpenedStore,
        asked: Dns,
        discoverer: Discoverer,
        sockets: Sequence[socket.socket],
        doors: Doors,
        place: MetricsPlace | None = None,
        report_store: ReportStore | None = None,
        statistics_store: StatisticsStore | None = None,
        rates: Callable[[], Rates] | None = None,
        memory: Callable[[], ProtectionMemory] | None = None,
    ) -> None:
        self.options = options
        self.store = opened.store
        self.discoverer = discoverer
        self.doors = doors
        self.clock = SystemClock()
        self.certificates = CertificateWatch(lambda: self.options, self.reload)
        self.reload_configuration: Reload | None = None
        self.upstreams = asked.upstreams
        self.meter = Meter(place or MetricsPlace(), lambda: self.options)
        self.reports = Reports(options, report_store, asked.resolver, self.clock)
        self.statistics: StatisticsCollector | None = None
        if statistics_store is not None:
            self.statistics = StatisticsCollector(statistics_store, self.clock, lambda: self.options.statistics.kept)
        statistics = () if self.statistics is None else (self.statistics,)
        counting = (*self.meter.observers(), *statistics, *self.reports.observers())
        self.memory = MemoryKeeper(memory or StateInMemory().memory, self.clock, lambda: self.options.remembers)
        observers = (ReceiptLog(), DeliveryLog(), self.memory, *counting)
        log_handler = own_handler()
        later = at_once if log_handler is None else log_handler.later
        self.observers = Observers(observers, monotonic=self.clock.monotonic, report=_report_loss, later=later)
        self.smtp_addresses: tuple[tuple[str, int], ...] = tuple(bound.getsockname()[:2] for bound in sockets)
        self.new_id = IdMaker(self.clock.now, SecretBits())  # nobody can predict the next id
        self.reporter = self._make_reporter()
        self.deliverer = self._make_deliverer()
        self.listener = self._make_listener(asked.resolver, rates)
        self.collector = self._make_collector()
        self.control = self._make_control(opened.leftovers)
        self.parts = Parts(
            listener=self.listener,
            deliverer=self.deliverer,
            doors=doors,
            resolver=asked.resolver,
            transport=asked.transport,
            observers=self.observers,
            store=self.store,
            memory=self.memory,
            statistics=self.statistics,
            reports=self.reports.collector,
        )

    def _make_reporter(self) -> Reporter:
        return Reporter(
            self.store,
            clock=self.clock,
            hostname=self.options.hostname,
            new_id=self.new_id,
            lifetime_seconds=self.options.receive.expire_seconds,
            delay_notice_seconds=self.options.delay_notice_seconds,
            wake_deliverer=self._wake_deliverer,
            rules=self.options.rules,
            site=self.options.receive.site,
            observers=self.observers,
            signer=self.options.receive.signer,
        )

    def _make_deliverer(self) -> Deliverer:
        return Deliverer(
            self.options.deliver,
            store=self.store,
            discoverer=RecentDiscoverer(self.discoverer, self.clock.monotonic, self.observers),
            dialer_from=TcpDialer,
            clock=self.clock,
            route_settings=self.options.route_settings,
            chance=random.Random(),  # noqa: S311  # it spreads retries; nothing secret depends on it
            failed=self.reporter.wake,
            boot=boot_id(),
            observers=self.observers,
            take_report=self.reports.take_mail,
        )

    def _make_collector(self) -> DropCollector | None:
        """None where local users may not send, and in all workers but the first."""
        drop, local = open_drop(self.options), profile_of_local_users(self.options.profiles)
        if drop is None or local is None:
            return None
        return DropCollector(
            drop,
            self.options.receive,
            local,
            store=self.store,
            clock=self.clock,
            new_id=self.new_id,
            handover=self.deliverer,
            observers=self.observers,
            filters=self.listener.counts.filters,
        )

    def _make_listener(self, resolver: Resolver, rates: Callable[[], Rates] | None) -> Listener:
        return Listener(
            self.options.receive,
            store=self.store,
            clock=self.clock,
            new_id=self.new_id,
            handover=self.deliverer,
            has_room=self.store.has_room,
            observers=self.observers,
            judge=MailJudge(resolver),
            rates=rates,
            resolver=resolver,
        )

    def _make_control(self, leftovers: Leftovers) -> ControlServer:
        return ControlServer(
            self.store,
            self.options.queue_directory / CONTROL_SOCKET,
            clock=self.clock,
            wake=self.wake,
            forgive=self.deliverer.forgive,
            problems=lambda: leftovers.problems,
            reload=self._reload_configuration,
            verbs={**self.doors.operating.control_verbs, "state": self._state, "memory.forget": self._forget},
        )

    async def _state(self, _request: Mapping[str, object]) -> dict[str, object]:
        """How the server is, all workers together, for an operator."""
        return self.meter.state()

    async def _forget(self, request: Mapping[str, object]) -> dict[str, object]:
        """Forget domains, or everything, at an operator's word; what was found a moment ago counts no more."""
        domains = request.get("domains")
        if domains is not None and not (isinstance(domains, list) and all(isinstance(each, str) for each in domains)):
            raise ValueError("domains are a list of names")
        forgotten = await self.memory.forget(domains)
        recent = RecentDiscoverer(self.discoverer, self.clock.monotonic, self.observers)
        self.deliverer.reload(self.options.deliver, self.options.route_settings, recent)
        return {"forgotten": forgotten}

    async def _reload_configuration(self) -> dict[str, object]:
        """Read the configuration again, for an operator; a server that was built from options has none."""
        if self.reload_configuration is None:
            return {"mistakes": "this server has no configuration file", "restart": []}
        return await self.reload_configuration()

    def reload(self, options: Options) -> None:
        """Follow other options, as far as a running server can (`config.reload_effects`)."""
        self.options = options
        self.discoverer = self.discoverer.with_rules(options.rules)
        self.doors.reload(options, self.discoverer)
        recent = RecentDiscoverer(self.discoverer, self.clock.monotonic, self.observers)
        self.deliverer.reload(options.deliver, options.route_settings, recent)
        self.reporter.reload(
            options.rules,
            lifetime_seconds=options.receive.expire_seconds,
            delay_notice_seconds=options.delay_notice_seconds,
            signer=options.receive.signer,
            site=options.receive.site,
        )
        self.listener.reload(options.receive, options.profiles)
        if self.collector is not None:
            self.collector.reload(options.receive, profile_of_local_users(options.profiles))

    def _wake_deliverer(self) -> None:
        self.deliverer.wake()

    def wake(self) -> None:
        """Look at the queue now: something in it changed."""
        self.deliverer.wake()
        self.reporter.wake()

    async def listen(self, sockets: Sequence[socket.socket], turns: AcceptTurns | None = None) -> None:
        """Accept connections; the sockets are in the order of `options.listen`. `turns`: others do, too."""
        if turns is not None:
            self.listener.take_turns(turns)
        bound = iter(sockets)
        for each in self.options.listeners:
            await self.listener.start([next(bound) for _ in each.endpoints], each.profile)

    async def work(self) -> None:
        """Deliver and report until `stop`; a bug in either ends both, loudly."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.deliverer.run())
            group.create_task(self.reporter.run())
            if self.collector is not None:
                group.create_task(self.collector.run())

    async def stop(self) -> None:
        """Stop accepting mail, finish what is in progress, and give back the rest."""
        if self.collector is not None:
            self.collector.stop()
        await self.listener.stop(STOP_GRACE_SECONDS)
        await self.deliverer.stop(STOP_GRACE_SECONDS)
        self.reporter.stop()
        await self.control.stop()


def _store_options(options: Options) -> StoreOptions:
    """The store's options; the first of several workers also takes over the messages of former ones."""
    is_first = options.queue_directory == options.state_directory
    return StoreOptions(
        address=options.store,
        directory=options.queue_directory,
        workers=options.workers if is_first else None,
        key=options.queue_key,
        min_free_octets=options.min_free_octets,
    )


def _is_first(options: Options) -> bool:
    """Whether this process is the first of several workers, or the only one."""
    return options.queue_directory == options.state_directory


@asynccontextmanager
async def running(
    options: Options,
    sockets: Sequence[socket.socket] | None = None,
    door_sockets: DoorSockets = NO_SOCKETS,
    place: MetricsPlace | None = None,
    turns: AcceptTurns | None = None,
) -> AsyncIterator[Server]:
    """A server from start to orderly end, on sockets that a supervisor has bound, or on its own. Raises StartFailed.

    The doors stay open longest: until the end, Postfix gets the answers that it needs for its own mail.
    """
    async with AsyncExitStack() as stack:
        if sockets is None:
            sockets = bind(options.listen)
            for bound in sockets:
                stack.callback(bound.close)
            door_sockets = bind_doors(options)
            stack.callback(door_sockets.close)
            place = MetricsPlace(listening=stack.enter_context(bind_metrics(options)))
            take_directory(options)
        passes_on = bool(options.keys.resolver_listen)
        asked = await stack.enter_async_context(validated_dns(options.resolver, keeps_sections=passes_on))
        refuse_loop(options, asked.upstreams)
        try:
            opened = await open_store(_store_options(options))
            stack.push_async_callback(opened.store.close)
            state = open_state(options.store.engine, options.state_directory)
            stack.push_async_callback(state.close)
            discoverer = await stack.enter_async_context(discovering(options, asked, state, sockets))
            doors = Doors(options, asked.resolver, discoverer, SystemClock())
            await stack.enter_async_context(open_doors(doors, door_sockets))
            report_store = open_reports(options, state)
            statistics = state.statistics() if options.statistics.count else None
            server = Server(
                options,
                opened,
                asked,
                discoverer,
                sockets,
                doors,
                place,
                report_store,
                statistics,
                state.rates,
                state.memory,
            )
            for counting in (server.statistics, server.reports.collector):
                if counting is not None:  # at the very end: deliveries finish while the server stops
                    stack.push_async_callback(counting.flush)
            stack.callback(flush_log)  # which shows them the last deliveries
            await server.reports.listen(stack)
            await server.control.start()
            opened.store.started()
        except (StoreFailed, QueueInUse, ControlFailed) as error:
            raise StartFailed(f"{error}\n  hint: {error.hint}") from None
        warn_of_final_hops(options)
        keeper = AnchorKeeper(asked.resolver, state.trust_point, SystemClock())
        keeper.restore()
        others = {"looking at upstreams": lambda: examine_upstreams(asked), "following trust anchors": keeper.run}
        async with _at_work(server, opened.leftovers, others):
            await server.listen(sockets, turns)
            yield server


@asynccontextmanager
async def _at_work(
    server: Server, leftovers: Leftovers, others: Mapping[str, Callable[[], Coroutine[None, None, None]]]
) -> AsyncIterator[None]:
    """Everything that runs as long as the server does; what happens beside the mail (`beside`) ends with it, in any
    order."""
    others = {
        **others,
        "watching certificates": lambda: server.certificates.run(warns=_is_first(server.options)),
        "remembering domains": server.memory.run,
    }
    if server.statistics is not None:
        others["writing statistics"] = server.statistics.run
    async with asyncio.TaskGroup() as group:
        group.create_task(server.work())
        group.create_task(leftovers.keep_trying(server.wake))
        aside = [group.create_task(beside(what, run)) for what, run in others.items()]
        aside.append(group.create_task(server.meter.run(server.parts)))
        aside += server.reports.start(group, server.store, server.new_id, server.wake)
        try:
            yield
        finally:
            for task in aside:
                task.cancel()
            leftovers.stop()
            await server.stop()
