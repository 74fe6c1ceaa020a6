"""`letterlock log trace`: a message's way through the log of the last days."""

import datetime as dt
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from letterlock.app.output import json_text
from letterlock.cli.log.log_files import (
    STANDARD_INPUT,
    LogSource,
    LogUnreadable,
    file_source,
    journal_source,
    mail_logs,
    standard_input,
)
from letterlock.cli.log.log_lines import LogLine, parse_line
from letterlock.cli.log.log_search import IDS, MAX_LINES, LogSearch, TracedMessage
from letterlock.cli.queue.server_link import AgeParam, plural
from letterlock.cli.queue.text import say
from letterlock.deliver.log import safe

EXIT_NOTHING_READ = 3  # no answer is another result than a bad one (1)
DEFAULT_AGE = "7d"
DEFAULT_UNIT = "letterlock"
_HANGING = 27  # behind the time


@click.group("log")
def log() -> None:
    """Read what the server logged."""


@log.command()
@click.argument("word", metavar="ID|MESSAGE-ID|ADDRESS")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option("--since", type=AgeParam(), default=DEFAULT_AGE, show_default=True, help="How far to look back: 4h, 2d.")
@click.option("--journal", is_flag=True, help="Read systemd's journal.")
@click.option("--unit", default=DEFAULT_UNIT, show_default=True, help="With --journal: whose.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def trace(word: str, files: tuple[Path, ...], since: float, journal: bool, unit: str, as_json: bool) -> None:
    """Show the way of messages through the log.

    Shows where they came from, each attempt, orders, and the outcome. A message is found by its ID in the queue, by its
    Message-ID, or by an address that is its sender or one of its recipients. Notifications about it are shown as well.

    FILE is a log in Postfix's form or in JSON, from syslog or from `serve --log`, or the output of
    `journalctl -o json`. gzip is recognised, and - reads standard input. Without FILE, /var/log/mail.log with its
    rotated files is read, or the journal if there is none.

    \b
    Exit status:
       0  found
       1  not found, or a part of the log could not be read
       2  usage error
       3  there is no log
    """
    if files and journal:
        raise click.UsageError("use either FILE or --journal")
    now = time.time()
    search, problems, lines = LogSearch(word), list[str](), 0
    with ExitStack() as opened:
        sources = _sources(files, opened, now - since, unit if journal else None)
        lines = _read_twice(search, sources, now - since, now, problems)
    found = search.messages()
    if as_json:
        click.echo(json_text(_values(found, search, sources, lines), indent=2))
    else:
        _print(found, search)
    for each in problems:
        click.echo(f"error: {safe(each)}", err=True)
    names = ", ".join(each.name for each in sources)
    if not lines:
        if not problems:
            click.echo(f"error: there is no line in {safe(names)}\n  hint: name its files, or use --journal", err=True)
        sys.exit(EXIT_NOTHING_READ)
    if not found:
        click.echo(f"nothing about {safe(word)} in {plural(lines, 'line')} of {safe(names)}", err=True)
    sys.exit(0 if found and not problems else 1)


def _sources(files: tuple[Path, ...], opened: ExitStack, since: float, unit: str | None) -> list[LogSource]:
    """The logs that were named; else the mail logs of this machine; else the journal."""
    if files:
        return [
            opened.enter_context(standard_input()) if str(each) == STANDARD_INPUT else file_source(each)
            for each in files
        ]
    logs = [] if unit else mail_logs(since=since)
    return [file_source(each) for each in logs] or [journal_source(unit or DEFAULT_UNIT, since)]


def _read_twice(search: LogSearch, sources: list[LogSource], since: float, now: float, problems: list[str]) -> int:
    """How many lines there were; what could not be read is added to `problems`."""
    count, needle = 0, search.needle.encode(errors="surrogateescape")
    for raw in _all_lines(sources, problems):
        count += 1
        lowered = raw.lower()
        # Quick looks, for most lines are of other messages. JSON may have escaped what is not ASCII.
        if (needle in lowered or b"\\u" in lowered or b"notification: " in lowered) and (
            line := _parsed(raw, since, now)
        ):
            search.find(line)
    for raw in _all_lines(sources, []):
        ids = IDS.findall(raw.decode("ascii", "replace"))
        if ids and search.is_about_found(ids) and (line := _parsed(raw, since, now)):
            search.collect(line)
    return count


def _all_lines(sources: list[LogSource], problems: list[str]) -> Iterator[bytes]:
    for source in sources:
        try:
            yield from source.lines()
        except LogUnreadable as error:
            problems.append(str(error))


def _parsed(raw: bytes, since: float, now: float) -> LogLine | None:
    line = parse_line(raw.decode("utf-8", "backslashreplace"), now)
    return line if line is not None and line.at >= since else None


def _values(found: list[TracedMessage], search: LogSearch, sources: list[LogSource], lines: int) -> dict[str, Any]:
    return {
        "messages": [
            {
                "id": each.id,
                "message_id": each.message_id,
                "sender": each.sender,
                "outcomes": each.outcomes,
                "notice_of": each.notice_of,
                "lines": [{"time": line.at, "program": line.program, "text": line.text} for line in each.lines],
            }
            for each in found
        ],
        "forgotten": search.forgotten,
        "truncated": search.truncated,
        "searched": {"logs": [each.name for each in sources], "lines": lines},
    }


def _print(found: list[TracedMessage], search: LogSearch) -> None:
    for number, message in enumerate(found):
        if number:
            click.echo()
        about = f", a notification about {message.notice_of}" if message.notice_of else ""
        sender = "" if message.sender is None else f"  from {safe(message.sender or '<>')}"
        name = f", Message-ID {safe(message.message_id)}" if message.message_id else ""
        click.echo(f"{message.id}{sender}{name}{about}")
        for line in message.lines:
            when = dt.datetime.fromtimestamp(line.at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            say(f"{when}  {safe(line.program.removeprefix('postfix/'))}: {safe(line.text)}", 2, _HANGING)
    if search.forgotten:
        click.echo(f"{search.forgotten:,} older messages are not shown: use --since, or an ID", err=True)
    if search.truncated:
        click.echo(f"only the first {MAX_LINES:,} lines are shown", err=True)
