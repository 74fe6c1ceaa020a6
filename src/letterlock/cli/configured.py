"""Reading the configuration for a verb, and telling its mistakes."""

import sys
from pathlib import Path

import click

from letterlock.config import EX_CONFIG, BadConfig, Options, load, require_sources


def configured(path: Path | None, *, sending: bool = False) -> Options:
    """The options of a configuration file, or the safe defaults. Ends the program with status 78 on mistakes.

    Secret keys are not read: whoever asks the server or checks a domain need not be able to.
    `sending`: that this machine lacks an address to send from is one.
    """
    try:
        options = load(path, secrets=False)
        if sending:
            require_sources(options.source, options.sources)
    except BadConfig as error:
        click.echo(str(error), err=True)
        sys.exit(EX_CONFIG)
    return options
