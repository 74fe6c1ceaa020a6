"""`--because TEXT`: an operator's reason for an order, as all verbs take it."""

from collections.abc import Callable
from typing import Any

import click

from letterlock.queue.orders import MAX_REASON_CHARACTERS


def because_option(help_text: str = "Your reason, for the log.") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the option."""
    return click.option("--because", metavar="TEXT", callback=_printable, help=help_text)


def _printable(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text is not None and not (text.isprintable() and 0 < len(text) <= MAX_REASON_CHARACTERS):
        raise click.BadParameter(f"write one line of at most {MAX_REASON_CHARACTERS} printable characters")
    return text
