"""The whole story of one message, in order of time: what was, and what comes next."""

from typing import Any

import click

from letterlock.cli.queue.text import octets, print_citations, relay, say, span, utc
from letterlock.deliver.log import safe

_SUBJECTS = ("id", "sender", "size", "client", "body_type", "tls_demand", "ret", "envid", "expires_at", "damage")
_DONE = {"hold": "held", "quarantine": "quarantined", "release": "released"}
_INDENT = 4  # as in `queue list`


def trace_values(message: dict[str, Any]) -> dict[str, Any]:
    """A message's story as values: its envelope, events with their times, recipients with what comes next."""
    accepted = {"at": message["accepted_at"], "event": "accepted", "client": message["client"]}
    orders = [
        {"at": each["at"], "event": _DONE.get(each["order"], each["order"]), **each} for each in message["orders"]
    ]
    attempts = [
        {"at": each["started_at"], "event": "attempt", "number": number, **each}
        for number, each in enumerate(message["attempts_made"], 1)
    ]
    return {
        **{name: message[name] for name in _SUBJECTS},
        "accepted_at": message["accepted_at"],
        "events": sorted([accepted, *orders, *attempts], key=lambda event: float(event["at"])),
        "recipients": [
            {**each, "next": _next(each, message["expires_at"]), "notices": _notices(each, message["sender"])}
            for each in message["recipients"]
        ],
    }


def _next(recipient: dict[str, Any], expires_at: float) -> str:
    """What happens to a recipient next."""
    match recipient["state"]:
        case "queued":
            due = recipient["next_attempt_at"]
            last = " (the last one before it expires)" if due >= expires_at else ""
            return f"next try {utc(due)}{last}"
        case "leased":
            return "is being tried now"
        case "held" | "quarantined":
            return "waits until you release it; it does not expire"
        case "failed":
            return "is not tried again"
    return "was delivered"


def _notices(recipient: dict[str, Any], sender: str) -> str:
    """The notices about a recipient that the sender got or will get."""
    if not sender:
        return "none: the reverse-path is null"
    if recipient["owed"]:
        return "that it was relayed: pending"
    if recipient["state"] == "delivered":
        return "none pending"
    asked = (recipient["notify"] or "FAILURE,DELAY").split(",")
    failed = recipient["state"] == "failed"
    failure = ("sent" if recipient["told"] else "pending") if failed else "if it fails"
    delay = "sent" if recipient["warned"] else "if it waits for long"
    kinds = {"DELAY": ("of the delay", delay), "FAILURE": ("of the failure", failure)}
    wanted = [kinds[name] for name in (("FAILURE",) if failed else ("DELAY", "FAILURE")) if name in asked]
    return "; ".join(f"{what}: {when}" for what, when in wanted) or "none wanted"


def print_trace(story: dict[str, Any], now: float) -> None:
    """The story as text."""
    click.echo(f"{safe(story['id'])}  {octets(story['size'])}, from {safe(story['sender'] or '<>')}")
    if story["damage"]:
        say(f"damaged: {safe(story['damage'])}", 2)
    for event in story["events"]:
        when = utc(event["at"])
        match event["event"]:
            case "accepted":
                say(f"{when}  accepted from {safe(event['client'])}{_with(story)}", 0, 25)
            case "attempt":
                _print_attempt(event, when)
            case done:
                what = f"deliveries to {safe(event['next_hop'])}: " if event["next_hop"] else ""
                because = f": {safe(event['reason'])}" if event["reason"] else ""
                say(f"{when}  {what}{done} by the operator{because}", 0, 25)
    _print_coming(story, now)


def _with(story: dict[str, Any]) -> str:
    """The envelope's parameters, without sender and recipients."""
    parts = [story["body_type"]]
    if story["tls_demand"] != "none":
        parts.append(str(story["tls_demand"]).upper())
    parts += [f"{name.upper()}={story[name]}" for name in ("ret", "envid") if story[name]]
    return f", {safe(', '.join(parts))}"


def _print_attempt(made: dict[str, Any], when: str) -> None:
    seconds = made["ended_at"] - made["started_at"]
    level = safe(_level(made))
    say(f"{when}  attempt {made['number']} at {safe(made['next_hop'])}: {relay(made)}, {level}, {seconds:.1f} s", 0, 25)
    for outcome in made["outcomes"]:
        doubt = " (in doubt: it may have been delivered)" if outcome["in_doubt"] else ""
        status = f"{safe(outcome['status'])} {safe(outcome['text'])}"
        say(f"{safe(outcome['recipient'])}: {outcome['kind']}{doubt}, {status}", _INDENT)
        if outcome["reply"] and outcome["reply"] not in outcome["text"]:
            say(f"it replied: {safe(outcome['reply'])}", _INDENT + 2)
    print_citations(made["reasons"], [outcome["text"] for outcome in made["outcomes"]], _INDENT)


def _level(made: dict[str, Any]) -> str:
    if made["level"] is None:
        return "not sent"
    tls = made["tls"]
    by = f" by {made['by']}" if made["by"] else ""
    return f"{made['level']}{by}" + (f" ({tls['version']}, {tls['cipher']})" if tls else "")


def _print_coming(story: dict[str, Any], now: float) -> None:
    """What comes next, recipient by recipient."""
    click.echo("Next:")
    for each in story["recipients"]:
        say(f"{safe(each['recipient'])}: {each['state']}; {each['next']}", 2)
        say(f"notices to the sender: {each['notices']}", _INDENT)
    expires_at = story["expires_at"]
    past = f"expired {span(now - expires_at)} ago" if expires_at <= now else f"expires in {span(expires_at - now)}"
    say(f"{past}, at {utc(expires_at)}", 2)
