"""`letterlock users`: who may log in to submit mail."""

import os
import pwd
import sys
from pathlib import Path

import click

from letterlock.accounts.user_file import BadUsers, UsersFile, make_user, new_file, read_users, write_users
from letterlock.cli.command_failed import CommandFailed
from letterlock.cli.configured import config_option, configured
from letterlock.config import Options
from letterlock.presence import is_there


@click.group()
@config_option
@click.pass_context
def users(context: click.Context, config_path: Path | None) -> None:
    """Add, change, list and remove the users who may log in to submit mail.

    The users are those of the configuration's [accounts] file. --config may stand before or after the verb.

    \b
    Exit status of all verbs:
       0  done
       1  not done: the message says why
       2  usage error
      78  mistakes in the configuration
    """
    context.obj = config_path


@users.command()
@click.argument("name")
@click.option("--sends-as", multiple=True, metavar="ADDRESS", help="An address, or @DOMAIN for all of it. Repeatable.")
@config_option
@click.pass_obj
def add(before: Path | None, config_path: Path | None, name: str, sends_as: tuple[str, ...]) -> None:
    """Add a user; without --sends-as NAME must be the address that they send as.

    The password is asked for, or read as the first line of standard input.
    """
    options = configured(config_path or before)
    path = _path(options)
    content = _content(path)
    if name in content.users:
        raise CommandFailed(f"{name} exists; `letterlock users passwd {name}` changes the password")
    if "@" not in name and not sends_as:
        hint = f"write the whole address, or name one: letterlock users add {name} --sends-as ADDRESS"
        raise CommandFailed(f"{name} is no address to send as\n  hint: {hint}")
    _store(options, path, content, name, sends_as or (name,))
    click.echo(f"added {name}")


@users.command()
@click.argument("name")
@click.option("--sends-as", multiple=True, metavar="ADDRESS", help="Other addresses from now on. Repeatable.")
@config_option
@click.pass_obj
def passwd(before: Path | None, config_path: Path | None, name: str, sends_as: tuple[str, ...]) -> None:
    """Change a user's password, which is asked for or read from standard input."""
    options = configured(config_path or before)
    path = _path(options)
    content = _content(path)
    _store(options, path, content, name, sends_as or _known(content, name))
    click.echo(f"changed {name}")


@users.command("list")
@config_option
@click.pass_obj
def list_users(before: Path | None, config_path: Path | None) -> None:
    """List the users, each with the addresses that they send as."""
    options = configured(config_path or before)
    for user in _content(_path(options)).users.values():
        click.echo(f"{user.name}  {', '.join(user.addresses)}")


@users.command()
@click.argument("name")
@config_option
@click.pass_obj
def remove(before: Path | None, config_path: Path | None, name: str) -> None:
    """Remove a user.

    The next login fails, and so does the next MAIL of a session that is open.
    """
    options = configured(config_path or before)
    path = _path(options)
    content = _content(path)
    _known(content, name)
    del content.users[name]
    _write(options, path, content)
    click.echo(f"removed {name}")


def _path(options: Options) -> Path:
    if options.accounts.file is None:
        raise CommandFailed('the configuration has no file of users\n  hint: [accounts] file = "users"')
    return options.accounts.file


def _content(path: Path) -> UsersFile:
    try:
        return read_users(path) if is_there(path) else new_file()
    except BadUsers as error:
        raise CommandFailed(str(error)) from None


def _known(content: UsersFile, name: str) -> tuple[str, ...]:
    if name not in content.users:
        raise CommandFailed(f"there is no user {name}")
    return content.users[name].addresses


def _store(options: Options, path: Path, content: UsersFile, name: str, sends_as: tuple[str, ...]) -> None:
    try:
        user = make_user(name, _password(), sends_as)
    except BadUsers as error:
        raise CommandFailed(str(error)) from None
    content.users[user.name] = user
    _write(options, path, content)


def _password() -> str:
    """From the terminal, twice; else the first line of standard input. Never from the command line, which all see."""
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise CommandFailed("the password is not UTF-8 text") from None


def _write(options: Options, path: Path, content: UsersFile) -> None:
    """A file that root makes belongs to the user that the server runs as, which reads it again after changes."""
    owner = pwd.getpwnam(options.user).pw_uid if options.user and os.geteuid() == 0 else None
    try:
        write_users(path, content, owner)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from None
