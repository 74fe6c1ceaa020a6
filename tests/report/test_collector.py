"""Counting for reports: bounded, written down, and open to the results of Postfix."""

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mailauth.dmarc.writing import Observation
from letterlock.mailauth.mail_verdict import AuthenticatedMail
from letterlock.queue.observing import Arrival
from letterlock.queue.store import StoreFailed
from letterlock.report import collector as module
from letterlock.report.collector import Emitter, ReportCollector, ResultSocket
from letterlock.state.report_store import ReportStore
from letterlock.tlsrpt.datagram import SessionResult, compose_datagram, parse_datagram
from letterlock.tlsrpt.tally import DAY_SECONDS
from tests.contract.test_shared_reports import observed
from tests.report.test_report_sender import Clock
from tests.tlsrpt.reports import DAY, FAILURE, SUCCESS
from tests.tlsrpt.test_datagram import POSTFIX

NOON = Clock((DAY + 0.5) * DAY_SECONDS)


def is_there(path: Path) -> bool:
    return os.path.lexists(path)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def remove(path: Path) -> None:
    path.unlink()


def make_other(path: Path) -> None:
    os.mkfifo(path)


def nobody(_mailbox: Mailbox) -> bool:
    return False


@pytest.fixture
def path() -> Iterator[Path]:
    """Short enough for a UNIX socket, wherever tests keep their files."""
    with tempfile.TemporaryDirectory(prefix="ll") as directory:
        yield Path(directory) / "tlsrpt.sock"


async def test_datagrams_of_postfix_are_counted_and_bad_ones_are_lost(path: Path) -> None:
    store = ReportStore.open(None)
    collector = ReportCollector(store, NOON, is_report_address=nobody)
    bound = ResultSocket(path, collector)
    bound.open()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for data in (json.dumps(POSTFIX).encode(), b"[]", compose_datagram(FAILURE), b""):
            sender.sendto(data, str(path))
    await asyncio.sleep(0)
    bound.close()
    assert not is_there(path)
    await collector.flush()
    assert await store.tls_domains(DAY) == ["example.com", "receiver.example"]
    assert await store.losses() == [(DAY, "datagrams", 2)]
    await store.close()


async def test_a_socket_that_was_left_behind_is_replaced(path: Path) -> None:
    store = ReportStore.open(None)
    collector = ReportCollector(store, NOON, is_report_address=nobody)
    left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.bind(str(path))
    left.close()
    bound = ResultSocket(path, collector)
    assert mode(path) == 0o666
    bound.close()
    make_other(path)
    with pytest.raises(OSError, match="in use"):
        ResultSocket(path, collector)
    await store.close()


async def test_what_cannot_be_written_is_counted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ReportStore.open(None)
    collector = ReportCollector(store, NOON, is_report_address=nobody)
    collector.take(SUCCESS)

    async def full(*_values: object) -> None:
        raise StoreFailed("full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "add_tls", full)
        await collector.flush()
    states = [collector.failing]
    collector.take(SUCCESS)
    await collector.flush()
    states.append(collector.failing)
    assert states == [True, False]
    assert [each.successful for each in await store.tls_results(DAY, "receiver.example")] == [2, 2]
    await store.close()


async def test_what_was_counted_is_written_when_the_server_stops() -> None:
    store = ReportStore.open(None)
    collector = ReportCollector(store, NOON, is_report_address=nobody)
    running = asyncio.create_task(collector.run())
    await asyncio.sleep(0)
    collector.take(SUCCESS)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await store.tls_domains(DAY) == ["receiver.example"]
    await store.close()


async def test_results_are_handed_on_where_reports_are_wanted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    lost: list[str] = []
    record = ["mailto:tls@receiver.example"]

    async def find(domain: str) -> list[str]:
        return record if domain == "receiver.example" else []

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(path))
        reader.setblocking(False)
        emitter = Emitter(path, find, lost.append)
        running = asyncio.create_task(emitter.run())
        for result in (FAILURE, SUCCESS, SessionResult("other.example", SUCCESS.outcomes), SUCCESS):
            emitter.hand_on(result)
        for _ in range(20):
            await asyncio.sleep(0)
        assert lost == ["emitted"]
        first = parse_datagram(reader.recv(65_536))
        assert (first.outcomes, first.record) == (FAILURE.outcomes, "v=TLSRPTv1; rua=mailto:tls@receiver.example")
        assert parse_datagram(reader.recv(65_536)).outcomes == SUCCESS.outcomes
        with pytest.raises(BlockingIOError):
            reader.recv(65_536)
        remove(path)
        emitter.hand_on(SUCCESS)
        for _ in range(20):
            await asyncio.sleep(0)
        assert lost == ["emitted"] * 2  # nobody reads: lost as libtlsrpt loses it
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


@dataclass(frozen=True)
class Judged:
    """What a collector looks at in a judged message."""

    id: str
    received_at: float = NOON.moment
    observation: Observation | None = field(default_factory=lambda: observed("author.example", "192.0.2.1"))


def judged(message_id: str, observation: Observation | None = None) -> AuthenticatedMail:
    made = Judged(message_id, observation=observation) if observation is not None else Judged(message_id)
    return cast("AuthenticatedMail", made)


def accepted(message_id: str, *recipients: str) -> Envelope:
    mailboxes = tuple(Mailbox(*each.split("@")) for each in recipients)
    return Envelope(id=message_id, reverse_path=None, recipients=mailboxes, size=1, accepted_at=0, expires_at=1)


async def counted(store: ReportStore) -> int:
    found = await store.dmarc_rows(DAY, "author.example")
    return 0 if found is None else sum(row.count for row in found[1])


async def test_messages_count_when_accepted_or_refused_but_not_as_reports() -> None:
    store, arrival = ReportStore.open(None), Arrival(client="x", protocol="SMTP")
    collector = ReportCollector(store, NOON, is_report_address=lambda each: each.domain == "reports.example")
    for message_id in ("accepted", "a report", "both", "refused"):
        collector.authenticated(judged(message_id))
    collector.received(accepted("accepted", "a@b.example"), arrival)
    collector.received(accepted("a report", "tls@reports.example"), arrival)
    collector.received(accepted("both", "tls@reports.example", "a@b.example"), arrival)
    collector.received(accepted("unknown", "a@b.example"), arrival)
    await collector.flush()
    assert await counted(store) == 2
    await collector.flush()
    assert await counted(store) == 3  # nobody accepted the last one: it was refused, and counts
    await collector.flush()
    assert await counted(store) == 3
    await store.close()


async def test_what_waits_and_what_is_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    monkeypatch.setattr(module, "MAX_MESSAGES", 5)
    store = ReportStore.open(None)
    collector = ReportCollector(store, NOON, is_report_address=nobody)
    for number in range(20):
        collector.authenticated(judged(str(number), observed("author.example", f"192.0.2.{number}")))
    await collector.flush()
    await collector.flush()
    assert await counted(store) + sum(number for _, _, number in await store.losses()) == 20
    await store.close()
