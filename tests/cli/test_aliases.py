"""`letterlock aliases`, `letterlock-newaliases` and `sendmail -bi`: what is wrong in the files of aliases."""

import asyncio
import sys
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from click.testing import CliRunner

from letterlock.cli import aliases as module
from letterlock.recipients.directory import TableFailed
from tests.cli.running import letterlock

CONFIG = """
hostname = "mx.example.org"
[table.aliases]
file = "aliases"
[table.people]
file = "people"
[local."example.org"]
aliases = ["aliases"]
mailboxes = ["people"]
"""
GOOD = """\
postmaster: root
root: ann
team: ann, bob@example.net
owner-team: ann
@far.test ann
old: error:gone
x@far.test ann
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "aliases").write_text(GOOD)
    (tmp_path / "people").write_text("ann\n")
    (tmp_path / "letterlock.toml").write_text(CONFIG)
    return tmp_path


async def test_good_files_are_counted(home: Path) -> None:
    ran = await letterlock("aliases", "--config", home / "letterlock.toml")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"{home}/aliases: 7 entries\n{home}/people: 1 entry\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("clerk: 'x@@y'", ":8: clerk: "),
        ("clerk: |/bin/sh", ":8: clerk: a command is not run from here: add allow_commands"),
        ("clerk: ann@", ":8: clerk: "),
        ("root: bob", ":8: root is given twice; the first entry counts"),
        ('"unclosed: ann', ":8: neither `name: target` nor `address target`"),
        ("clerk: :include:/no/such/file", ": cannot be read: No such file or directory"),
        ("one: two\ntwo: one", ": one: the aliases of one@example.org lead to nobody, or in a circle"),
        ("clerk: carl", ": clerk: leads to carl@example.org, whom no table knows"),
        ("a..b c: ann", ":8: "),
        ("x@y@z: ann", ": x@y@z: no mail can come for this name: "),
    ],
)
async def test_each_mistake_is_said_with_its_file_and_line(home: Path, line: str, said: str) -> None:
    (home / "aliases").write_text(f"{GOOD}{line}\n")
    ran = await letterlock("aliases", "--config", home / "letterlock.toml")
    assert ran.status == 65
    assert f"{home}/aliases{said}" in ran.err
    assert "Traceback" not in ran.err


async def test_commands_are_checked_where_they_are_allowed(home: Path) -> None:
    """A program that is missing, a shell that there is none of, and a file that others may write."""
    config = home / "letterlock.toml"
    config.write_text(CONFIG.replace('file = "aliases"', 'file = "aliases"\nallow_commands = true'))
    (home / "aliases").chmod(0o644)
    (home / "aliases").write_text(f'{GOOD}one: "|/bin/cat -n"\ntwo: |/no/such/program\nthree: |/bin/a; /bin/b\n')
    ran = await letterlock("aliases", "--config", config)
    assert ran.err.endswith(
        f"\n{home}/aliases:10: three: there is no shell: write a script, and name it here\n"
        f"{home}/aliases: two: /no/such/program is no program that this user can run\n"
    )
    shown = await letterlock("route", "--config", config, "one@example.org")
    assert "-> one|1@example.org\n     next hop command:/bin/cat -n: an alias leads to it" in shown.out
    (home / "aliases").chmod(0o664)
    assert "others may write it (chmod go-w)" in (await letterlock("aliases", "--config", config)).err


async def test_without_tables_there_is_nothing_to_check(home: Path) -> None:
    (home / "letterlock.toml").write_text("")
    ran = await letterlock("aliases", "--config", home / "letterlock.toml")
    assert ran.status == 0
    assert "nothing to check" in ran.out


async def test_mistakes_in_the_configuration_end_it(home: Path) -> None:
    (home / "letterlock.toml").write_text("x = 1\n")
    assert (await letterlock("aliases", "--config", home / "letterlock.toml")).status == 78


@pytest.mark.parametrize("command", [("letterlock-newaliases", "-C"), ("letterlock-sendmail", "-bi", "-C")])
async def test_newaliases_and_sendmail_do_the_same(home: Path, command: tuple[str, ...]) -> None:
    (home / "aliases").write_text(f"{GOOD}clerk: carl\n")
    program = Path(sys.executable).parent / command[0]
    process = await asyncio.create_subprocess_exec(
        program, *command[1:], home / "letterlock.toml", stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert process.returncode == 65
    assert b"whom no table knows" in err
    assert b"8 entries, 1 mistake" in out


async def test_a_table_that_fails_while_an_alias_is_followed_is_a_mistake_of_that_alias(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def failing(*_: object) -> str:
        raise TableFailed("the database does not answer")

    monkeypatch.setattr(module, "_why_bad", failing)
    members = Mock(members=[Mock()])
    directory = Mock(expand=AsyncMock(return_value=members))
    content = Mock(entries={"ann": (), "bob": ()})
    found = [each async for each in module._bad_ends(content, directory, "example.org")]
    assert found == ["ann: the database does not answer", "bob: the database does not answer"]


async def test_what_is_not_followed_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FOLLOWED", 2)
    ran = await asyncio.to_thread(CliRunner().invoke, module.aliases, ["--config", str(home / "letterlock.toml")])
    assert ran.exit_code == 0
    assert f"note: {home}/aliases: only the first 2 were followed to their ends" in ran.stderr
