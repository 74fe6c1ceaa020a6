"""Sending reports: when, to whom, how often; what the mail looks like, and that reports are never about reports."""

import email
import email.policy
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import TlsDemand
from letterlock.mail.tls_required import says_no
from letterlock.mtasts.sts_evidence import Absent
from letterlock.queue.store import StoreFailed
from letterlock.report.collector import ReportCollector
from letterlock.report.report_desk import read_any_report
from letterlock.report.report_mail import ReportMail, compose_report_mail
from letterlock.report.report_sender import (
    FIRST_SECONDS,
    MAX_TRIES,
    RETRY_SECONDS,
    SPREAD_SECONDS,
    ReportAuthors,
    ReportSender,
    due_at,
    retry_lifetime,
)
from letterlock.state.report_store import ReportStore
from letterlock.tlsrpt.report import TlsReport
from letterlock.tlsrpt.tally import DAY_SECONDS, TlsTally
from tests.contract.test_shared_reports import observed
from tests.deliver.world import ADDRESS, BODY, OPTIONS, MemoryDialer, Server, make_ports, make_task
from tests.report.test_session_results import Announcing
from tests.tlsrpt.reports import DAY, FAILURE, SUCCESS

MORNING = (DAY + 1) * DAY_SECONDS + FIRST_SECONDS + SPREAD_SECONDS + 1
AUTHOR = Mailbox("tls", "sender.example")
MAILTO, HTTPS = "mailto:tls@receiver.example", "https://receiver.example/tls"


@dataclass
class Clock:
    moment: float = MORNING

    def now(self) -> float:
        return self.moment

    def monotonic(self) -> float:
        return self.moment


@dataclass
class World:
    """Domains that want reports, a queue, and a server for POST."""

    store: ReportStore
    clock: Clock = field(default_factory=Clock)
    tls: dict[str, list[str]] = field(default_factory=lambda: {"receiver.example": [MAILTO]})
    dmarc: dict[str, list[str]] = field(default_factory=dict)
    mails: list[ReportMail] = field(default_factory=list)
    posts: list[tuple[str, bytes]] = field(default_factory=list)
    answer: str | None = None
    full: bool = False
    dns_fails: bool = False

    async def find_tls(self, domain: str) -> list[str] | None:
        return None if self.dns_fails else self.tls.get(domain, [])

    async def find_dmarc(self, domain: str) -> list[str]:
        return self.dmarc.get(domain, [])

    async def accept(self, mail: ReportMail) -> None:
        if self.full:
            raise StoreFailed("the disk is full")
        self.mails.append(mail)

    async def post(self, uri: str, body: bytes, kind: str) -> str | None:
        assert kind == "application/tlsrpt+gzip"
        self.posts.append((uri, body))
        return self.answer

    def sender(self) -> ReportSender:
        return ReportSender(
            self.store,
            self.clock,
            ReportAuthors(tls=AUTHOR, tls_organization="Sender", dmarc=AUTHOR, dmarc_organization="Sender"),
            find_tls=self.find_tls,
            find_dmarc=self.find_dmarc,
            accept=self.accept,
            post=self.post,
        )


@pytest.fixture
async def world() -> "World":
    store = ReportStore.open(None)
    tally = TlsTally()
    for result in (SUCCESS, FAILURE):
        tally.add(result, (DAY + 0.5) * DAY_SECONDS)
    await store.add_tls(tally)
    return World(store)


def sent(mail: ReportMail) -> TlsReport:
    report = read_any_report(compose_report_mail(mail, "ID1", MORNING))
    assert isinstance(report, TlsReport)
    return report


async def test_rfc8460_5_3_the_mail_of_a_report(world: World) -> None:
    await world.sender().send_due()
    (mail,) = world.mails
    content = compose_report_mail(mail, "ID1", MORNING)
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert message["TLS-Report-Domain"] == "receiver.example"
    assert message["TLS-Report-Submitter"] == "sender.example"
    assert message["Subject"].startswith("Report Domain: receiver.example Submitter: sender.example Report-ID: <")
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    text, attachment = message.iter_parts()
    assert "RFC 8460" in text.get_content()
    assert attachment.get_content_type() == "application/tlsrpt+gzip"
    begin = DAY * DAY_SECONDS
    assert attachment.get_filename() == f"sender.example!receiver.example!{begin}!{begin + 86_399}!{DAY}.json.gz"
    assert says_no(content)
    assert content.count(b"\n") == content.count(b"\r\n")
    report = sent(mail)
    assert report.oddities == ()
    assert {each.policy.type: (each.successful, each.failed) for each in report.policies} == {
        "sts": (1, 1),
        "tlsa": (2, 0),
    }


async def test_a_report_is_sent_once_whoever_looks(world: World) -> None:
    senders = [world.sender() for _ in range(3)]
    for sender in senders * 3:
        await sender.send_due()
    assert len(world.mails) == 1


async def test_nothing_is_sent_before_its_time_and_all_of_it_after(world: World) -> None:
    world.clock.moment = due_at("tls", DAY, "receiver.example") - 1
    sender = world.sender()
    await sender.send_due()
    assert world.mails == []
    world.clock.moment += 1
    await sender.send_due()
    assert len(world.mails) == 1


def test_rfc8460_4_1_reports_are_spread_over_hours() -> None:
    moments = [due_at("tls", DAY, f"{number}.example") - (DAY + 1) * DAY_SECONDS for number in range(1_000)]
    assert min(moments) >= FIRST_SECONDS
    assert max(moments) < FIRST_SECONDS + SPREAD_SECONDS
    assert max(Counter(int(moment // 600) for moment in moments).values()) < 100  # of 1,000 in ten minutes


async def test_a_post_is_tried_five_times_at_most(world: World) -> None:
    world.tls = {"receiver.example": [HTTPS]}
    world.answer = "answered 500"
    sender = world.sender()
    for _ in range(40):
        await sender.send_due()
        world.clock.moment += RETRY_SECONDS
    assert [uri for uri, _ in world.posts] == [HTTPS] * MAX_TRIES
    assert len({body for _, body in world.posts}) == 1
    (entry,) = await world.store.sent()
    assert (entry.mark.tries, entry.next_at, entry.note) == (MAX_TRIES, None, "answered 500")


async def test_a_post_that_is_taken_is_not_repeated(world: World) -> None:
    world.tls = {"receiver.example": [HTTPS]}
    world.answer = "answered 500"
    sender = world.sender()
    await sender.send_due()
    world.answer = None
    for _ in range(10):
        world.clock.moment += RETRY_SECONDS
        await sender.send_due()
    assert len(world.posts) == 2
    assert isinstance(read_any_report(world.posts[1][1]), TlsReport)


async def test_a_full_queue_delays_a_report(world: World) -> None:
    world.full = True
    sender = world.sender()
    await sender.send_due()
    world.full = False
    world.clock.moment += RETRY_SECONDS
    await sender.send_due()
    assert len(world.mails) == 1


async def test_an_mx_host_that_asks_gets_its_own_results_unless_it_has_them(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world.tls["mx.receiver.example"] = [MAILTO, "mailto:host@receiver.example"]
    await world.sender().send_due()
    domain, host = sorted(world.mails, key=lambda mail: mail.recipient.local_part, reverse=True)
    assert (str(domain.recipient), str(host.recipient)) == ("tls@receiver.example", "host@receiver.example")
    assert [each.policy.type for each in sent(host).policies] == ["tlsa"]
    assert caplog.text.count("report sent") == len(world.mails), "none is said to be sent that was not"


async def test_a_failed_lookup_is_not_an_absence_and_is_repeated(world: World) -> None:
    world.dns_fails = True
    sender = world.sender()
    for _ in range(3):
        await sender.send_due()
        world.clock.moment += 60
    assert world.mails == []
    world.dns_fails = False
    for _ in range(3):
        await sender.send_due()
    assert len(world.mails) == 1


async def test_what_cannot_be_found_out_for_two_days_is_given_up(world: World) -> None:
    world.dns_fails = True
    sender = world.sender()
    await sender.send_due()
    world.clock.moment += 3 * DAY_SECONDS
    world.dns_fails = False
    await sender.send_due()
    assert world.mails == []


async def test_reports_older_than_two_days_are_not_sent(world: World) -> None:
    world.clock.moment += 3 * DAY_SECONDS
    await world.sender().send_due()
    assert world.mails == []


async def test_an_address_that_is_none_costs_only_itself(world: World) -> None:
    world.tls = {"receiver.example": ["mailto:no address", MAILTO]}
    await world.sender().send_due()
    assert len(world.mails) == 1


async def test_rfc9990_3_5_a_dmarc_report(world: World) -> None:
    world.tls, world.dmarc = {}, {"author.example": ["mailto:d@author.example"]}
    await world.store.add_dmarc({(DAY, observed("author.example", "192.0.2.1")): 7})
    await world.sender().send_due()
    (mail,) = world.mails
    report = read_any_report(compose_report_mail(mail, "ID1", MORNING))
    assert not isinstance(report, TlsReport)
    assert (report.policy.domain, report.messages, report.oddities) == ("author.example", 7, ())
    assert mail.subject.startswith("Report Domain: author.example Submitter: sender.example")
    assert mail.file_name.endswith(".xml.gz")


def test_the_queue_tries_a_report_five_times() -> None:
    assert retry_lifetime([1, 2, 4, 8, 16, 32]) == 1 + 2 + 4 + 8


async def test_rfc8460_days_of_nothing_but_reports_make_no_reports(world: World) -> None:
    """Two servers that report to each other for ever would be a loop: a report's own delivery counts for nothing."""
    store = ReportStore.open(None)
    collector = ReportCollector(store, world.clock, is_report_address=lambda _mailbox: False)
    dialer = MemoryDialer()
    dialer.handlers[ADDRESS] = Server()
    task = make_task()
    report = replace(task, envelope=replace(task.envelope, tls_demand=TlsDemand.TLS_REQUIRED_NO, reverse_path=None))
    world_of_hosts, counted = Announcing(), []
    world_of_hosts.sts = Absent()
    for each in (report, report, task):
        made = await attempt(each, BODY, ports=make_ports(dialer, world_of_hosts), options=OPTIONS)
        assert made.sessions
        collector.attempted(each, made)
        await collector.flush()
        counted.append(list(await store.tls_domains(int(made.ended_at // DAY_SECONDS))))
    assert counted == [[], [], ["example.org"]]
    await dialer.aclose()
    await store.close()
