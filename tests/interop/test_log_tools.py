"""pflogsumm, logwatch and fail2ban read the log of Letterlock as that of Postfix: the same day, the same counts."""

import re
import smtplib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from letterlock.app.log_text import PostfixFormatter
from letterlock.receive.receipt_log import SessionJournal
from tests.interop.letterlock import serving
from tests.interop.nameservers import Place
from tests.interop.postfix import sender
from tests.interop.programs import run, wait_until
from tests.interop.scripted_sink import scripted_sink

HOSTNAME = "mx.example.net"
PROBE = "127.0.0.1"  # the test itself, when it looks whether a server is up and leaves without a word
STRANGER = "127.0.0.9"  # an address whose mail is not relayed
CONFIG = """
hostname = "mx.example.net"
[smtp]
listen = ["@LISTEN@"]
relay_networks = ["127.0.0.1/32"]
[queue]
directory = "@QUEUE@"
[resolver]
upstream = ["127.0.0.1:9"]
[delivery]
mta_sts = false
[route."*"]
next_hop = "[127.0.0.1]"
port = @PORT@
tls = "may"
"""
LOGWATCH = Path("/usr/share/logwatch/scripts/services/postfix")
SETTLED = re.compile(r"to=<([^>]*)>.* status=(\w+) ")
# Recipients of the day, and what becomes of them; the bounced message's sender is notified by one message more.
DAY = [
    ("ann@example.net", ["one@example.org"], 100),
    ("ann@example.net", ["one@example.org", "two@example.com"], 5_000),
    ("bob@example.net", ["later@example.org"], 300),
    ("ann@example.net", ["never@example.org", "two@example.com"], 700),
    ("", ["one@example.com"], 50),
]
CLIENTS = 3  # the probe, who sends the day's mail, and the stranger
OUTCOMES = 8  # seven recipients, and the notification


@dataclass(frozen=True, slots=True)
class Logs:
    """The logs of one day's traffic, of both."""

    postfix: Path
    letterlock: Path


def send_the_day(place: Place) -> None:
    """The day's mail; and a stranger who is refused twice."""
    with smtplib.SMTP(place.address, place.port, source_address=("127.0.0.1", 0)) as client:
        for number, (source, to, octets) in enumerate(DAY):
            header = f"Message-ID: <{number}@example.net>\r\nSubject: {number}\r\n\r\n"
            text = header + "x" * 70 + "\r\n" * (octets // 2)
            client.sendmail(source, to, text)
    with smtplib.SMTP(place.address, place.port, source_address=(STRANGER, 0)) as client:
        for recipient in ("a@example.org", "b@example.org"):
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail("stranger@example.com", [recipient], "Subject: x\r\n\r\nx\r\n")


def when_settled(log: Callable[[], str]) -> str:
    wait_until(lambda: len(SETTLED.findall(log())) >= OUTCOMES, what="the day's mail to be settled")
    wait_until(lambda: log().count("disconnect from ") >= CLIENTS, what="the clients to leave")
    wait_until(lambda: "non-delivery notification" in log(), what="the notification")
    return log()


@pytest.fixture(name="logs", scope="module")
def logs_fixture() -> Iterator[Logs]:
    """One day with each. Postfix's users have to get into its directory."""
    with TemporaryDirectory(prefix="letterlock-logs-") as name:
        Path(name).chmod(0o755)
        yield one_day(Path(name))


def one_day(home: Path) -> Logs:
    logs = Logs(home / "postfix.txt", home / "letterlock.txt")
    with scripted_sink() as sink:
        place = Place.free("127.0.0.1")
        others = {"mynetworks": "127.0.0.1/32", "minimal_backoff_time": "3600s"}
        with sender(home / "p", place, hostname=HOSTNAME, relay_host=sink, tls_level="none", **others) as postfix:
            send_the_day(place)
            logs.postfix.write_text(when_settled(postfix.log))
        place = Place.free("127.0.0.1")
        with serving(home, place, CONFIG.replace("@PORT@", str(sink.port))) as letterlock:
            send_the_day(place)
            logs.letterlock.write_text(when_settled(letterlock.log))
    return logs


def grand_totals(log: Path) -> dict[str, str]:
    """What pflogsumm counts, but for bytes: each adds header fields of its own."""
    text = run("pflogsumm", "--detail", "0", log)
    totals = text.partition("Grand Totals")[2].partition("Per-Day")[0]
    found = re.findall(r"^ +(\d+[km]?) +([a-z][a-z /-]*?)(?: +\(.*\))?$", totals, re.MULTILINE)
    return {label: count for count, label in found}


def test_pflogsumm_counts_the_same_as_for_postfix(logs: Logs) -> None:
    ours, theirs = grand_totals(logs.letterlock), grand_totals(logs.postfix)
    for each in (ours, theirs):
        assert int(each.pop("bytes received").rstrip("k")) > 0
        assert int(each.pop("bytes delivered").rstrip("k")) > 0
    assert ours == theirs
    assert ours["received"] == "5"
    assert ours["delivered"] == "6"
    assert ours["deferred"] == "1"
    assert ours["bounced"] == "1"
    assert ours["rejected"] == "2"
    assert (ours["senders"], ours["recipients"]) == ("3", "4")


def test_pflogsumm_adds_up_the_bytes_that_the_log_has(logs: Logs) -> None:
    text = logs.letterlock.read_text()
    sizes = dict(re.findall(r"/qmgr\[\d+\]: (\w+): from=<[^>]*>, size=(\d+)", text))
    received = re.findall(r"/smtpd\[\d+\]: (\w+): client=", text)
    totals = grand_totals(logs.letterlock)
    assert totals["bytes received"] == str(sum(int(sizes[name]) for name in received))
    sent = re.findall(r"/smtp\[\d+\]: (\w+): to=.* status=sent ", text)
    assert totals["bytes delivered"] == str(sum(int(sizes[name]) for name in sent))


def logwatch(log: Path) -> dict[str, str]:
    """What logwatch's postfix service counts, by its summary's labels."""
    done = run("sh", "-c", f"perl {LOGWATCH} --detail 5 < {log}")
    summary = done.partition("Summary")[2].partition("Detail")[0]
    found = re.findall(r"^ +([\d.]+[KMG]?) +([A-Z][\w ]+?)  +", summary, re.MULTILINE)
    return {label: count for count, label in found}


def test_logwatch_counts_the_same_as_for_postfix(logs: Logs) -> None:
    ours, theirs = logwatch(logs.letterlock), logwatch(logs.postfix)
    for each in (ours, theirs):
        each.pop("Bytes accepted")
        each.pop("Bytes sent via SMTP")
    theirs.pop("Removed from queue", None)  # a line that Letterlock does not have
    assert ours == theirs
    assert (ours["Accepted"], ours["Rejected"], ours["Sent via SMTP"], ours["Deferred"]) == ("5", "2", "6", "1")


def matched(log: Path, jail: str) -> set[str]:
    """The addresses that a stock filter of fail2ban would count against."""
    text = run("fail2ban-regex", "--out", "ip", str(log), jail)
    return set(text.split())


@pytest.mark.parametrize("mode", ["postfix", "postfix[mode=aggressive]"])
def test_fail2ban_finds_the_stranger_and_nobody_else(logs: Logs, mode: str) -> None:
    assert matched(logs.letterlock, mode) - {PROBE} == matched(logs.postfix, mode) - {PROBE} == {STRANGER}


def test_fail2ban_finds_whose_authentication_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By every mechanism: its filter names PLAIN and LOGIN only. Who could not be checked has not failed."""
    mechanisms = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2")
    for number, mechanism in enumerate(mechanisms):
        SessionJournal(f"192.0.2.{number}").auth_failed(mechanism, "ann", "no such user\n")
    SessionJournal(PROBE).auth_aborted("PLAIN", "unix:/run/dovecot/auth: connection refused")
    log = tmp_path / "log"
    formatter = PostfixFormatter(HOSTNAME)
    log.write_text("".join(f"{formatter.format(record)}\n" for record in caplog.records))
    found = matched(log, "postfix[mode=auth]")  # the jail postfix-sasl
    assert found == {f"192.0.2.{number}" for number in range(len(mechanisms))}
