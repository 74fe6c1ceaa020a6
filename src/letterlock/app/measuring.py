"""Measuring a running server: once a second its parts are read into the numbers that all workers share.

The metrics endpoint and `letterlock status` answer for all workers, whichever one is asked.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace

from letterlock.app.clock_state import clock_is_synchronised
from letterlock.app.doors import Doors
from letterlock.app.facts import Loaded, facts
from letterlock.app.history import History
from letterlock.app.vitals import vitals
from letterlock.config import Endpoint, Options
from letterlock.config.dangers import others_read
from letterlock.config.reload_effects import contexts
from letterlock.deliver.memory_keeper import MemoryKeeper, MemorySummary
from letterlock.metrics.catalogue import LAYOUT, LOOKUP_SECONDS, OTHER, POLICY_ANSWERS, RCODES
from letterlock.metrics.counting import Counting
from letterlock.metrics.endpoint import MetricsEndpoint
from letterlock.metrics.exposition import exposition
from letterlock.metrics.family import observe
from letterlock.metrics.numbers import Board, Numbers
from letterlock.net.dns import UpstreamTransport
from letterlock.net.dns.upstream_stats import UpstreamStats
from letterlock.net.tls import ServerContext
from letterlock.queue.observing import Observers
from letterlock.queue.orders import Tally, TallyBy
from letterlock.queue.store import OperatedStore, StoreFailed
from letterlock.receive.listener import Listener
from letterlock.report.collector import ReportCollector
from letterlock.resolver import Resolver
from letterlock.schedule.deliverer import Deliverer
from letterlock.statistics.statistics_collector import StatisticsCollector

log = logging.getLogger("letterlock.metrics")
MEASURE_SECONDS = 1.0  # a worker that is killed loses what it has counted since
BUG_SECONDS = 60.0  # after a bug in measuring: one line a minute is enough to be found
VITALS_EVERY = 5  # measurements: the descriptors of a busy server are many to list
SILENT_SECONDS = 10.0  # then a worker is taken for dead, and its gauges do not count
CLOCK_SECONDS = 60.0  # a clock that is no longer kept right takes hours to be wrong
TALLY_SECONDS = 15.0  # as often as Prometheus asks, usually
TALLY_SHARE = 20  # counting a long queue takes at most a twentieth of the time
HOUR, DAY = 3_600.0, 86_400.0
FLOW = ("received", "delivered", "deferred", "failed")
SHOWN_PROTECTIONS = ("authenticated", "encrypted", "clear", "local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a server that are looked at."""

    listener: Listener
    deliverer: Deliverer
    doors: Doors
    resolver: Resolver
    transport: UpstreamTransport
    observers: Observers
    store: OperatedStore
    memory: MemoryKeeper | None = None
    statistics: StatisticsCollector | None = None
    reports: ReportCollector | None = None


@dataclass(frozen=True, slots=True)
class MetricsPlace:
    """The numbers of all workers, this one's row among them, and the socket of the endpoint, if there is one."""

    board: Board = field(default_factory=lambda: Board(LAYOUT.size))
    row: int = 0
    listening: socket.socket | None = None


class Meter:
    """Measures one process, and answers for all."""

    def __init__(self, place: MetricsPlace, options: Callable[[], Options]) -> None:
        board = place.board
        self.numbers = Numbers(LAYOUT, board, place.row)
        self._listening = place.listening
        self.loaded: Callable[[], Loaded] = lambda: Loaded(self._began_at)  # by this worker
        self.stalls: Callable[[], int] = lambda: 0
        self._memory = MemorySummary()
        self._upstreams: tuple[UpstreamStats, ...] = ()
        self._board = board
        self._options = options
        self._began_at = time.time()
        self._measured = 0
        self._clock: bool | None = None
        self.numbers.values[LAYOUT.place("letterlock_worker_starts_total")] += 1
        self.numbers.values[LAYOUT.place("process_start_time_seconds")] = self._began_at
        self._history = History(time.monotonic(), self._flow(self._total()))

    def observers(self) -> tuple[Counting, ...]:
        """The observer that counts, unless the configuration has none."""
        return (Counting(self.numbers),) if self._options().metrics.count else ()

    async def run(self, parts: Parts) -> None:
        """Measure until cancelled, and answer on the endpoint."""
        if self._listening is None:
            await self._run(parts)
            return
        endpoint = MetricsEndpoint(self._listening, self.render, self.names)
        await endpoint.start()
        others = [asyncio.create_task(self._tally_again(parts.store)), asyncio.create_task(self._look_at_clock_again())]
        try:
            await self._run(parts)
        finally:
            for each in others:
                each.cancel()
            await asyncio.wait(others)
            await endpoint.stop()

    def names(self) -> frozenset[str] | None:
        """The names that a request may ask us by; all, over a UNIX socket."""
        options = self._options()
        if not isinstance(options.metrics.listen, Endpoint):
            return None
        return frozenset(each.lower() for each in (options.hostname, *options.metrics.host_names))

    async def _run(self, parts: Parts) -> None:
        while True:
            pause = MEASURE_SECONDS
            try:
                self.measure(parts)
            except Exception:  # mail goes on, whatever is wrong with the numbers
                log.exception("internal error while measuring; tried again in %.0f seconds", BUG_SECONDS)
                pause = BUG_SECONDS
            await asyncio.sleep(pause)

    def measure(self, parts: Parts) -> None:
        """Read the parts, and let the other workers see the numbers."""
        self._set("alive_at", time.monotonic())
        self._set("process_id", os.getpid())
        if self._measured % VITALS_EVERY == 0:
            self._look_at_process()
        self._measured += 1
        self._look_at_sessions(parts.listener)
        self._look_at_deliveries(parts.deliverer)
        self._look_at_resolver(parts.resolver, parts.transport)
        self._look_at_doors(parts.doors)
        self._carry("letterlock_observer_losses_total", parts.observers.lost)
        if parts.memory is not None:
            self._look_at_memory(parts.memory)
        for of, counting in (("statistics", parts.statistics), ("reports", parts.reports)):
            self._set("letterlock_counts_unwritten", float(counting is not None and counting.failing), of)
        self._carry("letterlock_event_loop_stalls_total", self.stalls())
        self.numbers.share()
        self._history.look(time.monotonic(), lambda: self._flow(self._total()))

    def _set(self, name: str, value: float, *labels: str) -> None:
        self.numbers.values[LAYOUT.place(name, *labels)] = value

    def _carry(self, name: str, value: float, *labels: str) -> None:
        self.numbers.carry(LAYOUT.place(name, *labels), value)

    def _carry_all(self, name: str, counted: Mapping[str, int]) -> None:
        """Counts by the value of a label; what has no series of its own is `other`."""
        places = LAYOUT.by_label(name)
        known = {label: counted[label] for label in counted if label in places}
        if OTHER in places:
            known[OTHER] = sum(count for label, count in counted.items() if label not in places)
        for label, count in known.items():
            self.numbers.carry(places[label], count)

    def _look_at_process(self) -> None:
        now = vitals()
        self._carry("process_cpu_seconds_total", now.cpu_seconds)
        self._set("cpu_seconds", now.cpu_seconds)
        self._set("process_resident_memory_bytes", now.resident_octets)
        self._set("process_open_fds", now.open_fds)
        self._set("process_max_fds", now.max_fds)

    def _look_at_sessions(self, listener: Listener) -> None:
        counts = listener.counts
        self._set("letterlock_inbound_connections", listener.connections)
        self._carry("letterlock_inbound_connections_total", counts.connections)
        self._carry_all("letterlock_inbound_tls_handshakes_total", counts.tls_versions)
        self._carry("letterlock_inbound_tls_failures_total", counts.tls_failures)
        self._carry("letterlock_inbound_aborted_total", counts.lost, "lost")
        self._carry("letterlock_inbound_aborted_total", counts.timeouts, "timeout")
        self._carry("letterlock_authentications_total", counts.logins, "accepted")
        self._carry("letterlock_authentications_total", counts.failed_logins, "failed")
        for (command, digit), count in counts.rejections.items():
            self._carry("letterlock_inbound_rejections_total", count, command, digit)
        for (kind, result), count in counts.filters.found.items():
            self._carry("letterlock_filter_answers_total", count, kind, result)
        self._carry_all("letterlock_limit_hits_total", counts.limits)
        self._carry("letterlock_limit_hits_total", counts.timeouts, "receive_timeout")

    def _look_at_doors(self, doors: Doors) -> None:
        policy, resolver = doors.policy, doors.resolver
        self._carry("letterlock_limit_hits_total", policy.turned_away, "policy_connections")
        self._carry("letterlock_limit_hits_total", resolver.turned_away, "resolver_connections")
        for word, answer in POLICY_ANSWERS.items():
            self._carry("letterlock_policy_door_answers_total", policy.answers.get(word, 0), answer)
        for number, rcode in enumerate(RCODES[:-1]):
            self._carry("letterlock_resolver_door_responses_total", resolver.responses[number], rcode)
        others = sum(resolver.responses[len(RCODES) - 1 :])
        self._carry("letterlock_resolver_door_responses_total", others, OTHER)
        self._set("letterlock_policy_door_connections", policy.connections)
        self._set("letterlock_resolver_door_connections", len(resolver.connections))

    def _look_at_deliveries(self, deliverer: Deliverer) -> None:
        load = deliverer.load()
        self._set("letterlock_deliveries_in_progress", load.in_progress)
        self._set("letterlock_deliveries_waiting", load.waiting)
        self._carry_all("letterlock_limit_hits_total", load.limit_hits)

    def _look_at_resolver(self, resolver: Resolver, transport: UpstreamTransport) -> None:
        counts, stats = resolver.counts, transport.stats
        self._upstreams = stats
        self._carry("letterlock_resolver_lookups_total", counts.cached, "cached")
        self._carry_all("letterlock_resolver_lookups_total", counts.results)
        self._carry("letterlock_limit_hits_total", counts.gave_way, "resolver_lookups")
        self._carry("letterlock_limit_hits_total", counts.results["budget"], "resolver_budget")
        place = LAYOUT.place("letterlock_resolver_lookup_seconds")
        for seconds in counts.take_seconds():
            observe(self.numbers.values, place, LOOKUP_SECONDS, seconds)
        self._carry("letterlock_resolver_queries_total", sum(each.answers for each in stats), "answered")
        self._carry("letterlock_resolver_queries_total", sum(each.losses for each in stats), "failed")
        self._carry("letterlock_resolver_strays_total", transport.strays)
        self._set("letterlock_resolver_cache_entries", len(resolver.cache))
        self._set("letterlock_resolver_cache_bytes", resolver.cache.octets)
        for state in ("fit", "unfit", "failing"):
            self._set("letterlock_resolver_upstreams", sum(each.state == state for each in stats), state)

    def _look_at_memory(self, memory: MemoryKeeper) -> None:
        self._memory = memory.summary
        self._set("letterlock_memory_domains", memory.summary.domains)
        self._set("letterlock_memory_alarms", len({domain for domain, _ in memory.summary.alarms}))
        self._carry_all("letterlock_memory_changes_total", memory.began)
        self._carry("letterlock_memory_lost_total", memory.lost)

    async def _tally_again(self, store: OperatedStore) -> None:
        while True:
            began = time.monotonic()
            try:
                self.show_queue(await tallied(store, time.time()), await store.count())
            except StoreFailed as error:  # the deliverer, which asks far more often, warns of it
                log.debug("the queue was not counted: %s", error)
            except Exception:  # as above
                log.exception("internal error while counting the queue; tried again in %.0f seconds", TALLY_SECONDS)
            await asyncio.sleep(max(TALLY_SECONDS, TALLY_SHARE * (time.monotonic() - began)))

    async def _look_at_clock_again(self) -> None:
        while True:
            self._clock = await asyncio.to_thread(clock_is_synchronised)
            await asyncio.sleep(CLOCK_SECONDS)

    def show_queue(self, tally: Tally, messages: int) -> None:
        """Take note of how full the queue is."""
        self._set("letterlock_queue_messages", messages)
        for state, place in LAYOUT.by_label("letterlock_queue_tasks").items():
            self.numbers.values[place] = getattr(tally, state)
        for place, count in zip(LAYOUT.by_label("letterlock_queue_tasks_by_age").values(), tally.ages, strict=True):
            self.numbers.values[place] = count
        self._set("letterlock_queue_bytes", tally.octets)
        oldest = 0.0 if tally.oldest_at is None else max(0.0, time.time() - tally.oldest_at)
        self._set("letterlock_queue_oldest_age_seconds", oldest)

    # --- answering for all workers -----------------------------------------------------------------------------------

    def _loaded(self) -> Loaded:
        """Also by the supervisor."""
        loaded = self.loaded()
        return replace(loaded, mistakes=loaded.mistakes or self._board.reload_failed)

    def _rows(self) -> tuple[list[list[float]], list[bool]]:
        rows, now = self._board.read_all(), time.monotonic()
        place = LAYOUT.place("alive_at")
        return rows, [now - row[place] <= SILENT_SECONDS for row in rows]

    def _total(self) -> list[float]:
        return LAYOUT.merged(*self._rows())

    def render(self, openmetrics: bool) -> str:
        """All metrics of all workers."""
        rows, alive = self._rows()
        known = facts(self._options(), sum(alive), self._loaded(), time.time(), self._clock)
        return exposition(LAYOUT, LAYOUT.merged(rows, alive), known, openmetrics=openmetrics)

    def _flow(self, total: list[float]) -> list[float]:
        """The counters of FLOW, and then those of SHOWN_PROTECTIONS."""
        received = LAYOUT.families["letterlock_messages_received_total"].places.values()
        places = LAYOUT.families["letterlock_deliveries_total"].places
        results = [sum(total[at] for labels, at in places.items() if labels[0] == result) for result in FLOW[1:]]
        protections = [total[places["delivered", each]] for each in SHOWN_PROTECTIONS]
        return [sum(total[place] for place in received), *results, *protections]

    def state(self) -> dict[str, object]:
        """What `letterlock status` and `letterlock top` show, as JSON-able values."""
        rows, alive = self._rows()
        total, now, options, loaded = LAYOUT.merged(rows, alive), time.monotonic(), self._options(), self._loaded()
        counters = self._flow(total)
        hour, day = (self._history.since(seconds, now, counters) for seconds in (HOUR, DAY))
        return {
            "at": time.time(),
            "counted": options.metrics.count,
            "workers": [_worker(number, *each) for number, each in enumerate(zip(rows, alive, strict=True))],
            "counters": dict(zip(FLOW, counters, strict=False)),
            "hour": {"seconds": hour.seconds, **dict(zip(FLOW, hour.grown, strict=False))},
            "day": {"seconds": day.seconds, **dict(zip(SHOWN_PROTECTIONS, day.grown[len(FLOW) :], strict=True))},
            "loaded_at": loaded.at,
            "reload_failed": loaded.mistakes,
            "capacity": {key: asdict(chosen) for key, chosen in options.capacity.by_key.items()},
            "upstreams": [_upstream(each) for each in self._upstreams],  # as this worker sees them
            "memory": _memory(options, self._memory),
            "certificates": [_certificate(each) for each in contexts(options)],
            "numbers": _by_name(total),
        }


async def tallied(store: OperatedStore, now: float) -> Tally:
    """The whole queue as one group; it is counted page by page, and others go on meanwhile. Raises StoreFailed."""
    whole, after = Tally(key=""), None
    while True:
        page = await store.tally(TallyBy.AGE, now=now, after=after)
        for each in page.found:
            whole = whole.add(each)
        if (after := page.after) is None:
            return whole


def _certificate(context: ServerContext) -> dict[str, object]:
    key = str(context.key_path) if others_read(context.key_path) else None
    return {"path": str(context.certificate_path), "not_after": context.not_after, "key_open_to_others": key}


def _worker(number: int, row: list[float], alive: bool) -> dict[str, object]:
    return {
        "number": number,
        "alive": alive,
        "process": int(row[LAYOUT.place("process_id")]),
        "began_at": row[LAYOUT.place("process_start_time_seconds")],
        "cpu_seconds": row[LAYOUT.place("cpu_seconds")],
        "memory_octets": int(row[LAYOUT.place("process_resident_memory_bytes")]),
        "open_fds": int(row[LAYOUT.place("process_open_fds")]),
        "starts": int(row[LAYOUT.place("letterlock_worker_starts_total")]),
        "connections": int(row[LAYOUT.place("letterlock_inbound_connections")]),
        "deliveries": int(row[LAYOUT.place("letterlock_deliveries_in_progress")]),
    }


def _memory(options: Options, summary: MemorySummary) -> dict[str, object]:
    """What is remembered, and what is gone."""
    return {
        "mode": options.memory.mode.value,
        "domains": summary.domains,
        "trouble": summary.trouble,
        "alarms": [
            {"domain": domain, "host": each.host, "what": each.what.value, "since": each.since, "held": each.held}
            for domain, each in summary.alarms
        ],
    }


def _upstream(stats: UpstreamStats) -> dict[str, object]:
    return {
        "name": str(stats.upstream),
        "state": stats.state,
        "round_trip_seconds": stats.round_trip,
        "answers": stats.answers,
        "failures": stats.losses,
    }


def _by_name(total: list[float]) -> dict[str, dict[str, float]]:
    """Counters and gauges by their names, and then by the values of their labels; only what is not nought."""
    return {
        name: {",".join(labels): total[place] for labels, place in placed.places.items() if total[place]}
        for name, placed in LAYOUT.families.items()
        if not placed.family.hidden and not placed.family.buckets
    }
