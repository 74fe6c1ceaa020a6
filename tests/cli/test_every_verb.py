"""Every verb, with streams and environments as they come: full, closed, cut off, narrow, ASCII, without a home.

Each ends with a status of its own and at most a line of complaint; none with a traceback.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.app.output import EXIT_OUTPUT, EXIT_PIPE
from letterlock.config import default_state_directory
from letterlock.mail.addresses import Mailbox
from tests.cli.queue_server import Queue, serving
from tests.cli.running import SECONDS

NOBODY = ("--upstream", "127.0.0.1:1", "--timeout", "1")
SILENT = "127.0.0.1:1"  # tcpmux: nobody listens there
HOSTILE = "\x1b[2J\x07\x9b31m\u202e\u2066\udc9b\nFORGED"
VERBS: dict[str, tuple[tuple[str, ...], int]] = {
    "help": (("--help",), 0),
    "version": (("--version",), 0),
    "explain": (("explain",), 0),
    "explain --json": (("explain", "--json"), 0),
    "resolve": (("resolve", *NOBODY, "a.test", "MX"), 3),
    "resolve --json": (("resolve", "--json", *NOBODY, "a.test", "MX"), 3),
    "dkim check": (("dkim", "check", *NOBODY, "a.test", "s1"), 3),
    "dkim check --json": (("dkim", "check", "--json", *NOBODY, "a.test", "s1"), 3),
    "dkim status": (("dkim", "status"), 0),
    "check": (("check", *NOBODY, "a.test"), 3),
    "check --brief": (("check", "--brief", *NOBODY, "a.test", "b.test"), 3),
    "check --json": (("check", "--json", *NOBODY, "a.test"), 3),
    "check --jsonl": (("check", "--jsonl", *NOBODY, "a.test"), 3),
    "check-mail": (("check-mail", *NOBODY, "-"), 1),
    "check-mail --json": (("check-mail", "--json", *NOBODY, "-"), 1),
    "probe": (("probe", SILENT), 3),
    "probe --json": (("probe", "--json", SILENT), 3),
    "queue list": (("queue", "list"), 0),
    "queue list --json": (("queue", "list", "--json"), 0),
    "queue show": (("queue", "show", "M1"), 0),
    "queue show --json": (("queue", "show", "--json", "M1"), 0),
    "queue trace": (("queue", "trace", "M1"), 0),
    "queue trace --json": (("queue", "trace", "--json", "M1"), 0),
    "log trace --json": (("log", "trace", "--json", "a@b.test", "/dev/null"), 3),
    "queue show --message": (("queue", "show", "--message", "M1"), 0),
    "queue show --message --json": (("queue", "show", "--message", "--full", "--json", "M1"), 0),
    "queue stats": (("queue", "stats"), 0),
    "queue stats --json": (("queue", "stats", "--json", "--by", "reason"), 0),
}
MAILQ = "import sys; from letterlock.sendmail.mailq import main; sys.exit(main())"


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with serving(tmp_path) as queue:
        text = HOSTILE.replace("\udc9b", "")  # no store keeps one
        await queue.defer("M1", Mailbox("jürgen\x9b", "one.test"), Mailbox("ben", "two.test"), text=text)
        yield queue


async def ends(verb: str, queue: Queue, shell: str = "", **environment: str) -> tuple[int, str, str]:
    """Run a verb behind a shell's redirections; its status, and what it wrote to both streams."""
    arguments = VERBS[verb][0]
    if arguments[0] == "queue":
        arguments = (*arguments, "--queue", str(queue.directory))
    return await run(("-m", "letterlock", *arguments), shell, environment)


async def run(arguments: tuple[str, ...], shell: str, environment: dict[str, str]) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f'"$@" {shell}; exit ${{PIPESTATUS[0]}}', "bash", sys.executable, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert b"Traceback" not in err
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.parametrize("verb", VERBS)
async def test_a_full_disk_is_one_line_and_status_74(verb: str, queue: Queue) -> None:
    status, _, err = await ends(verb, queue, "> /dev/full")
    assert status == EXIT_OUTPUT
    assert err.splitlines()[-1] == f"error: cannot write to standard output: {os.strerror(28)}"


@pytest.mark.parametrize("verb", VERBS)
async def test_a_reader_that_has_gone_is_no_complaint(verb: str, queue: Queue) -> None:
    status, _, err = await ends(verb, queue, "| true")
    assert status in (EXIT_PIPE, VERBS[verb][1])  # what fits into the pipe before its end is not missed
    assert "standard output" not in err


async def test_closed_streams_change_no_status(queue: Queue) -> None:
    ended = await asyncio.gather(*(ends(verb, queue, "<&- >&- 2>&-") for verb in VERBS))
    assert [status for status, *_ in ended] == [status for _, status in VERBS.values()]


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
async def test_what_a_stranger_wrote_is_escaped_whatever_the_encoding(queue: Queue, encoding: str) -> None:
    for verb in (each for each in VERBS if each.startswith("queue")):
        arguments = (*VERBS[verb][0], "--queue", str(queue.directory))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "letterlock", *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )  # fmt: skip
        out, err = await process.communicate()
        text = out.decode(encoding)
        assert (process.returncode, b"Traceback" in err) == (0, False)
        assert all(line.isprintable() and not line.startswith("FORGED") for line in text.split("\n"))
        if "--json" in verb:
            json.loads(text)


@pytest.mark.parametrize(
    ("encoding", "stream"),
    [("ascii", each) for each in ("", "> /dev/full", "| true", ">&-", "2>&-")] + [("latin-1", ""), ("utf-8", "")],
)
async def test_mailq_ends_in_order_too(queue: Queue, tmp_path: Path, encoding: str, stream: str) -> None:
    config = tmp_path / "letterlock.toml"
    config.write_text(f'[queue]\ndirectory = "{queue.directory}"\n')
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f'"$@" {stream}; exit ${{PIPESTATUS[0]}}', "bash", sys.executable, "-c", MAILQ, "-C", str(config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == (EXIT_OUTPUT if "full" in stream else 0)
    assert b"Traceback" not in err
    assert all(line.isprintable() for line in out.decode(encoding).split("\n"))
    if not stream:
        assert ("jürgen" if encoding != "ascii" else "j?rgen") in out.decode(encoding)


async def test_no_colour_where_it_is_not_wanted_and_a_narrow_terminal_is_no_trouble(queue: Queue) -> None:
    for verb in VERBS:
        status, out, _ = await ends(verb, queue, NO_COLOR="1", TERM="dumb", COLUMNS="7", LINES="1")
        assert status == VERBS[verb][1]
        assert "\x1b" not in out


HOMELESS = """
import os, pwd
def nobody(uid): raise KeyError(uid)
pwd.getpwuid = nobody
os.environ.clear()
from letterlock.cli.main import main
main()
"""


async def test_a_user_without_home_and_environment_gets_one_line_and_no_traceback(tmp_path: Path) -> None:
    config = tmp_path / "letterlock.toml"
    config.write_text('[queue]\ndirectory = "~/queue"\n')
    for verb in ("serve", "check", "queue list"):
        arguments = (*verb.split(), "--config", str(config), *(["a.test"] if verb == "check" else []))
        status, out, err = await run(("-c", HOMELESS, *arguments), "", {})
        assert (status, out) == (78, "")
        assert "begins with ~, and that user has no home directory: write the whole path" in err
    assert (await run(("-c", HOMELESS, "explain"), "", {}))[0] == 0


def test_without_a_home_the_queue_is_at_the_systems_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert default_state_directory() == Path("/var/lib/letterlock")
