"""Finding and reading the configuration for a verb, and reporting its mistakes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from letterlock.config import EX_CONFIG, BadConfig, Options, find, load, require_sources
from letterlock.shared_defaults import ENVIRONMENT, SYSTEM_CONFIG


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--config`, and `-v` to say which file was read."""
    help_text = f"The server's configuration.  [default: ${ENVIRONMENT}, or {SYSTEM_CONFIG}]"
    path = click.option("--config", "config_path", type=click.Path(path_type=Path), help=help_text)
    verbose = click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=_note, help="Say which configuration was read."
    )
    return path(verbose(command))


_VERBOSE = "letterlock.verbose"


def _note(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[_VERBOSE] = value or context.meta.get(_VERBOSE, False)  # or it stood before the verb of a group


def found_configuration(path: Path | None) -> Path | None:
    """The configuration file that counts; with `-v` it is named on stderr."""
    found = find(path)
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(_VERBOSE):
        click.echo(f"configuration: {found or 'built-in defaults'}", err=True)
    return found


def configured(path: Path | None, *, sending: bool = False, ending: str = "Nothing was done.") -> Options:
    """The options of the configuration file that counts, or the safe defaults. Ends with status 78 on mistakes.

    Secret keys are not read: a user who asks the server or checks a domain need not have access to them.
    `sending`: an address to send from that this machine lacks is a mistake, too. `ending` follows the list of mistakes.
    """
    found = found_configuration(path)
    try:
        options = load(found, secrets=False)
        if sending:
            require_sources(options.source, options.sources)
    except BadConfig as error:
        click.echo(error.report(ending), err=True)
        sys.exit(EX_CONFIG)
    return options
