"""`letterlock queue`: look at the running server's queue, and steer it."""

import time
from collections.abc import Iterable
from typing import Any

import click

from letterlock.admin.client import EVERYTHING, Queues, ServerError
from letterlock.app.output import json_text
from letterlock.cli.queue.backup import export, import_
from letterlock.cli.queue.message_content import show_content
from letterlock.cli.queue.message_trace import print_trace, trace_values
from letterlock.cli.queue.server_link import filtered, plural, tell_problems, with_server
from letterlock.cli.queue.stats import stats
from letterlock.cli.queue.steering import ORDERS
from letterlock.cli.queue.text import print_message, print_messages
from letterlock.deliver.log import safe
from letterlock.queue.orders import Wanted


@click.group()
def queue() -> None:
    """Inspect and manage the queue of the running server.

    \b
    Exit status:
       0  done
       1  no such message, nothing to change, or the server reported an error
       2  usage error
       3  no server answers
      78  mistakes in the configuration
    """


@queue.command("list")
@filtered
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all messages.")
@with_server
def list_(client: Queues, *, wanted: Wanted, as_json: bool) -> None:
    """List the waiting messages and the reasons why they wait.

    Exit status: 0, also if no message waits; 1 if mail of former workers could not be taken over and is not shown.
    """
    messages, problems = client.messages(wanted), client.problems()
    count = _print_json(messages, problems) if as_json else print_messages(messages, time.time())
    if count or as_json:
        click.echo(plural(count), err=True)
    else:
        click.echo("The queue is empty." if wanted == EVERYTHING else "No message in the queue matches.")
    tell_problems(problems)


def _print_json(messages: Iterable[dict[str, Any]], problems: dict[str, str]) -> int:
    """One document, written as the messages come; how many there were."""
    count = 0
    click.echo('{"messages": [', nl=False)
    for count, message in enumerate(messages, 1):
        click.echo((",\n" if count > 1 else "\n") + json_text(message), nl=False)
    click.echo(f'\n], "problems": {json_text(problems)}}}')
    return count


@queue.command()
@click.argument("message_id", metavar="ID")
@click.option("--message", "content", is_flag=True, help="Show the message's header fields instead.")
@click.option("--full", is_flag=True, help="With --message: the whole message, body included.")
@click.option("--raw", is_flag=True, help="With --message: its exact bytes, for a file or a pipe.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@with_server
def show(client: Queues, *, message_id: str, content: bool, full: bool, raw: bool, as_json: bool) -> None:
    """Show one message: envelope, recipients, and every attempt with its reasons.

    `letterlock queue trace ID` shows its whole history. With --message, its content is shown instead, with control
    characters escaped. Each look is logged.
    """
    if (full or raw) and not content:
        raise click.UsageError("--full and --raw need --message")
    if raw and as_json:
        raise click.UsageError("use either --raw or --json")
    message = _found(client, message_id)
    if content:
        show_content(client, message, whole=full, raw=raw, as_json=as_json)
        return
    if as_json:
        click.echo(json_text(message, indent=2))
    else:
        print_message(message)


@queue.command()
@click.argument("message_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: envelope, events, what happens next.")
@with_server
def trace(client: Queues, *, message_id: str, as_json: bool) -> None:
    """Show the whole history of one message in order of time.

    Shows which client sent it, each attempt with hosts, security levels, reasons and replies, your own orders, and what
    happens next.
    """
    message = _found(client, message_id)
    if as_json:
        click.echo(json_text(trace_values(message), indent=2))
    else:
        print_trace(trace_values(message), time.time())


def _found(client: Queues, message_id: str) -> dict[str, Any]:
    message = client.message(message_id)
    if message is None:
        gone = "it was delivered, returned or removed (see the log), or never existed; see `letterlock queue list`"
        raise ServerError(f"no message {safe(message_id)} in the queue\n  hint: {gone}")
    return message


for _command in (*ORDERS, stats, export, import_):
    queue.add_command(_command)
