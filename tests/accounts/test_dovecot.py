"""Logins that Dovecot answers, with a scripted Dovecot: time, failures, reconnecting, and what it may not do."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from letterlock.accounts import dovecot
from letterlock.accounts.backend import AccountsAway, Caller
from letterlock.accounts.dovecot import UNKNOWN_YET, DovecotAccounts
from letterlock.mail.addresses import parse_mailbox
from letterlock.net.service_address import ServiceAddress
from letterlock.sasl.exchange import Accepted, Challenge, Rejected

GREETING = (
    b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tCRAM-MD5\nMECH\tOAUTHBEARER\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n"
)
CALLER = Caller(client="192.0.2.1", met_at="192.0.2.25")
Script = Callable[[bytes], bytes | None]


@dataclass
class FakeDovecot:
    """Greets, and answers each line as the script says; None closes the connection."""

    script: Script
    greeting: bytes = GREETING
    closes: bool = False
    lines: list[bytes] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set[asyncio.Task[Any]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"VERSION\t1\t2\n"
        assert (await reader.readline()).startswith(b"CPID\t")
        writer.write(self.greeting)
        if self.closes:
            writer.write_eof()
        while line := await reader.readline():
            self.lines.append(line)
            self.arrived.set()
            answer = self.script(line)
            if answer is None:
                break
            writer.write(answer)


@contextlib.asynccontextmanager
async def scripted(tmp_path: Path, fake: FakeDovecot) -> AsyncIterator[DovecotAccounts]:
    path = tmp_path / "auth"
    server = await asyncio.start_unix_server(fake.serve, path)
    accounts = DovecotAccounts(ServiceAddress(str(path)).connect, f"unix:{path}")
    try:
        yield accounts
    finally:
        accounts.close()
        server.close()
        await server.wait_closed()
        if fake.serving:
            await asyncio.wait(fake.serving)


def number(line: bytes) -> bytes:
    return line.split(b"\t")[1].strip()


def accept(line: bytes) -> bytes:
    return b"OK\t" + number(line) + b"\tuser=ann\n"


async def log_in(accounts: DovecotAccounts) -> Challenge | Accepted | Rejected:
    return await accounts.begin("PLAIN", CALLER).step(b"\0ann\0x")


async def test_only_some_mechanisms_are_offered(tmp_path: Path) -> None:
    async with scripted(tmp_path, FakeDovecot(accept)) as accounts:
        assert await accounts.mechanisms() == ("OAUTHBEARER", "PLAIN")


async def test_all_logins_share_a_connection(tmp_path: Path) -> None:
    fake = FakeDovecot(accept)
    async with scripted(tmp_path, fake) as accounts:
        assert await asyncio.gather(*(log_in(accounts) for _ in range(20))) == [Accepted("ann")] * 20
    assert fake.connections == 1
    assert {number(line) for line in fake.lines} == {b"%d" % each for each in range(1, 21)}
    assert all(b"\trip=192.0.2.1\tresp=" in line for line in fake.lines)


async def test_answers_in_another_order_reach_their_own(tmp_path: Path) -> None:
    held: list[bytes] = []

    def script(line: bytes) -> bytes:
        held.append(b"OK\t" + number(line) + b"\tuser=u" + number(line) + b"\n")
        return b"" if len(held) < 3 else b"".join(reversed(held))

    async with scripted(tmp_path, FakeDovecot(script)) as accounts:
        found = await asyncio.gather(*(log_in(accounts) for _ in range(3)))
    assert found == [Accepted("u1"), Accepted("u2"), Accepted("u3")]


async def test_a_dovecot_that_is_away_is_no_wrong_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    accounts = DovecotAccounts(ServiceAddress(str(tmp_path / "nowhere")).connect, "unix:nowhere")
    assert await accounts.mechanisms() == UNKNOWN_YET
    for _ in range(3):
        with pytest.raises(AccountsAway, match="unix:nowhere: No such file or directory"):
            await log_in(accounts)
    assert len(caplog.records) == 1, "it is not asked again at once, nor logged"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"rubbish\n\xff\n",
        b"OK\t1\n",
        b"x" * 70_000 + b"\n",
        b"FAIL\t1\ttemp\n",
        b"FAIL\t1\tcode=temp_fail\n",
    ],
    ids=["closes", "no UTF-8", "no user", "a line without end", "temporary in 2.3", "temporary in 2.4"],
)
async def test_a_dovecot_that_fails_is_no_wrong_password(tmp_path: Path, answer: bytes | None) -> None:
    answers = [answer]
    fake = FakeDovecot(lambda line: answers.pop() if answers else accept(line))
    async with scripted(tmp_path, fake) as accounts:
        with pytest.raises(AccountsAway):
            await log_in(accounts)
        assert await log_in(accounts) == Accepted("ann"), "it is connected to again"


@pytest.mark.parametrize("greeting", [b"", b"VERSION\t2\t0\nDONE\n", b"DONE\n", b"+OK POP3 ready\n", b"x" * 70_000])
async def test_another_program_behind_the_socket(tmp_path: Path, greeting: bytes) -> None:
    async with scripted(tmp_path, FakeDovecot(accept, greeting, closes=True)) as accounts:
        with pytest.raises(AccountsAway):
            await log_in(accounts)


async def test_a_slow_dovecot_is_waited_for_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dovecot, "ANSWER_SECONDS", 0.02)
    fake = FakeDovecot(lambda line: b"")
    async with scripted(tmp_path, fake) as accounts:
        with pytest.raises(AccountsAway, match="no answer within"):
            await log_in(accounts)
        monkeypatch.undo()
        fake.script = accept
        assert await log_in(accounts) == Accepted("ann"), "the others are not hurt"
    assert b"CANCEL\t1\n" in fake.lines


async def test_a_login_that_is_given_up_is_cancelled(tmp_path: Path) -> None:
    fake = FakeDovecot(lambda line: b"CONT\t1\teA==\n" if line.startswith(b"AUTH") else b"")
    async with scripted(tmp_path, fake) as accounts:
        exchange = accounts.begin("PLAIN", CALLER)
        assert await exchange.step(b"") == Challenge(b"x")
        fake.arrived.clear()
        exchange.abandon()
        await fake.arrived.wait()
        exchange.abandon()
        waiting = asyncio.create_task(log_in(accounts))
        fake.arrived.clear()
        await fake.arrived.wait()
        waiting.cancel()
        fake.arrived.clear()
        await fake.arrived.wait()
    assert [line for line in fake.lines if line.startswith(b"CANCEL")] == [b"CANCEL\t1\n", b"CANCEL\t2\n"]


async def test_a_connection_that_nobody_needs_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dovecot, "IDLE_SECONDS", 0.0)
    fake = FakeDovecot(accept)
    async with scripted(tmp_path, fake) as accounts:
        await log_in(accounts)
        if fake.serving:
            await asyncio.wait(fake.serving)
        assert accounts._link is None
        assert await log_in(accounts) == Accepted("ann")
    assert fake.connections == 2


async def test_a_mechanism_that_dovecot_lost_meanwhile(tmp_path: Path) -> None:
    async with scripted(tmp_path, FakeDovecot(accept)) as accounts:
        with pytest.raises(AccountsAway):
            await accounts.begin("XOAUTH2", CALLER).step(b"x")


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (b"OK\t1\tuser=ann\tresp=dj1h\n", Accepted("ann")),
        (b"FAIL\t1\tuser=ann\tresp=dj1h\n", Rejected("authentication failure", "ann")),
        (b"OK\t1\tuser=ann\tnologin\tresp=dj1h\n", Rejected("the user may not log in", "ann")),
    ],
)
async def test_rfc4954_4_data_with_the_outcome_goes_in_a_challenge(
    tmp_path: Path, answer: bytes, ending: Accepted | Rejected
) -> None:
    async with scripted(tmp_path, FakeDovecot(lambda line: answer)) as accounts:
        exchange = accounts.begin("PLAIN", CALLER)
        assert await exchange.step(b"") == Challenge(b"v=a")
        assert await exchange.step(b"" if isinstance(ending, Accepted) else b"\1") == ending


async def test_a_longer_message_than_dovecot_reads_hurts_nobody_else(tmp_path: Path) -> None:
    fake = FakeDovecot(accept)
    async with scripted(tmp_path, fake) as accounts:
        assert isinstance(await accounts.begin("PLAIN", CALLER).step(b"x" * 16_000), Rejected)
        assert await log_in(accounts) == Accepted("ann")
    assert fake.connections == 1


@pytest.mark.parametrize(
    ("user", "domain", "address", "may"),
    [
        ("ann@example.org", None, "Ann@example.org", True),
        ("ann@example.org", "other.example", "ann@other.example", False),
        ("ann", "example.org", "ann@example.org", True),
        ("ann", None, "ann@example.org", False),
    ],
)
async def test_the_address_of_a_user(user: str, domain: str | None, address: str, may: bool) -> None:
    accounts = DovecotAccounts(ServiceAddress("/nowhere").connect, "it", domain)
    assert await accounts.may_send_as(user, parse_mailbox(address)) is may
