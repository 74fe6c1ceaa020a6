"""Every verb, with streams and environments as they come: full, closed, cut off, narrow, ASCII, without a home.

Each ends with a status of its own and at most a line of complaint; none with a traceback.
"""

import asyncio
import errno
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.app.output import EXIT_OUTPUT, EXIT_PIPE
from letterlock.config import default_state_directory
from letterlock.mail.addresses import Mailbox
from tests import warm_start
from tests.cli.queue_server import Queue, serving
from tests.cli.running import SECONDS

NOBODY = ("--upstream", "127.0.0.1:1", "--timeout", "1")
SILENT = "127.0.0.1:1"  # tcpmux: nobody listens there
FULL = f"error: cannot write to standard output: {os.strerror(errno.ENOSPC)}"
HOSTILE = "\x1b[2J\x07\x9b31m\u202e\u2066\udc9b\nFORGED"
MAIL = str(Path(__file__).with_name("mail.eml"))
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
    "check-mail": (("check-mail", *NOBODY, MAIL), 3),
    "check-mail --json": (("check-mail", "--json", *NOBODY, MAIL), 3),
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


async def ends(verb: str, queue: Queue, out: int | None = None, **environment: str) -> warm_start.Ended:
    """Run a verb, with `out` as its standard output if it is given; how it ended, and what it wrote."""
    async with asyncio.timeout(SECONDS):
        ended = await warm_start.command(*words(verb, queue), given=b"", out=out, environment=os.environ | environment)
    assert b"Traceback" not in ended.err
    return ended


def words(verb: str, queue: Queue) -> tuple[str, ...]:
    arguments = VERBS[verb][0]
    return queue.command(*arguments[1:]) if arguments[0] == "queue" else arguments


async def run(arguments: tuple[str, ...], shell: str = "", **environment: str) -> tuple[int, str, str]:
    """Start an interpreter behind a shell's redirections; its status, and what it wrote to both streams."""
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
    full = os.open("/dev/full", os.O_WRONLY)
    ended = await ends(verb, queue, out=full)
    os.close(full)
    assert ended.status == EXIT_OUTPUT
    assert ended.err.decode().splitlines()[-1] == FULL


@pytest.mark.parametrize("verb", VERBS)
async def test_a_reader_that_has_gone_is_no_complaint(verb: str, queue: Queue) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = await ends(verb, queue, out=writer)
    os.close(writer)
    assert ended.status == EXIT_PIPE
    assert b"standard output" not in ended.err


async def test_closed_streams_change_no_status(queue: Queue) -> None:
    nothing = warm_start.CLOSED, warm_start.CLOSED, warm_start.CLOSED
    started = [warm_start.start(words(verb, queue), nothing) for verb in VERBS]
    async with asyncio.timeout(SECONDS):
        ended = await asyncio.gather(*(each.wait() for each in started))
    assert ended == [status for _, status in VERBS.values()]


async def test_a_closed_standard_input_is_empty() -> None:
    readers = ("check-mail", "-"), ("check", "--file", "-"), ("reports", "import", "-")
    for closed in ((warm_start.CLOSED, 1, 2), (warm_start.CLOSED, warm_start.CLOSED, warm_start.CLOSED)):
        started = [warm_start.start(words, closed) for words in readers]
        async with asyncio.timeout(SECONDS):
            assert [await each.wait() for each in started] == [2, 2, 1]


@pytest.mark.parametrize("verb", ["version", "check --jsonl", "queue show"])
async def test_an_interpreter_of_its_own_ends_the_same_way(verb: str, queue: Queue) -> None:
    command = "-m", "letterlock", *words(verb, queue)
    status, _, err = await run(command, "> /dev/full")
    assert (status, err.splitlines()[-1]) == (EXIT_OUTPUT, FULL)
    status, _, err = await run(command, "| true")
    assert status in (EXIT_PIPE, VERBS[verb][1])  # what fits into the pipe before its end is not missed
    assert "standard output" not in err
    assert (await run(command, "<&- >&- 2>&-"))[0] == VERBS[verb][1]


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
async def test_what_a_stranger_wrote_is_escaped_whatever_the_encoding(queue: Queue, encoding: str) -> None:
    for verb in (each for each in VERBS if each.startswith("queue")):
        ended = await ends(verb, queue, PYTHONIOENCODING=encoding)
        assert ended.status == 0
        shows_no_control_characters(ended.out.decode(encoding))
        if "--json" in verb:
            json.loads(ended.out.decode(encoding))


def shows_no_control_characters(text: str) -> None:
    assert text
    assert all(line.isprintable() and not line.startswith("FORGED") for line in text.split("\n"))


async def test_an_interpreter_in_ascii_escapes_what_a_stranger_wrote(queue: Queue) -> None:
    command = "-m", "letterlock", *words("queue show", queue)
    status, out, _ = await run(command, PYTHONIOENCODING="ascii")
    assert status == 0
    shows_no_control_characters(out)


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
        ended = await ends(verb, queue, NO_COLOR="1", TERM="dumb", COLUMNS="7", LINES="1")
        assert ended.status == VERBS[verb][1]
        assert b"\x1b" not in ended.out


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
        status, out, err = await run(("-c", HOMELESS, *arguments))
        assert (status, out) == (78, "")
        assert "begins with ~, and that user has no home directory: write the whole path" in err
    assert (await run(("-c", HOMELESS, "explain")))[0] == 0


def test_without_a_home_the_queue_is_at_the_systems_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert default_state_directory() == Path("/var/lib/letterlock")
