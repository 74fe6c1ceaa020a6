"""`letterlock queue`: look at the running server's queue, and change it."""

import datetime as dt
import json
import math
import sys
import time
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.cli.configured import configured
from letterlock.deliver.log import safe


def _with_server(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its connection to the server, and tell plainly when there is none."""

    @click.option("--config", "config_path", type=click.Path(path_type=Path), help="The server's configuration file.")
    @click.option("--queue", "directory", type=click.Path(path_type=Path), help="The queue directory, instead.")
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


@click.group()
def queue() -> None:
    """Look at the running server's queue, and change it.

    Exit status: 0 done; 1 no such message, or the server could not; 2 usage; 3 no server answers; 78 mistakes in the
    configuration.
    """


@queue.command("list")
@click.option("--domain", help="Only messages that wait for recipients in this domain.")
@click.option("--sender", help="Only messages from this address, or from this domain; <> for notifications.")
@click.option("--older", type=click.FloatRange(0), help="Only messages that were accepted so many hours ago.")
@click.option("--reason", help="Only messages whose last statuses or reasons hold this text, or code.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all messages.")
@_with_server
def list_(
    client: Queues,
    *,
    domain: str | None,
    sender: str | None,
    older: float | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Show every message that waits, and why."""
    now = time.time()
    before = now - 3_600 * older if older is not None else math.inf
    wanted = (
        message
        for message in client.messages()
        if message["accepted_at"] <= before and _is_about(message, domain=domain, sender=sender, reason=reason)
    )
    count = _print_json(wanted) if as_json else _print_lines(wanted, now)
    if count or as_json:
        click.echo(f"{count} message{'s' if count != 1 else ''}", err=True)
    elif any(value is not None for value in (domain, sender, older, reason)):
        click.echo("No message in the queue is like that.")
    else:
        click.echo("The queue is empty.")


def _is_about(message: dict[str, Any], *, domain: str | None, sender: str | None, reason: str | None) -> bool:
    waiting = [each for each in message["recipients"] if each["state"] != "delivered"]
    if domain is not None and not any(_domain(each["recipient"]) == domain.lower() for each in waiting):
        return False
    if sender is not None and sender.lower() not in (message["sender"].lower() or "<>", _domain(message["sender"])):
        return False
    return reason is None or any(reason.lower() in text.lower() for text in _reasons(message, waiting))


def _reasons(message: dict[str, Any], waiting: Iterable[dict[str, Any]]) -> Iterable[str]:
    """All that can be read of why a message waits."""
    yield from (f"{each['status']} {each['reason']}" for each in waiting)
    for attempt in message["last_attempts"]:
        yield from (f"{each['sentence']} {each['section']} {each['code']}" for each in attempt["reasons"])


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _print_json(messages: Iterable[dict[str, Any]]) -> int:
    """One document, written as the messages come; how many there were."""
    count = 0
    click.echo('{"messages": [', nl=False)
    for count, message in enumerate(messages, 1):
        click.echo((",\n" if count > 1 else "\n") + json.dumps(message, ensure_ascii=False), nl=False)
    click.echo("\n]}")
    return count


def _print_lines(messages: Iterable[dict[str, Any]], now: float) -> int:
    """A block a message, written as they come; how many there were."""
    count = 0
    for count, message in enumerate(messages, 1):
        if count == 1:
            click.echo(f"{'ID':<13}  {'AGE':>4}  {'SIZE':>7}  {'NEXT TRY':<9}  FROM")
        click.echo(_line(message, now))
        for recipient in message["recipients"]:
            if recipient["state"] != "delivered":
                click.echo(_recipient(recipient))
        for attempt in message["last_attempts"]:
            _print_reasons(attempt["reasons"], " " * 7)
    return count


def _print_reasons(reasons: Iterable[dict[str, Any]], indent: str) -> None:
    """Why, in the words of the log and of the notification to the sender."""
    for reason in reasons:
        why = f"{safe(reason['subject'])}: {safe(reason['sentence'])}"
        click.echo(f"{indent}{why}  ({safe(reason['section'])}; {safe(reason['code'])})")


def _line(message: dict[str, Any], now: float) -> str:
    due = [each["next_attempt_at"] for each in message["recipients"] if each["next_attempt_at"] is not None]
    if any(each["state"] == "leased" for each in message["recipients"]):
        coming = "now"
    else:
        coming = f"in {span(min(due) - now)}" if due else "never"
    age, size, sender = span(now - message["accepted_at"]), octets(message["size"]), message["sender"] or "<>"
    return f"{safe(message['id']):<13}  {age:>4}  {size:>7}  {coming:<9}  {safe(sender)}"


def _recipient(recipient: dict[str, Any]) -> str:
    text = f"    to {safe(recipient['recipient'])}  {recipient['state']}"
    if recipient["reason"]:
        text += f"\n       {safe(recipient['status'])} {safe(recipient['reason'])}"
    return text


def span(seconds: float) -> str:
    """A duration as people say it: 40s, 5m, 3h, 2d."""
    seconds = max(0.0, seconds)
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds / unit:.0f}{name}"
    return f"{seconds:.0f}s"


def octets(count: int) -> str:
    """A size as people say it: 812 B, 4.1 kB, 2.0 MB."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


@queue.command()
@click.argument("message_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@_with_server
def show(client: Queues, *, message_id: str, as_json: bool) -> None:
    """Show one message: envelope, recipients, and every attempt with its reasons."""
    message = client.message(message_id)
    if message is None:
        raise ServerError(f"no message {message_id} in the queue")
    if as_json:
        click.echo(json.dumps(message, indent=2, ensure_ascii=False))
        return
    sender, by = safe(message["sender"] or "<>"), safe(message["client"])
    click.echo(f"{safe(message['id'])}  {octets(message['size'])}, from {sender}, by {by}")
    click.echo(f"  accepted {_utc(message['accepted_at'])}, tried until {_utc(message['expires_at'])}")
    for recipient in message["recipients"]:
        when = f", next try {_utc(recipient['next_attempt_at'])}" if recipient["next_attempt_at"] else ""
        tried = f", tried {recipient['attempts']} times" if recipient["attempts"] else ""
        click.echo(f"  to {safe(recipient['recipient'])}: {recipient['state']}{tried}{when}")
        if recipient["reason"]:
            click.echo(f"     {safe(recipient['status'])} {safe(recipient['reason'])}")
    for number, made in enumerate(message["attempts_made"], 1):
        relay = safe(f"{made['host']}[{made['address']}]:{made['port']}") if made["host"] else "no host"
        click.echo(f"  attempt {number}  {_utc(made['started_at'])}  {relay}  {made['level'] or 'not sent'}")
        _print_reasons(made["reasons"], " " * 5)


def _utc(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@queue.command()
@click.argument("message_id", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="Every waiting message.")
@_with_server
def retry(client: Queues, *, message_id: str | None, everything: bool) -> None:
    """Try a message again now."""
    if (message_id is None) != everything:
        raise click.UsageError("give an ID, or --all")
    count = client.retry(message_id)
    if message_id and not count:
        raise ServerError(f"no message {message_id} waits in the queue")
    click.echo(f"{count} deliver{'ies' if count != 1 else 'y'} due now", err=True)


@queue.command()
@click.argument("message_id", metavar="ID")
@_with_server
def remove(client: Queues, *, message_id: str) -> None:
    """Drop a message. Its sender is not told."""
    if not client.remove(message_id):
        raise ServerError(f"no message {message_id} in the queue")
    click.echo(f"{message_id} removed", err=True)
