"""What `letterlock top` shows: the server's numbers as rates, from one look to the next."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from letterlock.cli.queue.text import octets, span
from letterlock.cli.status_screen import FOUND, PROTECTIONS, shortened
from letterlock.cli.style import Style
from letterlock.queue.orders import Tally

HISTORY = 60  # looks in a line of bars
_BARS = " ▁▂▃▄▅▆▇█"
_FLOWS = (("received", "dim"), ("delivered", "good"), ("deferred", "warn"), ("failed", "bad"))
_SHOWN_LIMITS = 4  # chosen: the fullest ones; a screen has 24 lines


@dataclass(slots=True)
class View:
    """The last two answers of the server, its rates so far, and the queue as it was counted last."""

    hostname: str
    now: Mapping[str, Any] | None = None
    before: Mapping[str, Any] | None = None
    queue: Sequence[Tally] = ()
    rates: dict[str, deque[float]] = field(default_factory=dict)

    def add(self, state: Mapping[str, Any]) -> None:
        """Take another answer."""
        self.before, self.now = self.now, state
        for name, _ in _FLOWS:
            self.rates.setdefault(name, deque(maxlen=HISTORY)).append(self.rate("counters", name))

    def rate(self, table: str, name: str) -> float:
        """The growth of a counter per second since the look before; 0 before there are two."""
        return self._growth(table, name) / self.seconds if self.seconds > 0 else 0.0

    def grown(self, family: str) -> dict[str, float]:
        """The growth of each series of a family since the look before."""
        if self.before is None or self.now is None:
            return {}
        before, now = self.before["numbers"][family], self.now["numbers"][family]
        return {label: max(0.0, value - before.get(label, 0.0)) for label, value in now.items()}

    @property
    def seconds(self) -> float:
        """The time between the two answers."""
        return 0.0 if self.before is None or self.now is None else float(self.now["at"] - self.before["at"])

    def number(self, family: str, label: str = "") -> float:
        """A number as it is now."""
        return 0.0 if self.now is None else float(self.now["numbers"][family].get(label, 0.0))

    def _growth(self, table: str, name: str) -> float:
        if self.before is None or self.now is None:
            return 0.0
        return max(0.0, float(self.now[table][name] - self.before[table][name]))


def drawn(view: View, style: Style, columns: int, lines: int, *, live: bool = True) -> list[str]:
    """The screen, within so many columns and lines. Cut before it is painted, so that no colour is cut in two."""
    shown: list[tuple[str, str | None]] = list(_lines(view, ending="   q ends" if live else ""))
    return [style(text[:columns], look) if look else text[:columns] for text, look in shown[:lines]]


def _lines(view: View, ending: str) -> Iterator[tuple[str, str | None]]:
    state = view.now
    if state is None:
        return
    workers = state["workers"]
    began = min((each["began_at"] for each in workers if each["alive"]), default=state["at"])
    count = f"{len(workers)} worker{'s' * (len(workers) != 1)}"
    yield f"{view.hostname}   up {span(state['at'] - began)}   {count}{ending}", "bold"
    yield "", None
    if not state["counted"]:
        yield "mail is not counted: [metrics] count is off", "warn"
    for name, look in _FLOWS:
        rates = view.rates[name]
        shown = f"{rates[-1]:.1f}/s" if view.before else "-"
        yield f"{name:<10}{shown:>12}{state['counters'][name]:>14,.0f} in all   {bars(rates)}".rstrip(), look
    yield "", None
    yield from _activity(view)
    yield from _workers(view)
    yield from _queue(view)


def _activity(view: View) -> Iterator[tuple[str, str | None]]:
    progress, waiting = (view.number(f"letterlock_deliveries_{each}") for each in ("in_progress", "waiting"))
    sessions = view.number("letterlock_inbound_connections")
    yield f"sessions {sessions:,.0f} in   deliveries {progress:,.0f} now, {waiting:,.0f} waiting", None
    lookups = view.grown("letterlock_resolver_lookups_total")
    total, cached = sum(lookups.values()), lookups.get("cached", 0.0)
    failed = sum(count for name, count in lookups.items() if name not in FOUND)
    per_second = total / view.seconds if view.seconds > 0 else 0.0
    share = f", {100 * cached / total:.0f} % from the cache" if total else ""
    yield f"lookups  {per_second:,.1f}/s{share}   {failed:,.0f} failed", "warn" if failed else None
    protections = [
        f"{name} {view.number('letterlock_deliveries_total', f'delivered,{name}'):,.0f}" for name in PROTECTIONS
    ]
    yield "delivered since the start: " + "   ".join(protections), None
    hits = sorted(view.grown("letterlock_limit_hits_total").items(), key=lambda each: -each[1])
    if reached := [f"{name} {count:,.0f}" for name, count in hits if count][:_SHOWN_LIMITS]:
        yield "limits reached: " + "   ".join(reached), "warn"


_HEADING = f"{'worker':<8}{'pid':>8}{'CPU %':>8}{'memory':>10}{'sessions':>10}{'deliveries':>12}{'descriptors':>13}"


def _workers(view: View) -> Iterator[tuple[str, str | None]]:
    yield "", None
    yield _HEADING, "dim"
    state = view.now or {"workers": ()}
    before = {each["process"]: each for each in (view.before or {"workers": ()})["workers"]}
    for each in state["workers"]:
        if not each["alive"]:
            yield f"{each['number']:<8}  no sign of life", "bad"
            continue
        used = each["cpu_seconds"] - before.get(each["process"], each)["cpu_seconds"]
        share = 100 * used / view.seconds if view.seconds > 0 else 0.0
        memory, counts = octets(each["memory_octets"]), (each["connections"], each["deliveries"], each["open_fds"])
        first = f"{each['number']:<8}{each['process']:>8}{share:>8.0f}{memory:>10}"
        yield f"{first}{counts[0]:>10}{counts[1]:>12}{counts[2]:>13}", None


def _queue(view: View) -> Iterator[tuple[str, str | None]]:
    if not view.queue:
        return
    yield "", None
    yield f"{'waiting for':<40}{'total':>8}{'leased':>8}{'deferred':>10}{'held':>6}", "dim"
    for each in view.queue:
        name = shortened(each.key, 38)
        yield f"{name:<40}{each.total:>8,}{each.leased:>8,}{each.deferred:>10,}{each.held:>6,}", None


def bars(values: Sequence[float]) -> str:
    """Values as a line of bars; the highest fills its line."""
    most = max(values, default=0.0)
    if most <= 0:
        return ""
    return "".join(_BARS[round(value / most * (len(_BARS) - 1))] for value in values)
