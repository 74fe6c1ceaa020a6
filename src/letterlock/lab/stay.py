"""`letterlock lab up`: a box that stays, with a server in a process of its own, for whoever wants to try by hand."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

from letterlock.lab.box import Box, running_box
from letterlock.lab.scenarios import ATTACK_STORIES, Attack, Protection
from letterlock.lab.subject import recipient_of, write_config

STOP_SECONDS = 30.0
START_SECONDS = 20.0
_POLL_SECONDS = 0.05
Say = Callable[[str], None]


class ServerEnded(Exception):
    """The server under test ended by itself. `str()` says how."""


async def stay(attack: Attack, say: Say) -> None:
    """Run a box and a server until SIGINT or SIGTERM; `say` gets every line for the user.

    Raises ServerEnded, NoFreeAddresses.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running_box(attack, lambda line: say(f"lab      {line}")) as box:
        endpoint = f"{box.subject_address}:{box.berths.port}"
        config = write_config(box, endpoint)
        async with serving_process(config, say) as process:
            await _until_it_answers(process, box)
            for line in instructions(box, config):
                say(line)
            await _until_stopped(process, stop)


@asynccontextmanager
async def serving_process(config: Path, say: Say) -> AsyncIterator[Process]:
    """`letterlock serve` as a process of its own, ended in order; its log goes to `say`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "letterlock", "serve", "--config", str(config), stderr=PIPE, start_new_session=True
    )
    following = asyncio.create_task(_follow(cast("asyncio.StreamReader", process.stderr), say))
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await following


async def _follow(log: asyncio.StreamReader, say: Say) -> None:
    """Pass the server's log on, without the time and host that every line begins with."""
    async for line in log:
        text = line.decode(errors="replace").rstrip()
        say("server   " + (text.partition("postfix-letterlock/")[2] or text))


async def _until_it_answers(process: Process, box: Box) -> None:
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(box.subject_address, box.berths.port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(_POLL_SECONDS)
    raise ServerEnded(f"the server under test did not start: exit status {process.returncode}")


async def _until_stopped(process: Process, stop: asyncio.Event) -> None:
    stopped, ended = asyncio.create_task(stop.wait()), asyncio.create_task(process.wait())
    try:
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        ended.cancel()
    if not stop.is_set():
        raise ServerEnded(f"the server under test ended: exit status {process.returncode}")


def instructions(box: Box, config: Path) -> list[str]:
    """How to use the box by hand, with its real addresses."""
    address, port = box.subject_address, box.berths.port
    domains = ", ".join(box.world.sites[protection].domain for protection in Protection)
    ann = recipient_of(box, Protection.DANE_EE)
    asked = f"--upstream {box.resolver} --anchor {box.anchor_file}"
    return [
        "",
        f"The lab is up. Attack: {box.attack} ({ATTACK_STORIES[box.attack]}).",
        f"Domains: {domains}",
        "",
        "Send a mail, with either of:",
        f"  swaks --server {address}:{port} --from me@letterlock.test --to {ann}",
        f"  {_python_one_liner(address, port, ann)}",
        "Ask what protects a domain, and why:",
        f"  letterlock check --config {config} {' '.join(box.world.sites[each].domain for each in Protection)}",
        f"  letterlock resolve _{port}._tcp.mx.dane-ee.test TLSA {asked}",
        "See what is held:",
        f"  letterlock queue list --config {config}",
        "",
        "What happens is shown below. Ctrl-C ends the lab and removes everything.",
        "",
    ]


def _python_one_liner(address: str, port: int, recipient: str) -> str:
    code = (
        f"import smtplib; smtplib.SMTP('{address}', {port}).sendmail("
        f"'me@letterlock.test', ['{recipient}'], 'Subject: a letter\\r\\n\\r\\nHello.\\r\\n')"
    )
    return f'python3 -c "{code}"'
