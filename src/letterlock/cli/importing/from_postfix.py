"""`letterlock config from-postfix DIR`: Postfix's configuration as ours, and a list of what has no counterpart."""

import errno
import os
import socket
import sys
from pathlib import Path

import click

from letterlock.cli.importing.postfix_files import read_main, read_master
from letterlock.cli.importing.postfix_translation import PostfixTranslator
from letterlock.cli.importing.translation import Translation, TranslationFate, as_toml
from letterlock.deliver.log import safe

MAX_FILE_OCTETS = 1 << 22  # chosen: a table of tens of thousands of entries; a larger one belongs in SQLite


@click.command("from-postfix")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def from_postfix(directory: Path) -> None:
    """Translate the configuration of Postfix in DIR.

    Reads main.cf, master.cf and the tables that they name. Prints the configuration on standard output, and on standard
    error what became of each parameter, with its file and line: translated, needless because it holds here anyway, or
    not translated, and why. Nothing is changed. Read the result before you use it, and run `letterlock config check`.

    \b
    Exit status:
       0  everything was translated or is needless
       1  something was not translated, or a file cannot be read
       2  usage error
    """
    try:
        main = read_main(read_text(directory / "main.cf"), str(directory / "main.cf"))
        services = [*read_master(read_text(directory / "master.cf"), str(directory / "master.cf"))]
    except OSError as error:
        click.echo(f"error: {error.filename} cannot be read: {error.strerror}", err=True)
        sys.exit(1)
    made = PostfixTranslator(main, services, table_text, socket.getfqdn()).translate()
    click.echo(as_toml(made), nl=False)
    sys.exit(tell_notes(made))


def tell_notes(made: Translation) -> int:
    """Print what became of each line; the exit status."""
    for note in made.notes:
        click.echo(f"{safe(note.place)}: {safe(note.name)}: {note.fate.value}: {safe(note.text)}", err=True)
    return 1 if any(note.fate is TranslationFate.LOST for note in made.notes) else 0


def read_text(path: Path) -> str:
    """A file of configuration, up to MAX_FILE_OCTETS. Raises OSError."""
    with path.open("rb") as file:
        raw = file.read(MAX_FILE_OCTETS + 1)
    if len(raw) > MAX_FILE_OCTETS:  # half of a table is no table
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return raw.decode("utf-8", "backslashreplace")


def table_text(path: str) -> str | None:
    """A table in text form; None: it cannot be read."""
    try:
        return read_text(Path(path))
    except OSError:  # the caller reports it with the rule that names it
        return None
