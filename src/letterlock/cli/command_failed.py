"""The end of a command that could not do what it was asked for, in the words of all of them."""

from typing import IO, Any

import click


class CommandFailed(click.ClickException):
    """Ends with status 1 and `error:`; click by itself writes `Error:`."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to standard error, or to a file."""
        click.echo(f"error: {self.format_message()}", file=file, err=True)
