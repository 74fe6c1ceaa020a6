"""`letterlock lab` from the outside: the table, the data, the exit status; and `lab up` as a process of its own."""

import asyncio
import json
import re
import signal
import smtplib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from letterlock.lab.scenarios import Attack, SiteProtection
from tests import warm_start

LETTERLOCK = (sys.executable, "-m", "letterlock")


async def run_lab(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `letterlock lab`."""
    return await run("lab", *arguments)


async def run(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command."""
    async with asyncio.timeout(90):
        ended = await warm_start.command(*arguments)
    return ended.status, ended.out.decode(), ended.err.decode()


SOME = ("starttls-stripped", "tlsa-expired", "mta-sts-mode-none", "implicit-left-open", "dane-host-cut", "none")


@pytest.mark.slow
async def test_some_attacks_against_every_protection_are_as_theory_says() -> None:
    """`make lab` runs them all."""
    status, output, errors = await run_lab("--json", *(word for each in SOME for word in ("--attack", each)))
    data = json.loads(output)
    cells = data["cells"]
    assert [(cell["attack"], cell["protection"]) for cell in cells] == [
        (attack, protection) for attack in Attack if attack in SOME for protection in SiteProtection
    ]
    assert [cell for cell in cells if not cell["pass"]] == []
    assert data["totals"]["readable_although_protectable"] == 0
    assert data["totals"]["as_theory_predicts"] == len(cells) == len(SOME) * len(SiteProtection)
    assert all(reason["code"] and reason["text"] for cell in cells for reason in cell["reasons"])
    assert all("RFC" in cell["why"] for cell in cells)
    assert status == 0
    assert "Traceback" not in errors


@pytest.mark.slow
async def test_two_labs_at_once_do_not_disturb_each_other() -> None:
    chosen = ("--attack", "mx-forged", "--protection", "verify", "--protection", "dane-ta")
    results = await asyncio.gather(*(run_lab(*chosen) for _ in range(2)))
    for status, output, _ in results:
        assert status == 0
        assert output.splitlines()[-1] == "2 cells as theory predicts, 0 worse"


async def test_one_cell_replayed_shows_the_conversation_as_the_attacker_saw_it() -> None:
    status, output, _ = await run_lab("--attack", "starttls-stripped", "--protection", "none", "-v")
    assert status == 0
    told = [line.split() for line in output.splitlines()]
    for line in ("client EHLO letterlock.test", "server 250-PIPELINING", "client MAIL FROM:<sender@letterlock.test>"):
        assert any(words[:2] == line.split()[:2] for words in told), line
    assert ["server", "MX", "10", "mx.none.test."] in told
    assert "* attacker on the path: removes STARTTLS" in " ".join(output.split())
    assert "The secret is" in output
    assert "RFC 7435 section 3" in output
    assert "\x1b" not in output


async def test_a_replay_does_not_show_what_the_attacker_could_not_read() -> None:
    status, output, _ = await run_lab("--attack", "none", "--protection", "dane-ee", "-v")
    assert status == 0
    assert "client     STARTTLS" in output
    assert "[TLS: encrypted data; " in output
    assert "MAIL FROM" not in output
    assert "The secret is" not in output


async def test_list_names_every_attack_and_protection_and_runs_nothing() -> None:
    status, output, errors = await run_lab("--list")
    assert (status, errors) == (0, "")
    names = {line.split()[0] for line in output.splitlines() if line.startswith("  ")}
    assert names == set(Attack) | set(SiteProtection)


async def test_verbose_gives_the_reasons_below_the_table() -> None:
    both = ("--protection", "dane-ee", "--protection", "none")
    status, output, _ = await run_lab("--attack", "self-signed", *both, "-v")
    assert status == 0
    assert "2 cells as theory predicts, 0 worse" in output
    assert "best possible: held: the certificate matches no TLSA record (RFC 7672 section 3.2)" in output
    assert "self-signed: on the path" in output
    assert "\x1b" not in output


async def test_an_unknown_attack_is_a_usage_error() -> None:
    status, output, errors = await run_lab("--attack", "tlsa-replayed")
    assert (status, output) == (2, "")
    assert "there is no attack 'tlsa-replayed'; did you mean 'nsec-replayed'" in errors
    status, output, errors = await run_lab("--protection", "memroy")
    assert (status, output) == (2, "")
    assert "`letterlock lab --list` shows all" in errors


async def test_an_option_before_up_is_a_usage_error_and_not_ignored() -> None:
    status, _, errors = await run_lab("--attack", "mx-forged", "up")
    assert status == 2
    assert "behind `up`" in errors


@asynccontextmanager
async def lab_up(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    """The lab, up; ended in any case."""
    process = await asyncio.create_subprocess_exec(*LETTERLOCK, "lab", "up", *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process, process.stdout
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()


def present(path: str) -> bool:
    """Whether a file or folder is there."""
    return Path(path).exists()


async def read_until(reader: asyncio.StreamReader, wanted: str) -> str:
    """What was printed up to and with the line that has the words. Fails at the end or after a minute."""
    text = ""
    async with asyncio.timeout(60):
        while wanted not in text:
            line = (await reader.readline()).decode()
            assert line, f"ended without {wanted!r}:\n{text}"
            text += line
    return text


def config_in(instructions: str) -> str:
    """The path of the configuration that the lab's instructions name."""
    found = re.search(r"--config (\S+)", instructions)
    assert found
    return found[1]


async def send_by_hand(instructions: str, recipient: str) -> None:
    """Send a mail as the lab's instructions say."""
    found = re.search(r"SMTP\('([\d.]+)', (\d+)\)", instructions)
    assert found

    def send() -> None:
        with smtplib.SMTP(found[1], int(found[2]), timeout=10) as client:
            client.sendmail("me@letterlock.test", [recipient], "Subject: a letter\r\n\r\nHello.\r\n")

    await asyncio.to_thread(send)


@pytest.mark.slow
async def test_up_takes_mail_by_hand_shows_what_happens_and_removes_everything() -> None:
    async with lab_up("--attack", "self-signed") as (process, reader):
        text = await read_until(reader, "Ctrl-C ends")
        config = config_in(text)
        assert present(config)
        await send_by_hand(text, "ann@none.test")
        await read_until(reader, "attacker on the path: read a message")
        await send_by_hand(text, "ann@dane-ee.test")
        await read_until(reader, "status=deferred")
        assert "ann@dane-ee.test" in (await run("queue", "list", "--config", config))[1]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert not present(config)
        assert not present(config.removesuffix("/letterlock.toml"))


@pytest.mark.slow
async def test_rfc8461_10_2_up_holds_mail_by_the_policy_that_was_seen_in_peace_and_tells_of_the_attack() -> None:
    async with lab_up("--attack", "mta-sts-hidden") as (_, reader):
        text = await read_until(reader, "Ctrl-C ends")
        await send_by_hand(text, "ann@sts.example")
        told = await read_until(reader, "status=")
    assert "an attacker may be blocking it; the one remembered holds" in told
    assert "to=<ann@sts.example>" in told.splitlines()[-1]
    assert "status=deferred" in told.splitlines()[-1]
    assert "read a message" not in told


@pytest.mark.slow
async def test_check_by_hand_finds_what_protects_each_domain_of_the_lab() -> None:
    async with lab_up() as (_, reader):
        text = await read_until(reader, "Ctrl-C ends")
        found = re.search(r"check --config \S+ (.+)", text)
        assert found
        status, output, _ = await run("check", "--config", config_in(text), *found[1].split(), "--jsonl")
    surveys = [json.loads(line) for line in output.splitlines()]
    assert {survey["domain"]: survey["protection"] for survey in surveys} == {
        "none.test": "unprotected",
        "require-tls.example": "unprotected",
        "verify.test": "unprotected",
        "own-ca.test": "unprotected",
        "sts-testing.example": "unprotected",
        "sts-first.test": "protected-once-known",
        "sts.example": "protected-once-known",
        "dane-ee.test": "protected",
        "dane-ta.example": "protected",
        "both.test": "protected",
        "partial.example": "protected-once-known",
        "requiretls.test": "unprotected",
        "memory.example": "unprotected",
    }
    assert status == 1
