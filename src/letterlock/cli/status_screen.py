"""What `letterlock status` found, as one screen of text."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from letterlock.cli.queue.text import octets, span
from letterlock.deliver.log import safe
from letterlock.queue.orders import AGES, OLDER

ROWS = 10  # next hops on the screen: `letterlock queue stats` shows all
WHY_CHARACTERS = 70  # of the reason beside a next hop, so that a row fits a wide terminal
_AGE_NAMES = [*(name for name, _ in AGES), OLDER]
_State = Mapping[str, Any]


def screen(found: Mapping[str, Any], now: float) -> Iterator[str]:
    """The lines."""
    state = found["server"]
    yield _heading(found, state, now)
    yield ""
    if state is not None:
        yield from _flow(state)
    yield _queue(found, now)
    yield _disk(found["disk"])
    yield f"  Clock      {_CLOCK[found['clock_synchronised']]}"
    if state is not None:
        yield from _resolver(state)
        yield from _memory(state, now)
        yield from _certificates(state, now)
        yield from _workers(state["workers"], now)
        yield from _capacity(state["capacity"])
    yield from _waiting(found["next_hops"])
    yield from _held(found["held_because"])
    yield ""
    yield from (f"  ! {each}" for each in found["attention"])
    if not found["attention"]:
        yield "  all is well"


_CLOCK = {True: "synchronised", False: "NOT synchronised", None: "unknown"}


def _heading(found: Mapping[str, Any], state: _State | None, now: float) -> str:
    words = [found["hostname"], f"Letterlock {found['version']}"]
    if state is not None:
        began = min((each["began_at"] for each in state["workers"] if each["alive"]), default=now)
        read = dt.datetime.fromtimestamp(state["loaded_at"]).astimezone()
        words.append(f"up {span(now - began)}")
        words.append(f"{found['configuration']} read {read:%Y-%m-%d %H:%M}")
    else:
        words.append(f"configuration {found['configuration']}")
    return "   ".join(words)


def _flow(state: _State) -> Iterator[str]:
    if not state["counted"]:
        yield "  Mail       not counted: [metrics] count is off"
        return
    hour, day = state["hour"], state["day"]
    words = [f"{name} {hour[key]:,.0f}" for name, key in _FLOWS]
    words.append(f"in the last {span(hour['seconds'])}")
    last = state["numbers"]["letterlock_last_delivery_timestamp_seconds"].get("", 0)
    words.append(f"last delivery {span(state['at'] - last)} ago" if last else "nothing delivered yet")
    yield "  Mail       " + "   ".join(words)
    total = sum(day[each] for each in PROTECTIONS)
    if total:
        shares = [f"{each} {100 * day[each] / total:.0f} %" for each in PROTECTIONS if day[each]]
        yield "  Protected  " + "   ".join(shares) + f"   of {total:,.0f} in the last {span(day['seconds'])}"


_FLOWS = (("in", "received"), ("out", "delivered"), ("deferred", "deferred"), ("failed", "failed"))
PROTECTIONS = ("authenticated", "encrypted", "clear", "local")


def _queue(found: Mapping[str, Any], now: float) -> str:
    count = found["messages"]
    oldest = "" if found["oldest_at"] is None else f", oldest {span(now - found['oldest_at'])}"
    more = "".join(f"   {found[name]} {name}" for name in ("held", "quarantined") if found[name])
    return f"  Queue      {count:,} message{'' if count == 1 else 's'}{oldest}{more}"


def _disk(disk: Mapping[str, int]) -> str:
    free, total = disk["free_octets"], max(1, disk["total_octets"])
    kept = "below" if free < disk["min_free_octets"] else "above"
    return f"  Disk       {100 * free // total} % free, {octets(free)}, {kept} min_free_octets"


FOUND = frozenset({"cached", "secure", "insecure", "indeterminate"})
"""The results of lookups that found something out."""


def _resolver(state: _State) -> Iterator[str]:
    lookups = state["numbers"]["letterlock_resolver_lookups_total"]
    total, cached = sum(lookups.values()), lookups.get("cached", 0)
    failed = sum(count for result, count in lookups.items() if result not in FOUND)
    entries = state["numbers"]["letterlock_resolver_cache_entries"].get("", 0)
    share = f", {100 * cached / total:.0f} % of {total:,.0f} lookups" if total else ""
    bogus = lookups.get("bogus", 0)
    yield f"  Resolver   cache {entries:,.0f} answers{share}   failed {failed:,.0f}, of which bogus {bogus:,.0f}"
    for each in state["upstreams"]:
        trip = f"{1000 * each['round_trip_seconds']:.0f} ms" if each["answers"] else "no answer yet"
        yield f"             {safe(each['name'])}   {each['state']}   {trip}   failures {each['failures']:,}"


def _memory(state: _State, now: float) -> Iterator[str]:
    memory = state.get("memory")
    if memory is None or (memory["mode"] == "off" and not memory["domains"]):
        return
    if memory["trouble"]:
        yield f"  Memory     {memory['mode']}   CANNOT BE READ: {safe(memory['trouble'])}"
        return
    alarms = memory["alarms"]
    gone = f"   something is gone at {len({each['domain'] for each in alarms})}" if alarms else ""
    yield f"  Memory     {memory['mode']}   {memory['domains']:,.0f} domain{'s' * (memory['domains'] != 1)}{gone}"
    for each in alarms[:ROWS]:
        at = f" at {safe(each['host'])}" if each["host"] else ""
        waits = "   mail waits" if each["held"] else ""
        yield f"             {safe(each['domain'])}   {each['what']}{at} gone for {span(now - each['since'])}{waits}"


def _certificates(state: _State, now: float) -> Iterator[str]:
    for number, each in enumerate(state["certificates"]):
        left = each["not_after"] - now
        words = f"ends in {span(left)}" if left > 0 else "HAS EXPIRED"
        yield f"  {'TLS' if number == 0 else '':<9}  {safe(each['path'])}   {words}"


def _workers(workers: Sequence[Mapping[str, Any]], now: float) -> Iterator[str]:
    for each in workers:
        name = f"  {'Workers' if each is workers[0] else '':<9}  {each['number']}"
        if not each["alive"]:
            yield f"{name}   NO SIGN OF LIFE"
            continue
        parts = f"pid {each['process']}   up {span(now - each['began_at'])}   CPU {each['cpu_seconds']:,.0f} s"
        sessions, deliveries = each["connections"], each["deliveries"]
        busy = f"{sessions} session{'s' * (sessions != 1)}   {deliveries} deliver{'y' if deliveries == 1 else 'ies'}"
        more = f"{octets(each['memory_octets'])}   {busy}"
        yield f"{name}   {parts}   {more}"


def _capacity(chosen: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Limits that depend on the machine, with their reasons."""
    for key, each in chosen.items():
        name = "Limits" if key == next(iter(chosen)) else ""
        yield f"  {name:<9}  {each['value']:,} {key.rpartition('.')[2]} ({each['why']})"


def _waiting(next_hops: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not next_hops:
        return
    yield ""
    yield f"  {'Waiting':<26}" + "".join(f"{name:>6}" for name in _AGE_NAMES) + "   why"
    for each in next_hops[:ROWS]:
        ages = "".join(f"{count or '-':>6}" for count in each["ages"])
        yield f"  {shortened(each['name'], 26):<26}{ages}   {shortened(each['why'] or '', WHY_CHARACTERS)}".rstrip()
    if (more := len(next_hops) - ROWS) > 0:
        yield f"  and {more} more: letterlock queue stats"


def _held(reasons: Mapping[str, int]) -> Iterator[str]:
    if reasons:
        yield ""
        yield from (f"  Held {count:>5}   {shortened(why, WHY_CHARACTERS)}" for why, count in reasons.items())


def shortened(text: str, most: int) -> str:
    """Text of others on one line of `most` characters at most."""
    shown = safe(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
