"""Messages of the queue as lines of text for people."""

import datetime as dt
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

import click

from letterlock.deliver.log import safe

MIN_WIDTH = 60  # below this, reasons would be cut to a word or two


def print_messages(messages: Iterable[dict[str, Any]], now: float) -> int:
    """A block a message, written as they come; how many there were."""
    count = 0
    for count, message in enumerate(messages, 1):
        if count == 1:
            click.echo(f"{'ID':<21}  {'AGE':>4}  {'SIZE':>7}  {'NEXT TRY':<11}  FROM")
        click.echo(_line(message, now))
        if message["damage"]:
            say(f"damaged: {safe(message['damage'])}", 4)
        _print_waiting(message, now)
    return count


def _print_waiting(message: dict[str, Any], now: float) -> None:
    """The recipients that are not done, each next hop with its own reasons below them, and no words twice."""
    reasons = {each["next_hop"]: each["reasons"] for each in message["last_attempts"]}
    waiting = [each for each in message["recipients"] if each["state"] != "delivered"]
    for next_hop in dict.fromkeys(each["next_hop"] for each in waiting):
        told = _print_recipients([each for each in waiting if each["next_hop"] == next_hop], now)
        print_citations(_once(reasons.get(next_hop, ())), told, 7)


def _print_recipients(recipients: list[dict[str, Any]], now: float) -> list[str]:
    """Recipients of one next hop, the reason below all those that share it; the reasons that were printed."""
    shared = dict.fromkeys((each["status"], each["reason"]) for each in recipients)
    for status, reason in shared:
        for each in recipients:
            if (each["status"], each["reason"]) == (status, reason):
                _print_recipient(each, now)
        if reason:
            say(f"{safe(status)} {safe(reason)}", 7)
    return [reason for _, reason in shared if reason]


def print_citations(reasons: Iterable[dict[str, Any]], told: list[str], indent: int) -> None:
    """Why, with the standard; of a sentence that is printed above already, the standard alone; `indent` in spaces."""
    for each in reasons:
        if any(each["sentence"] in text for text in told):
            say(f"{safe(each['subject'])}  ({safe(each['section'])}; {safe(each['code'])})", indent)
        else:
            print_reasons([each], indent)


def _line(message: dict[str, Any], now: float) -> str:
    age, size, sender = span(now - message["accepted_at"]), octets(message["size"]), message["sender"] or "<>"
    return f"{safe(message['id']):<21}  {age:>4}  {size:>7}  {_coming(message, now):<11}  {safe(sender)}"


def _coming(message: dict[str, Any], now: float) -> str:
    """When the message is tried next; if never, what it is."""
    states = [each["state"] for each in message["recipients"]]
    due = [each["next_attempt_at"] for each in message["recipients"] if each["next_attempt_at"] is not None]
    if "leased" in states:
        return "now"
    if due:
        return f"in {span(min(due) - now)}"
    return next((state for state in ("quarantined", "held") if state in states), "never")


def _print_recipient(recipient: dict[str, Any], now: float) -> None:
    since = f" for {span(now - recipient['held_at'])}" if recipient["held_at"] is not None else ""
    because = f": {safe(recipient['held_because'])}" if recipient["held_because"] else ""
    say(f"to {safe(recipient['recipient'])}  {recipient['state']}{since}{because}", 4)


def _once(reasons: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Of reasons that read the same, the first."""
    return {(each["code"], each["subject"], each["sentence"]): each for each in reasons}.values()


def print_reasons(reasons: Iterable[dict[str, Any]], indent: int) -> None:
    """Why, in the words of the log and of the notification to the sender; `indent` in spaces."""
    for reason in reasons:
        why = f"{safe(reason['subject'])}: {safe(reason['sentence'])}"
        say(f"{why}  ({safe(reason['section'])}; {safe(reason['code'])})", indent)


def print_message(message: dict[str, Any]) -> None:
    """One message: envelope, recipients, and its attempts in short."""
    sender, by = safe(message["sender"] or "<>"), safe(message["client"])
    click.echo(f"{safe(message['id'])}  {octets(message['size'])}, from {sender}, by {by}")
    say(f"accepted {utc(message['accepted_at'])}, tried until {utc(message['expires_at'])}", 2)
    if message["damage"]:
        say(f"damaged: {safe(message['damage'])}", 2)
    for recipient in message["recipients"]:
        when = f", next try {utc(recipient['next_attempt_at'])}" if recipient["next_attempt_at"] is not None else ""
        tried = f", tried {plural_times(recipient['attempts'])}" if recipient["attempts"] else ""
        held = f", since {utc(recipient['held_at'])}" if recipient["held_at"] is not None else ""
        because = f": {safe(recipient['held_because'])}" if recipient["held_because"] else ""
        say(f"to {safe(recipient['recipient'])}: {recipient['state']}{held}{because}{tried}{when}", 2)
        if recipient["reason"]:
            say(f"{safe(recipient['status'])} {safe(recipient['reason'])}", 5)
    for number, made in enumerate(message["attempts_made"], 1):
        say(f"attempt {number}  {utc(made['started_at'])}  {relay(made)}  {made['level'] or 'not sent'}", 2)
        print_reasons(made["reasons"], 5)


def relay(made: dict[str, Any]) -> str:
    """Whom an attempt came to."""
    return safe(f"{made['host']}[{made['address']}]:{made['port']}") if made["host"] else "no host"


def plural_times(count: int) -> str:
    """once, 2 times."""
    return "once" if count == 1 else f"{count} times"


def say(text: str, indent: int, hanging: int = 2) -> None:
    """Print a line; on a terminal, folded to its width. `indent`, and `hanging` for further lines, are in spaces."""
    if not sys.stdout.isatty():
        click.echo(" " * indent + text)
        return
    width = max(MIN_WIDTH, shutil.get_terminal_size().columns)
    first, others = " " * indent, " " * (indent + hanging)
    click.echo(
        textwrap.fill(
            text, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False, break_long_words=False
        )
    )


def span(seconds: float) -> str:
    """A duration as people say it: 40s, 5m, 3h, 2d."""
    seconds = max(0.0, seconds)
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds / unit:.0f}{name}"
    return f"{seconds:.0f}s"


def octets(count: int) -> str:
    """A size as people say it: 812 B, 4.1 kB, 410 kB, 2.0 MB."""
    if count < 1000:
        return f"{count} B"
    for unit, name in ((1e3, "kB"), (1e6, "MB"), (1e9, "GB")):
        if count < 999.5 * unit:
            return f"{count / unit:.{int(count < 99.95 * unit)}f} {name}"
    return f"{count / 1e12:.1f} TB"


def utc(moment: float) -> str:
    """A moment, to the second."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
