"""`letterlock reload`: have the running server read its configuration again."""

import sys
from pathlib import Path

import click

from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.cli.because import because_option
from letterlock.cli.configured import config_option, configured, found_configuration
from letterlock.config import EX_CONFIG, queue_directory

EXIT_NOT_RUNNING = 3  # as `letterlock status` has it


@click.command()
@because_option()
@config_option
@click.option("--queue", "directory", type=click.Path(path_type=Path), help="The queue directory, instead.")
def reload(config_path: Path | None, directory: Path | None, because: str | None) -> None:
    """Have the running server read its configuration, certificates and keys again.

    All of it or nothing: mistakes are shown here and in the log, and then nothing changes. No session ends and no
    connection is lost. Renewed certificate files are noticed without this command.

    \b
    Exit status:
       0  done; what takes effect only after a restart is named
       1  the server could not
       2  usage error
       3  no server answers
      78  mistakes in the configuration; nothing was changed
    """
    try:
        outcome = Queues(directory or _queue_directory(config_path)).reload(because)
    except NotRunning as error:
        click.echo(f"error: {error}\n  hint: start it with `letterlock serve`, or name its --config", err=True)
        sys.exit(EXIT_NOT_RUNNING)
    except ServerError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    if outcome["mistakes"] is not None:
        click.echo(outcome["mistakes"], err=True)
        sys.exit(EX_CONFIG)
    click.echo("reloaded")
    for path in outcome["restart"]:
        click.echo(f"warning: {path} has changed, and takes effect only after a restart", err=True)


def _queue_directory(path: Path | None) -> Path:
    """Where the server is, also by a file with mistakes: the server reports and logs them."""
    found = found_configuration(path)
    return (None if found is None else queue_directory(found)) or configured(
        found, ending="Nothing was changed."
    ).queue_directory
