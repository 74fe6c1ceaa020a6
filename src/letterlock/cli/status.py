"""`letterlock status`: what needs attention, on one screen."""

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from letterlock import __version__
from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.app.clock_state import clock_is_synchronised
from letterlock.app.output import json_text
from letterlock.cli.configured import config_option, configured
from letterlock.cli.queue.text import span
from letterlock.config import Options
from letterlock.config.dangers import dangers
from letterlock.deliver.log import safe
from letterlock.queue.orders import AGES, OLDER, Tally, TallyBy

EXIT_NOT_RUNNING = 3
ROWS = 10  # next hops on the screen: `letterlock queue stats` shows all
_AGE_NAMES = [*(name for name, _ in AGES), OLDER]


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="The same, as JSON.")
def status(config_path: Path | None, as_json: bool) -> None:
    """Show how the server is: its queue by next hop and age, its disk, its settings, and what needs attention.

    \b
    Exit status, for monitoring:
       0  all is well
       1  something needs attention
       2  usage
       3  no server answers
      78  mistakes in the configuration
    """
    options = configured(config_path)
    try:
        found = _collected(options, Queues(options.queue_directory))
    except NotRunning as error:
        click.echo(f"error: {error}\n  hint: start it with `letterlock serve`, or name its --config", err=True)
        sys.exit(EXIT_NOT_RUNNING)
    except ServerError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    click.echo(json_text(found, indent=2) if as_json else "\n".join(_screen(found)))
    sys.exit(1 if found["attention"] else 0)


def _collected(options: Options, queues: Queues) -> dict[str, Any]:
    """Everything that is shown."""
    problems, messages = queues.problems(), queues.size()
    groups: dict[str, Tally] = {}
    for tallies in queues.stats(TallyBy.DOMAIN):
        for each in tallies:
            groups[each.key] = groups.get(each.key, Tally(key=each.key)).add(each)
    rows = sorted(groups.values(), key=lambda each: (-each.total, each.key))
    disk = shutil.disk_usage(options.queue_directory)
    return {
        "hostname": options.hostname,
        "version": __version__,
        "configuration": options.source,
        "workers": options.workers,
        "messages": messages,
        "oldest_at": min((each.oldest_at for each in rows if each.oldest_at is not None), default=None),
        "held": sum(each.held for each in rows),
        "quarantined": sum(each.quarantined for each in rows),
        "next_hops": [{"name": each.key, "total": each.total, "held": each.held, "ages": each.ages} for each in rows],
        "disk": {"free_octets": disk.free, "total_octets": disk.total, "min_free_octets": options.min_free_octets},
        "attention": list(_attention(options, problems, disk.free, rows)),
    }


def _attention(options: Options, problems: dict[str, str], free: int, rows: list[Tally]) -> Iterator[str]:
    for name, why in problems.items():
        yield f"the mail in the folder {safe(name)} is not served: {safe(why)}"
    if free < options.min_free_octets:
        yield f"the disk has {free >> 20} MiB free, less than min_free_octets: new mail is refused with 452"
    if quarantined := sum(each.quarantined for each in rows):
        yield f"{quarantined} deliveries are quarantined: letterlock queue list"
    if clock_is_synchronised() is False:
        yield "the clock is not synchronised: run chrony or systemd-timesyncd"
    yield from dangers(options, time.time())


def _screen(found: dict[str, Any]) -> Iterator[str]:
    now = time.time()
    oldest = "" if found["oldest_at"] is None else f", oldest {span(now - found['oldest_at'])}"
    disk = found["disk"]
    yield f"{found['hostname']}   Letterlock {found['version']}   configuration {found['configuration']}"
    yield ""
    yield f"  Queue     {found['messages']:,} messages{oldest}   held {found['held']}"
    yield f"  Disk      {100 * disk['free_octets'] // max(1, disk['total_octets'])} % free"
    if found["next_hops"]:
        yield ""
        yield f"  {'Waiting':<32}" + "".join(f"{name:>7}" for name in _AGE_NAMES)
        for each in found["next_hops"][:ROWS]:
            ages = "".join(f"{count or '-':>7}" for count in each["ages"])
            yield f"  {safe(each['name'])[:32]:<32}{ages}"
        if (more := len(found["next_hops"]) - ROWS) > 0:
            yield f"  and {more} more: letterlock queue stats"
    yield ""
    yield from (f"  ! {each}" for each in found["attention"])
    if not found["attention"]:
        yield "  all is well"
