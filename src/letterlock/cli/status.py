"""`letterlock status`: how the server is, and what needs attention, on one screen."""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from letterlock import __version__
from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.admin.requests import UNKNOWN_REQUEST
from letterlock.app.clock_state import clock_is_synchronised
from letterlock.app.output import json_text
from letterlock.cli.configured import config_option, configured
from letterlock.cli.status_screen import ROWS, screen
from letterlock.config import Options
from letterlock.config.dangers import dangers, open_key
from letterlock.deliver.log import safe
from letterlock.memory.suggestion import moment
from letterlock.net.tls import EXPIRY_WARNING_SECONDS
from letterlock.queue.orders import RecipientState, Tally, TallyBy, Wanted

EXIT_NOT_RUNNING = 3  # as `systemctl status` has it (LSB)
HELD_SAMPLE = 100  # held messages whose reasons are looked at: more say the same


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="The same, as JSON.")
def status(config_path: Path | None, as_json: bool) -> None:
    """Show how the server is, on one screen: flow, protection, queue, resolver, certificates, disk, clock and workers.

    Lines with ! need attention; --json has them under `attention`.

    \b
    Exit status, for monitoring:
       0  all is well
       1  something needs attention
       2  usage error
       3  no server answers
      78  mistakes in the configuration
    """
    options = configured(config_path)
    try:
        found = collected(options, Queues(options.queue_directory))
    except NotRunning as error:
        click.echo(f"error: {error}\n  hint: start it with `letterlock serve`, or name its --config", err=True)
        sys.exit(EXIT_NOT_RUNNING)
    except ServerError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    click.echo(json_text(found, indent=2) if as_json else "\n".join(screen(found, time.time())))
    sys.exit(1 if found["attention"] else 0)


def collected(options: Options, queues: Queues) -> dict[str, Any]:
    """Everything that is shown. Raises NotRunning, ServerError."""
    problems, messages, state = queues.problems(), queues.size(), server_state(queues)
    rows = by_next_hop(queues)
    disk = shutil.disk_usage(options.queue_directory)
    found = {
        "hostname": options.hostname,
        "version": __version__,
        "configuration": options.source,
        "workers": options.workers,
        "messages": messages,
        "oldest_at": min((each.oldest_at for each in rows if each.oldest_at is not None), default=None),
        "held": sum(each.held for each in rows),
        "held_because": _held_because(queues) if any(each.held for each in rows) else {},
        "quarantined": sum(each.quarantined for each in rows),
        "next_hops": list(_next_hops(queues, rows)),
        "disk": {"free_octets": disk.free, "total_octets": disk.total, "min_free_octets": options.min_free_octets},
        "clock_synchronised": clock_is_synchronised(),
        "server": state,
    }
    return found | {"attention": list(_attention(options, problems, found))}


def server_state(queues: Queues) -> dict[str, Any] | None:
    """The server's own account; None from one of an earlier version, which has none."""
    try:
        return queues.first("state")
    except ServerError as error:
        if str(error) != UNKNOWN_REQUEST:
            raise
        return None


def by_next_hop(queues: Queues) -> list[Tally]:
    """The queue by next hop, the fullest first."""
    groups: dict[str, Tally] = {}
    for tallies in queues.stats(TallyBy.DOMAIN):
        for each in tallies:
            groups[each.key] = groups.get(each.key, Tally(key=each.key)).add(each)
    return sorted(groups.values(), key=lambda each: (-each.total, each.key))


def _next_hops(queues: Queues, rows: list[Tally]) -> Iterator[dict[str, Any]]:
    """Each next hop; those on the screen with the reason that one of their messages waits for."""
    for number, each in enumerate(rows):
        why = _why(queues, each.key) if number < ROWS else None
        yield {"name": each.key, "total": each.total, "held": each.held, "ages": each.ages, "why": why}


def _why(queues: Queues, next_hop: str) -> str | None:
    for message in queues.sample(Wanted(domain=next_hop), 1):
        for recipient in message["recipients"]:
            if recipient["next_hop"] == next_hop and (recipient["held_because"] or recipient["reason"]):
                held = recipient["held_because"]
                return f"held: {held}" if held else str(recipient["reason"])
    return None


def _held_because(queues: Queues) -> dict[str, int]:
    """The operators' reasons for what is held, with their counts; of many messages, of the first ones."""
    held = queues.sample(Wanted(state=RecipientState.HELD), HELD_SAMPLE)
    words = Counter(
        each["held_because"] or "no reason given"
        for message in held
        for each in message["recipients"]
        if each["state"] == RecipientState.HELD
    )
    return dict(words.most_common())


def _attention(options: Options, problems: Mapping[str, str], found: Mapping[str, Any]) -> Iterator[str]:
    for name, why in problems.items():
        yield f"the mail in the folder {safe(name)} is not served: {safe(why)}"
    free = found["disk"]["free_octets"]
    if free < options.min_free_octets:
        yield f"the disk has {free >> 20} MiB free, less than min_free_octets: new mail is refused with 452"
    if found["quarantined"]:
        yield f"{found['quarantined']} deliveries are quarantined: letterlock queue list"
    if found["clock_synchronised"] is False:
        yield "the clock is not synchronised: run chrony or systemd-timesyncd"
    yield from _of_the_server(found["server"])
    yield from dangers(options, time.time())


def _of_the_server(state: Mapping[str, Any] | None) -> Iterator[str]:
    if state is None:
        yield "the server is of an earlier version than this command: restart it"
        return
    dead = [str(each["number"]) for each in state["workers"] if not each["alive"]]
    if dead:
        yield f"no sign of life from worker {', '.join(dead)}: the log says why"
    if state["reload_failed"]:
        yield "the configuration has mistakes, and the server goes on with the former one: letterlock config check"
    yield from _of_certificates(state["certificates"], state["at"])
    yield from _of_memory(state.get("memory"))
    upstreams = state["upstreams"]
    if upstreams and not any(each["state"] == "fit" for each in upstreams):
        names = ", ".join(f"{each['name']} {each['state']}" for each in upstreams)
        yield f"no upstream resolver is fit for validation ({names}): letterlock config check says why"


def _of_certificates(certificates: Sequence[Mapping[str, Any]], now: float) -> Iterator[str]:
    """As the server warns of them in its log; the command itself reads no keys, and so no certificates."""
    for each in certificates:
        path, left = safe(each["path"]), each["not_after"] - now
        if key := each.get("key_open_to_others"):
            yield open_key(safe(key))
        if left <= 0:
            yield f"the certificate in {path} has expired; senders that verify it hold their mail back"
        elif left < EXPIRY_WARNING_SECONDS:
            yield f"the certificate in {path} expires in {left / 86400:.0f} days: renew it"


def _of_memory(memory: Mapping[str, Any] | None) -> Iterator[str]:
    """What mail waits for, and a memory that cannot be read. What is only observed is on the screen."""
    if memory is None:
        return
    if memory["trouble"]:
        yield f"what is remembered of domains cannot be read: {safe(memory['trouble'])}"
    for each in memory["alarms"]:
        if each["held"]:
            domain, at = safe(each["domain"]), f" at {safe(each['host'])}" if each["host"] else ""
            changed = f"{each['what']}{at} changed on {moment(each['since'])}"
            yield f"mail to {domain} waits because {changed}: letterlock memory show {domain}"
