"""Reading the configuration for a verb, and telling its mistakes."""

import sys
from pathlib import Path

import click

from letterlock.config import EX_CONFIG, BadConfig, Options, load


def configured(path: Path | None) -> Options:
    """The options of a configuration file, or the safe defaults. Ends the program with status 78 on mistakes."""
    try:
        return load(path)
    except BadConfig as error:
        click.echo(str(error), err=True)
        sys.exit(EX_CONFIG)
