"""TLS before SMTP in a server of its own, from the configuration to the mailbox: ports 25 and 465, and signed DNS."""

import asyncio
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from letterlock.lab import box as box_module
from letterlock.lab import subject as subject_module
from letterlock.lab.arsenal import Arms, Battlefield, Front
from letterlock.lab.box import Box, running_box
from letterlock.lab.implicit_attackers import ImplicitMailServer, SilentPort, SubmissionServer
from letterlock.lab.mail_server import MailServer
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.subject import write_config
from letterlock.lab.transcript import Transcript
from letterlock.lab.world import Site
from letterlock.state.statistics_rows import Grain
from letterlock.state.statistics_store import StatisticsStore
from tests.interop.companion_box import in_threads, submit
from tests.interop.letterlock import Letterlock
from tests.interop.nameservers import Place
from tests.interop.programs import greets, need_root, running

pytestmark = pytest.mark.interop
SECONDS = 20.0  # a guard
OPEN, BLOCKED, LOGIN = SiteProtection.DANE_EE, SiteProtection.DANE_AND_STS, SiteProtection.DANE_TA


def _there(field: Battlefield, site: Site, honest: MailServer) -> Front:
    """Who is at port 465 of a domain's host."""
    if site.protection is BLOCKED:
        return SilentPort(field.tell)
    kind = SubmissionServer if site.protection is LOGIN else ImplicitMailServer
    return kind(honest.host, honest.context, honest.tell, honest.mailbox)


async def _delivered(box: Box, at: Place, protection: SiteProtection) -> None:
    secret = f"{random.getrandbits(128):032x}"
    await asyncio.to_thread(submit, at, f"ann@{box.world.sites[protection].domain}", secret)
    await _until(lambda: box.delivered(protection, secret.encode()))
    assert box.seen_encrypted(protection, secret.encode())


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110  # the other end is a program
            await asyncio.sleep(0.02)  # the other end is a program


def _ports(transcript: Transcript, host: str) -> list[str]:
    """The ports of a host that were connected to, in turn."""
    channels = dict.fromkeys(line.channel for line in transcript.lines if line.channel.startswith(host))
    return ["465" if "implicit TLS" in each else "25" for each in channels]


async def _begun(queue: Path) -> dict[str, int]:
    """How the TLS of what was delivered began, as `letterlock stats` shows it."""
    store = StatisticsStore.open(queue)
    try:
        totals = await store.totals(Grain.DAY, 0, 1 << 40)
    finally:
        await store.close()
    begun: dict[str, int] = {}
    for each in totals:
        if each.shape.begun_by:
            begun[each.shape.begun_by] = begun.get(each.shape.begun_by, 0) + each.attempts
    return begun


async def test_a_server_with_the_option_uses_465_where_announced_and_25_where_that_is_blocked_or_wants_a_login(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_root("a server at port 25")
    arms = {Attack.NONE: Arms(implicit=_there)}
    for module in (box_module, subject_module):
        monkeypatch.setattr(module, "ARSENAL", arms)
    transcript = Transcript()
    async with running_box(Attack.NONE, port=25, transcript=transcript) as box, in_threads() as threads:
        at = Place(box.subject_address, 25)
        config = write_config(box, f"{at.address}:{at.port}")
        command: list[str | Path] = [sys.executable, "-m", "letterlock", "serve", "--config", config]
        log = box.directory / "letterlock.log"
        program = await threads.start(
            running("letterlock", command, log=log, ready=lambda: greets(at.address, at.port))
        )
        hosts = {each: box.world.sites[each].host for each in (OPEN, BLOCKED, LOGIN)}
        await asyncio.gather(*(_delivered(box, at, each) for each in hosts))
        assert _ports(transcript, hosts[OPEN]) == ["465"]
        assert _ports(transcript, hosts[BLOCKED]) == ["465", "25"]
        assert _ports(transcript, hosts[LOGIN]) == ["465", "25"]
        await _delivered(box, at, LOGIN)
        assert "465" not in _ports(transcript, hosts[LOGIN])[2:]
        server = Letterlock(config, at, program)
        assert server.log_line(hosts[LOGIN], "takes no mail without a login")
        assert await asyncio.to_thread(server.terminate) == 0
        assert await _begun(box.directory / "queue") == {"implicit": 1, "starttls": 3}
