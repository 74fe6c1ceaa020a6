"""Reports in a whole server: taken by mail at the report address, counted, signed and queued."""

import asyncio
import smtplib
from collections.abc import Sequence
from pathlib import Path

import dns.name
import pytest
from dns.rdata import GenericRdata
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from letterlock.app import server as app
from letterlock.app.report_parts import authors
from letterlock.config import load
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import TlsDemand
from letterlock.mailauth.dkim.verify import examine
from letterlock.mailauth.message import split
from letterlock.report.reports_of_a_day import tls_report, tls_report_mail
from letterlock.resolver.answer import Answer, Question, Security
from letterlock.state.report_store import FILE, ReceivedReport, ReportStore
from letterlock.tlsrpt import to_json
from tests.tlsrpt.reports import DAY, REPORT

BASE = """
hostname = "mail.sender.example"
[smtp]
listen = ["127.0.0.1:0"]
[queue]
directory = "{directory}/queue"
[resolver]
upstream = ["127.0.0.1:9"]
timeout_seconds = 0.1
[delivery]
mta_sts = false
"""
TAKING = '[route."reports.sender.example"]\nnext_hop = "reports:"\n'
SENDING = '[tls_reports]\nsend = true\nfrom = "tls@sender.example"\n'
KEYS = '[dkim."sender.example"]\nselectors = {{ s1 = "{directory}/s1.pem" }}\n'
MAIL = b"From: x@other.example\r\nContent-Type: application/tlsrpt+json\r\n\r\n" + to_json(REPORT).replace(
    b"\n", b"\r\n"
)


def written(directory: Path, *tables: str) -> Path:
    path = directory / "letterlock.toml"
    path.write_text("".join((BASE, *tables)).format(directory=directory))
    return path


def send(port: int, content: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.sendmail("x@other.example", ["tls@reports.sender.example"], content)


async def received(store: ReportStore, number: int) -> Sequence[ReceivedReport]:
    for _ in range(200):
        found = await store.received()
        if len(found) >= number:
            return found
        await asyncio.sleep(0.02)
    return await store.received()


async def queue_is_empty(server: app.Server) -> bool:
    for _ in range(200):
        if not await server.store.messages(limit=10):
            return True
        await asyncio.sleep(0.02)
    return False


async def test_mail_to_the_report_address_is_kept_and_never_bounces(tmp_path: Path) -> None:
    async with app.running(load(written(tmp_path, TAKING))) as server:
        port = server.smtp_addresses[0][1]
        await asyncio.to_thread(send, port, MAIL)
        assert server.reports.store is not None
        (report,) = await received(server.reports.store, 1)
        assert (report.organization, report.good, report.bad) == ("Sender Ünlimited", 19, 4)
        await asyncio.to_thread(send, port, MAIL)
        await asyncio.to_thread(send, port, b"Subject: no report\r\n\r\nhello\r\n")
        assert await queue_is_empty(server)
        assert len(await server.reports.store.received()) == 1


async def test_with_everything_off_there_is_no_file_and_nobody_looks(tmp_path: Path) -> None:
    async with app.running(load(written(tmp_path))) as server:
        assert server.reports.observers() == ()
        assert server.reports.take_mail is None
    assert not (tmp_path / "queue" / FILE).exists()


async def test_a_report_of_ours_is_signed_queued_and_comes_back_to_nobody(tmp_path: Path) -> None:
    pem = tmp_path / "s1.pem"
    pem.write_bytes(key_pem())
    pem.chmod(0o600)
    options = load(written(tmp_path, SENDING, KEYS))
    author = authors(options).tls
    assert author == Mailbox("tls", "sender.example")
    report = tls_report(REPORT.policies, DAY, "receiver.example", author, "Sender")
    assert report is not None
    async with app.running(options) as server:
        mail = tls_report_mail(report, "receiver.example", author, Mailbox("tls", "receiver.example"))
        await server.reports._accept(mail, server.store, "4F2A1")
        message = await server.store.message("4F2A1")
        assert message is not None
        assert (message.sender, message.tls_demand) == ("", TlsDemand.TLS_REQUIRED_NO.value)
        content = await server.store.body("4F2A1")
        assert isinstance(content, bytes)
        (name,) = examine(split(content)).key_names
        assert name == "s1._domainkey.sender.example"
        signature = content.split(b"\r\n\r\n")[0].lower()
        assert b":tls-report-domain" in b"".join(signature.split())
        assert b":tls-report-submitter" in b"".join(signature.split())


def key_pem() -> bytes:
    """A private key of Ed25519, in PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "uri",
    [
        "https://127.0.0.1/v1", "https://[::1]/", "https://localhost/", "https://a b/", "https://x.example/\r\nHost: y",
        "https://x.example:99999/", "https:///", "https://user:pw@10.0.0.1/",
    ],
)  # fmt: skip
async def test_nobody_makes_us_talk_to_our_own_network(tmp_path: Path, uri: str) -> None:
    async with app.running(load(written(tmp_path, SENDING))) as server:
        assert await server.reports._post(uri, b"x", "application/tlsrpt+gzip") is not None


class Odd:
    """A resolver with address records that are none, as anybody can publish them."""

    async def resolve(self, name: str, rdtype: RdataType) -> Answer:
        question = Question(dns.name.from_text(name), rdtype)
        return Answer(
            question=question,
            canonical_name=question.name,
            records=(GenericRdata(RdataClass.IN, rdtype, b"abc"), GenericRdata(RdataClass.IN, rdtype, bytes(16))),
            absence=None,
            security=Security.INSECURE,
            expires_at=0.0,
            ttl=0,
        )


async def test_address_records_that_cannot_be_read_end_no_reports(tmp_path: Path) -> None:
    async with app.running(load(written(tmp_path, SENDING))) as server:
        server.reports._resolver = Odd()
        why = await server.reports._post("https://x.example/v1", b"x", "application/tlsrpt+gzip")
        assert why == "there is no address to connect to"
