"""Delivery to a command: what it is given, what its end means, and that nothing of it is left."""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.deliver.attempt import attempt
from letterlock.deliver.local import launcher
from letterlock.deliver.local.command_run import deliver_to_command, environment, outcome_of, why_not_runnable
from letterlock.deliver.local.maildir import Letter
from letterlock.mail.addresses import Mailbox, parse_mailbox
from letterlock.mail.wishes import RecipientWishes, Wishes
from letterlock.queue.tasks import OutcomeKind, RecipientOutcome
from letterlock.routing.local_targets import CommandHop
from tests.deliver.test_lmtp import kinds, routed
from tests.deliver.world import ANN, BOB, BODY, OPTIONS, SENDER, make_task

PATIENCE_SECONDS = 20.0  # a test that waits longer hangs
ENVELOPE = make_task().envelope


def script(directory: Path, text: str) -> CommandHop:
    """A shell script as a command."""
    path = directory / "script"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return CommandHop((str(path), "one argument", "$(id)"), seconds=20.0)


async def deliver(
    target: CommandHop, *recipients: Mailbox, body: bytes = BODY, private: tuple[str, ...] = ()
) -> RecipientOutcome:
    letter = Letter(content=body, reverse_path=SENDER, at=1_800_000_000.0, hostname="mail.example")
    return (await deliver_to_command(target, ENVELOPE, letter, recipients or (ANN,), private))[0]


def brief(outcome: RecipientOutcome) -> str:
    return f"{outcome.kind} {outcome.status}"


async def test_a_command_reads_the_message_and_its_environment(tmp_path: Path) -> None:
    """LF line ends, Return-Path and Delivered-To; no shell, no descriptor and no variable of ours."""
    target = script(
        tmp_path,
        f'cat > {tmp_path}/message; env | sort > {tmp_path}/env; echo "$#:$1:$2" > {tmp_path}/args\n'
        f"ls /proc/$$/fd > {tmp_path}/fds; umask > {tmp_path}/umask; pwd > {tmp_path}/cwd\n"
        f"grep -E 'NoNewPrivs' /proc/$$/status > {tmp_path}/privileges; echo taken",
    )
    os.environ["SECRET_OF_THE_SERVER"] = "x"
    try:
        outcome = await deliver(target)
    finally:
        del os.environ["SECRET_OF_THE_SERVER"]
    assert (brief(outcome), outcome.text) == ("delivered 2.0.0", "taken")
    message = b"Return-Path: <sender@example.net>\nDelivered-To: ann@example.org\nSubject: hello\n\nhello\n"
    assert (tmp_path / "message").read_bytes() == message
    names = [line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()]
    shells_own = {"PWD", "OLDPWD", "_", "SHLVL"}
    assert set(names) - shells_own == {
        *("DOMAIN", "EXTENSION", "HOME", "LANG", "LOCAL", "ORIGINAL_RECIPIENT", "PATH", "QUEUE_ID"),
        *("RECIPIENT", "SENDER", "SHELL"),
    }
    assert (tmp_path / "args").read_text() == "2:one argument:$(id)\n"
    descriptors = map(int, (tmp_path / "fds").read_text().split())
    assert {each for each in descriptors if each < 10} == {0, 1, 2}, "the shell's own are above"
    assert (tmp_path / "umask").read_text() == "0077\n"
    assert (tmp_path / "cwd").read_text() == "/\n"
    assert (tmp_path / "privileges").read_text().split() == ["NoNewPrivs:", "1"]


def test_the_environment_of_a_recipient() -> None:
    ann = parse_mailbox("ann+news@example.org")
    wishes = Wishes(None, None, {ann: RecipientWishes(orcpt="rfc822;info@example.org")})
    found = environment(replace(ENVELOPE, wishes=wishes), ann)
    assert found["RECIPIENT"] == "ann+news@example.org"
    assert found["ORIGINAL_RECIPIENT"] == "info@example.org"
    assert (found["LOCAL"], found["EXTENSION"], found["DOMAIN"]) == ("ann+news", "news", "example.org")
    assert found["SENDER"] == "sender@example.net"
    assert environment(replace(ENVELOPE, reverse_path=None), ANN)["SENDER"] == ""
    odd = parse_mailbox('"$(reboot) `x`;\\"y"@example.org')
    assert not set(environment(ENVELOPE, odd)["LOCAL"]) & set("$()`;\"' \\")


@given(st.text(max_size=64))
def test_no_address_puts_anything_odd_into_the_environment(local: str) -> None:
    for value in environment(ENVELOPE, Mailbox(local, "example.org")).values():
        assert "\0" not in value
        assert not set(value) & set('$()`;"<>\\ \t\r\n')


@pytest.mark.parametrize(
    ("status", "output", "expected"),
    [
        (0, "", "delivered 2.0.0"),
        (64, "", "failed 5.3.0"),
        (65, "", "failed 5.6.0"),
        (67, "", "failed 5.1.1"),
        (68, "", "failed 5.1.2"),
        (69, "", "failed 5.3.0"),
        (71, "", "deferred 4.3.0"),
        (73, "", "failed 5.2.0"),
        (75, "", "deferred 4.3.0"),
        (76, "", "failed 5.5.0"),
        (77, "", "failed 5.7.0"),
        (78, "", "failed 5.3.5"),
        (1, "", "failed 5.3.0"),
        (111, "", "failed 5.3.0"),
        (126, "", "deferred 4.3.5"),
        (127, "", "deferred 4.3.5"),
        (1, "4.2.2 the mailbox is full", "deferred 4.2.2"),
        (75, "5.7.1 not for you", "failed 5.7.1"),
        (1, "2.0.0 fine", "failed 5.3.0"),
        (1, "4.2 half", "failed 5.3.0"),
    ],
)
def test_the_exit_status_means_what_pipe_8_takes_it_for(status: int, output: str, expected: str) -> None:
    assert brief(outcome_of(f"exit {status}", output, ANN)) == expected


async def test_the_beginning_of_the_output_is_the_reason(tmp_path: Path) -> None:
    outcome = await deliver(script(tmp_path, "echo the mailbox; printf 'is\\033[1m full' >&2; exit 75"))
    assert outcome.text == "the command ended with status 75 (temporary failure): the mailbox is?[1m full"


async def test_a_command_that_reads_nothing_and_one_that_talks_without_end(tmp_path: Path) -> None:
    body = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" * 100_000
    assert brief(await deliver(script(tmp_path, "exit 0"), body=body)) == "delivered 2.0.0"
    outcome = await deliver(script(tmp_path, "head -c 3000000 /dev/zero | tr '\\0' y; exit 67"), body=body)
    assert brief(outcome) == "failed 5.1.1"
    assert len(outcome.text) < 500


@pytest.mark.parametrize("argv", [("/nowhere/program",), ("/etc/passwd",), ("/",)])
async def test_a_command_that_cannot_be_run_is_our_fault_and_mail_waits(argv: tuple[str, ...]) -> None:
    outcome = await deliver(CommandHop(argv))
    assert brief(outcome) == "deferred 4.3.5"
    assert "the command could not be run: " in outcome.text
    assert why_not_runnable(CommandHop(argv)) is not None


def appears(path: Path) -> None:
    """Wait for a file."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)


def alive(path: Path) -> bool:
    """Whether the process whose number is in a file is there, and no zombie."""
    try:
        return Path(f"/proc/{path.read_text().strip()}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may go between the opening and the reading
        return False


ESCAPES = "setsid sh -c 'echo $$ > {0}/escaped; exec sleep 1000' & while [ ! -s {0}/escaped ]; do :; done;"


async def test_nothing_that_a_command_started_outlives_it(tmp_path: Path) -> None:
    """Not even a process in a session of its own."""
    outcome = await deliver(script(tmp_path, ESCAPES.format(tmp_path) + " exit 0"))
    assert brief(outcome) == "delivered 2.0.0"
    assert (tmp_path / "escaped").read_text()
    assert not alive(tmp_path / "escaped")


async def test_a_command_that_takes_too_long_is_ended_whole(tmp_path: Path) -> None:
    target = replace(script(tmp_path, "trap '' TERM HUP INT; " + ESCAPES.format(tmp_path) + " sleep 1000"), seconds=0.5)
    outcome = await deliver(target)
    assert (brief(outcome), outcome.text) == ("deferred 4.3.0", "the command took too long, and was ended")
    assert not alive(tmp_path / "escaped")


async def test_a_command_that_burns_cpu_or_memory(tmp_path: Path) -> None:
    burning = replace(script(tmp_path, "while :; do :; done"), seconds=0.4)
    assert brief(await deliver(burning)) == "deferred 4.3.0"
    greedy = replace(script(tmp_path, "x=$(head -c 100000000 /dev/zero | tr '\\0' y); exit 0"), memory_octets=32 << 20)
    assert (await deliver(greedy)).kind is not OutcomeKind.DELIVERED


async def test_a_delivery_that_is_cancelled_kills_the_command(tmp_path: Path) -> None:
    target = script(tmp_path, ESCAPES.format(tmp_path) + f" echo $$ > {tmp_path}/self; sleep 1000")
    delivering = asyncio.create_task(deliver(target))
    await asyncio.to_thread(appears, tmp_path / "self")
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    assert not alive(tmp_path / "self")
    assert not alive(tmp_path / "escaped")


def test_a_server_that_is_killed_takes_the_command_with_it(tmp_path: Path) -> None:
    target = script(tmp_path, ESCAPES.format(tmp_path) + f" echo $$ > {tmp_path}/self; sleep 1000")
    server = os.fork()
    if server == 0:
        try:
            asyncio.run(deliver(target))
        finally:
            os._exit(0)
    appears(tmp_path / "self")
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)
    until = time.monotonic() + PATIENCE_SECONDS
    while (alive(tmp_path / "self") or alive(tmp_path / "escaped")) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(tmp_path / "self")
    assert not alive(tmp_path / "escaped")


async def test_another_user_for_the_command(tmp_path: Path) -> None:
    target = CommandHop(("/usr/bin/id",), user="nobody")
    assert why_not_runnable(target) is None
    outcome = await deliver(target)
    assert outcome.text.startswith("uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)")
    status = await deliver(CommandHop(("/bin/grep", "-E", "Cap(Prm|Eff|Amb)", "/proc/self/status"), user="nobody"))
    assert set(status.text.split()[1::2]) == {"0000000000000000"}
    nobody = await deliver(CommandHop(("/usr/bin/id",), user="no-such-user"))
    assert (brief(nobody), why_not_runnable(CommandHop(("/usr/bin/id",), user="no-such-user"))) == (
        "deferred 4.3.5",
        "there is no user no-such-user",
    )


def landlock_version() -> int:
    version: int = ctypes.CDLL(None).syscall(launcher.LANDLOCK_CREATE_RULESET, None, 0, launcher.LANDLOCK_VERSION_FLAG)
    return version


async def test_what_is_private_is_hidden_where_the_kernel_can(tmp_path: Path) -> None:
    private, public = tmp_path / "queue", tmp_path / "public"
    for each in (private, public):
        each.mkdir()
        (each / "file").write_text("content\n")
    outcome = await deliver(script(tmp_path, f"cat {public}/file && cat {private}/file"), private=(str(private),))
    signalled = await deliver(script(tmp_path, f"kill -0 {os.getpid()}"), private=(str(private),))
    if landlock_version() < 1:
        assert outcome.kind is OutcomeKind.DELIVERED, "the other limits hold all the same"
    else:
        assert "content cat: " in outcome.text
        assert "Permission denied" in outcome.text
    assert (signalled.kind is OutcomeKind.DELIVERED) is (landlock_version() < launcher.SCOPES_SINCE)
    kept = await deliver(script(tmp_path, f"echo new > {public}/new && cat {public}/new"), private=(str(private),))
    assert kept.text == "new"


async def test_each_recipient_has_a_run_and_an_outcome_of_their_own(tmp_path: Path) -> None:
    target = script(tmp_path, '[ "$LOCAL" = ann ] || exit 67')
    made = await attempt(make_task(ANN, BOB), BODY, ports=routed(target), options=OPTIONS)
    assert kinds(made) == [OutcomeKind.DELIVERED, OutcomeKind.FAILED]
    assert made.host == f"command:{tmp_path}/script 'one argument' '$(id)'"


async def test_a_bug_at_one_recipient_leaves_the_outcomes_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole attempt was lost to it, and the command ran again for those who had the message."""
    whole = Letter.for_recipient

    def for_recipient(letter: Letter, recipient: Mailbox) -> Iterator[bytes]:
        return iter([1 / 0]) if recipient == BOB else whole(letter, recipient)  # type: ignore[list-item]

    monkeypatch.setattr(Letter, "for_recipient", for_recipient)
    target = script(tmp_path, "cat > /dev/null")
    made = await attempt(make_task(ANN, BOB), BODY, ports=routed(target), options=OPTIONS)
    assert kinds(made) == [OutcomeKind.DELIVERED, OutcomeKind.DEFERRED]
    assert "internal error at command:" in caplog.text
    assert "ZeroDivisionError" not in made.outcomes[1].text


@pytest.mark.parametrize("failing", [launcher.LANDLOCK_CREATE_RULESET, launcher.LANDLOCK_RESTRICT_SELF])
def test_a_command_is_not_run_where_what_is_private_cannot_be_hidden_though_the_kernel_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """A filter of system calls may allow some of them only."""

    with Path("/dev/null").open() as ruleset:

        class Kernel:
            def syscall(self, number: int, *arguments: object) -> int:
                if number == launcher.LANDLOCK_CREATE_RULESET and arguments[-1] == launcher.LANDLOCK_VERSION_FLAG:
                    return 6
                if number == failing:
                    return -1
                return ruleset.fileno() if number == launcher.LANDLOCK_CREATE_RULESET else 0

        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Kernel())
        with pytest.raises(OSError, match="landlock"):
            launcher._hide([str(tmp_path)])
