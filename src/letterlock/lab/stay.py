"""`letterlock lab up`: a box that stays, with a server in a process of its own, for trying things by hand."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, cast

from letterlock.lab.box import Box, running_box
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.subject import recipient_of, see_policies, write_config
from letterlock.lab.theory import story

STOP_SECONDS = 30.0  # chosen: longer than a server waits for sessions that are in hand
START_SECONDS = 20.0  # chosen: a slow machine starts within three
MAX_NOTICE_OCTETS = 4096  # chosen: it is one line
_TIME_AND_HOST = re.compile(r"\w{3} [ \d]\d [\d:]{8} \S+ ")
Say = Callable[[str], None]


class ServerFailed(Exception):
    """The server under test did not start, or ended by itself. `str()` says how."""


async def stay(attack: Attack, say: Say) -> None:
    """Run a box and a server until SIGINT or SIGTERM; `say` gets every line for the user.

    The server has seen the MTA-STS policies in peace, as in the table. Raises ServerFailed, NoFreeAddresses,
    app.StartFailed, StoreFailed.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running_box(attack, lambda line: say(f"lab      {line}")) as box:
        endpoint = f"{box.subject_address}:{box.berths.port}"
        config = write_config(box, endpoint)
        await see_policies(box, config)
        async with serving_process(config, say) as process:
            for line in instructions(box, config):
                say(line)
            await _first(process, stop.wait())


@asynccontextmanager
async def serving_process(config: Path, say: Say) -> AsyncIterator[Process]:
    """`letterlock serve` as a process of its own, once it is ready; ended in order. Its log goes to `say`.

    Raises ServerFailed when it does not get ready.
    """
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notices:
        notices.setblocking(False)
        notices.bind(str(config.with_name("notify")))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "letterlock", "serve", "--config", str(config)),
            stderr=PIPE,
            env={**os.environ, "NOTIFY_SOCKET": notices.getsockname()},
            start_new_session=True,  # so that Ctrl-C reaches the lab only, which ends the server in order
        )
        following = asyncio.create_task(_follow(cast("asyncio.StreamReader", process.stderr), say))
        try:
            await _first(process, _ready(notices))
            yield process
        finally:
            await _end(process)
            await following


async def _ready(notices: socket.socket) -> None:
    """Wait until the server says so, as it says it to systemd. Raises ServerFailed."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while b"READY=1" not in await asyncio.get_running_loop().sock_recv(notices, MAX_NOTICE_OCTETS):
                pass
    except TimeoutError:
        raise ServerFailed(f"the server under test was not ready within {START_SECONDS:.0f} seconds") from None


async def _first(process: Process, event: Coroutine[Any, Any, object]) -> None:
    """Wait for an event; the server must not end before it. Raises ServerFailed."""
    happened, ended = asyncio.create_task(event), asyncio.create_task(process.wait())
    try:
        await asyncio.wait({happened, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not happened.done():
            raise ServerFailed(f"the server under test ended: exit status {process.returncode}")
        happened.result()
    finally:
        happened.cancel()
        ended.cancel()


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _follow(log: asyncio.StreamReader, say: Say) -> None:
    """Pass the server's log on, without the time and host that every line begins with."""
    async for line in log:
        text = line.decode(errors="replace").rstrip()
        found = _TIME_AND_HOST.match(text)
        say("server   " + (text[found.end() :] if found else text))


def instructions(box: Box, config: Path) -> list[str]:
    """How to use the box by hand, with its real addresses."""
    address, port = box.subject_address, box.berths.port
    domains = ", ".join(box.world.sites[protection].domain for protection in SiteProtection)
    ann = recipient_of(box, SiteProtection.DANE_EE)
    program = _program()
    asked = f"--upstream {box.resolver} --anchor {box.anchor_file}"
    return [
        "",
        f"The lab is up. Attack: {box.attack} ({story(box.attack)}).",
        f"Domains: {domains}",
        "",
        "Send a mail, with either of (or to ann at another of the domains, and compare):",
        f"  swaks --server {address}:{port} --from me@letterlock.test --to {ann}",
        f"  {_python_one_liner(address, port, ann)}",
        "Ask what protects a domain, and why:",
        f"  {program} check --config {config} {' '.join(box.world.sites[each].domain for each in SiteProtection)}",
        f"  {program} resolve _{port}._tcp.mx.dane-ee.test TLSA {asked}",
        "See what is held:",
        f"  {program} queue list --config {config}",
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


def _program() -> str:
    """How the user calls this very Letterlock."""
    here = Path(sys.executable).with_name("letterlock")
    found = shutil.which("letterlock")
    if found and Path(found).resolve() == here.resolve():
        return "letterlock"
    return shlex.quote(str(here)) if here.is_file() else f"{shlex.quote(sys.executable)} -m letterlock"
