"""`letterlock config from-opensmtpd FILE`: OpenSMTPD's configuration as ours, and a list of what has no counterpart."""

import socket
import sys
from pathlib import Path

import click

from letterlock.cli.importing.from_postfix import read_text, table_text, tell_notes
from letterlock.cli.importing.opensmtpd_translation import SmtpdTranslator, read_smtpd
from letterlock.cli.importing.translation import as_toml


@click.command("from-opensmtpd")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def from_opensmtpd(file: Path) -> None:
    """Translate the configuration of OpenSMTPD in FILE.

    FILE is an smtpd.conf of version 6.4 or later. Prints the configuration on standard output, and on standard error
    what became of each statement, with its file and line: translated, needless because it holds here anyway, or not
    translated, and why. Nothing is changed. Read the result before you use it, and run `letterlock config check`.

    \b
    Exit status:
       0  everything was translated or is needless
       1  something was not translated, or the file cannot be read
       2  usage error
    """
    try:
        statements = [*read_smtpd(read_text(file), str(file), table_text)]
    except OSError as error:
        click.echo(f"error: {file} cannot be read: {error.strerror}", err=True)
        sys.exit(1)
    made = SmtpdTranslator(statements, table_text, socket.getfqdn()).translate()
    click.echo(as_toml(made), nl=False)
    sys.exit(tell_notes(made))
