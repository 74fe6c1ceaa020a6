"""What the verbs of `letterlock queue` have in common: the connection to the server, ids, and filters."""

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.cli.configured import config_option, configured
from letterlock.deliver.log import safe
from letterlock.mail.addresses import InvalidAddress, parse_mailbox
from letterlock.queue.ids import is_id
from letterlock.queue.orders import RecipientState, Wanted

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")
MIN_PROGRESS = 2_000  # what takes no time needs no bar
_UNITS = {"s": 1, "m": 60, "h": 3_600, "": 3_600, "d": 86_400}
STATES = [state.value for state in RecipientState if state is not RecipientState.DELIVERED]


def with_server(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its connection to the server, and tell plainly when there is none."""

    @config_option
    @click.option(
        "--queue", "directory", type=click.Path(path_type=Path), help="The queue directory, instead of --config."
    )
    @wraps(command)
    def run(*, config_path: Path | None, directory: Path | None, **others: Any) -> None:
        client = Queues(directory or configured(config_path).queue_directory)
        try:
            command(client, **others)
        except NotRunning as error:
            click.echo(f"error: {error}\n  hint: start it with `letterlock serve`, or name its --config", err=True)
            sys.exit(3)
        except ServerError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return run


def tell_problems(problems: Mapping[str, str]) -> None:
    """Say which mail is not shown, because nobody could take it over, and end with status 1 then."""
    for name, why in problems.items():
        click.echo(f"error: the mail in the folder {safe(name)} is not served: {safe(why)}", err=True)
    if problems:
        click.echo("  hint: keep the folder; the server takes its mail over by itself once this is repaired", err=True)
        sys.exit(1)


class AgeParam(click.ParamType[float]):
    """A time that has passed: 90s, 15m, 4h, 2d; a number alone is hours. The value is in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        found = _AGE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no age: write 90s, 15m, 4h or 2d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class Domain(click.ParamType[str]):
    """A domain or an address literal, as the queue has it: A-labels."""

    name = "domain"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The next hop."""
        try:
            return parse_mailbox(f"x@{value}").domain
        except InvalidAddress as error:
            self.fail(f"{error}", param, ctx)


_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_FILTERS: list[_Decorator] = [
    click.option("--domain", type=Domain(), help="Only messages with waiting recipients in this domain."),
    click.option("--sender", help="Only messages from this address or domain; <> for notifications."),
    click.option("--older", type=AgeParam(), help="Only messages older than this: 15m, 4h, 2d; a plain 4 means 4h."),
    click.option("--reason", help="Only messages whose last status or reason contains this text or code."),
    click.option("--state", type=click.Choice(STATES), help="Only messages with a recipient in this state."),
]


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the filters, as one Wanted."""

    @wraps(command)
    def run(
        *arguments: Any,
        domain: str | None,
        sender: str | None,
        older: float | None,
        reason: str | None,
        state: str | None,
        **others: Any,
    ) -> None:
        wanted = Wanted(
            domain=domain,
            sender=None if sender is None else _sender(sender),
            accepted_before=None if older is None else time.time() - older,
            reason=reason,
            state=None if state is None else RecipientState(state),
        )
        command(*arguments, wanted=wanted, **others)

    decorated: Callable[..., Any] = run
    for option in reversed(_FILTERS):
        decorated = option(decorated)
    return decorated


def _sender(text: str) -> str:
    """A sender as the queue has it: domains in A-labels, without brackets."""
    bare = text if text == "<>" else text.removeprefix("<").removesuffix(">")
    local, at, domain = bare.rpartition("@")
    with suppress(InvalidAddress):  # perhaps only its local part cannot be parsed: see below
        return str(parse_mailbox(bare))
    try:
        return local + at + parse_mailbox(f"x@{domain}").domain
    except InvalidAddress:  # then what is looked for may be as odd
        return bare


def named_ids(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The ids that a command was given, each once; those on standard input for `-`; None when there are none."""
    ids = [each for word in words for each in (_lines() if word == "-" else (word,))]
    return tuple(dict.fromkeys(ids)) if words else None


def _lines() -> Iterator[str]:
    return (line.strip() for line in sys.stdin if line.strip())


def among(wanted: Wanted, ids: tuple[str, ...] | None) -> Wanted:
    """The same, but of these messages. What cannot be an id is left out: no message has it."""
    return wanted if ids is None else replace(wanted, ids=tuple(each for each in ids if is_id(each)))


def plural(count: int, noun: str = "message") -> str:
    """1 message, 2 messages."""
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


@contextmanager
def progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on the terminal, up to `total`; call what it hands out with how much more is done.

    There is no bar for None or for a small number.
    """
    if total is None or total < MIN_PROGRESS or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=total, file=sys.stderr) as bar:
        yield bar.update
