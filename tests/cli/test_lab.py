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


@pytest.mark.slow
async def test_every_attack_against_every_protection_is_as_theory_says() -> None:
    status, output, errors = await run_lab("--json")
    cells = json.loads(output)["cells"]
    assert [(cell["attack"], cell["protection"]) for cell in cells] == [(a, p) for a in Attack for p in SiteProtection]
    assert [cell for cell in cells if not cell["pass"]] == []
    assert all(reason["code"] and reason["text"] for cell in cells for reason in cell["reasons"])
    assert all(cell["reasons"] for cell in cells if cell["outcome"] == "held")
    assert status == 0
    assert "Traceback" not in errors


@pytest.mark.slow
async def test_two_labs_at_once_do_not_disturb_each_other() -> None:
    results = await asyncio.gather(*(run_lab("--attack", "mx-forged") for _ in range(2)))
    for status, output, _ in results:
        assert status == 0
        assert output.splitlines()[-1] == "6 cells as theory predicts, 0 worse"


async def test_verbose_gives_the_reasons_below_the_table() -> None:
    status, output, _ = await run_lab("--attack", "self-signed", "--protection", "dane-ee", "-v")
    assert status == 0
    assert "1 cell as theory predicts, 0 worse" in output
    assert "self-signed: on the path" in output
    assert "\x1b" not in output


async def test_an_unknown_attack_is_a_usage_error() -> None:
    status, output, errors = await run_lab("--attack", "voodoo")
    assert status == 2
    assert output == ""
    assert "starttls-stripped" in errors


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
        "sts.example": "protected-once-known",
        "dane-ee.test": "protected",
        "dane-ta.example": "protected",
    }
    assert status == 1
