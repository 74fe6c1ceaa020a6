"""Other people's clients and servers hand mail to Letterlock: in clear, by STARTTLS, by implicit TLS, and with every
mechanism that each can. The table in docs/reference/peers.md is held to what is shown here.

One server takes it all and puts it into Maildirs. What users of one server send reaches a mailbox of Dovecot by way of
a second one, and is read there by IMAP.
"""

import base64
import imaplib
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from letterlock.accounts.user_file import make_user, new_file, write_users
from tests.certificates import authority
from tests.interop import submitters
from tests.interop.dovecot import IMAP_PASSWORD, dovecot
from tests.interop.lab import public_directory
from tests.interop.letterlock import Letterlock, serving
from tests.interop.nameservers import Place
from tests.interop.programs import run, wait_until
from tests.interop.submitters import PASSWORD, USER, Relaying, Submit, Target, Way

pytestmark = pytest.mark.interop

CLEAR, STARTTLS = Way("clear"), Way("starttls")
CLIENTS: dict[str, tuple[Submit, tuple[Way, ...]]] = {
    "swaks": (submitters.swaks, (CLEAR, STARTTLS, Way("starttls", "PLAIN"), Way("implicit", "LOGIN"))),
    "msmtp": (
        submitters.msmtp,
        (CLEAR, STARTTLS, Way("starttls", "PLAIN"), Way("implicit", "LOGIN"), Way("implicit", "SCRAM-SHA-256")),
    ),
    "curl": (submitters.curl, (CLEAR, STARTTLS, Way("implicit", "PLAIN"), Way("starttls", "LOGIN"))),
    "gsasl": (
        submitters.gsasl,
        tuple(Way("starttls", each) for each in ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")),
    ),
    "smtplib": (submitters.python_smtplib, (CLEAR, STARTTLS, Way("starttls", "PLAIN"), Way("implicit", "LOGIN"))),
    "aiosmtplib": (submitters.python_aiosmtplib, (CLEAR, STARTTLS, Way("implicit", "PLAIN"), Way("starttls", "LOGIN"))),
}
SERVERS: dict[
    str, tuple[Callable[[Path, Target, tuple[Way, ...]], AbstractContextManager[Relaying]], tuple[Way, ...]]
] = {
    "postfix": (
        submitters.postfix_sender,
        (CLEAR, STARTTLS, Way("starttls", "PLAIN"), Way("implicit", "LOGIN"), Way("starttls", "SCRAM-SHA-256")),
    ),
    "exim": (submitters.exim_sender, (CLEAR, STARTTLS, Way("starttls", "PLAIN"), Way("implicit", "LOGIN"))),
    "opensmtpd": (submitters.opensmtpd_sender, (CLEAR, STARTTLS, Way("starttls", "PLAIN"), Way("implicit", "PLAIN"))),
}
SENDS_NO_MAIL = {"gsasl"}
CONFIG = """\
hostname = "localhost"
[smtp]
certificate = "{directory}/server.pem"
key = "{directory}/server.key"
relay_networks = ["127.0.0.1/32"]
[queue]
directory = "@QUEUE@"
retry_first_seconds = 1
[resolver]
upstream = ["127.0.0.1:9"]
[accounts]
file = "{directory}/users"
[[listener]]
role = "relay"
listen = ["@LISTEN@"]
[[listener]]
role = "submission"
listen = ["127.0.0.1:{submission.port}"]
[[listener]]
role = "submissions"
listen = ["127.0.0.1:{submissions.port}"]
[route."imap.test"]
next_hop = "[127.0.0.1]"
port = {second.port}
tls = "may"
[route."*"]
next_hop = "maildir:{directory}/mail/bob"
create_mailboxes = true
"""
SECOND = """\
hostname = "mx.imap.test"
[queue]
directory = "@QUEUE@"
[resolver]
upstream = ["127.0.0.1:9"]
[[listener]]
role = "mx"
listen = ["@LISTEN@"]
domains = ["imap.test"]
authenticate_mail = false
[route."imap.test"]
next_hop = "lmtp:{dovecot.socket}"
"""


@dataclass(frozen=True, slots=True)
class Site:
    """What runs."""

    directory: Path
    server: Letterlock
    target: Target
    second: Place

    def got(self, subject: str) -> str:
        """A message with a subject, once it has come."""
        line = f"\nSubject: {subject}\n"
        wait_until(lambda: any(line in text for text in self._texts()), what=f"{subject!r} to arrive")
        [text] = [text for text in self._texts() if line in text]
        return text

    def _texts(self) -> list[str]:
        return [path.read_text() for path in (self.directory / "mail/bob/new").glob("*")]


@pytest.fixture(name="site", scope="module")
def site_fixture() -> Iterator[Site]:
    """The server, its user, and a place for a second server."""
    with public_directory() as directory:
        ca, second = authority(), Place.free("127.0.0.1")
        _, key = ca.leaf("localhost").write(directory)
        (directory / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(ca.der))
        key.chmod(0o600)
        (directory / "mail").mkdir()
        relay, submission, submissions = (Place.free("127.0.0.1") for _ in range(3))
        target = Target(relay, submission, submissions, directory)
        text = CONFIG.format(directory=directory, submission=submission, submissions=submissions, second=second)
        own = directory / "letterlock"
        own.mkdir()
        add_user(directory)
        with serving(own, relay, text) as server:
            yield Site(directory, server, target, second)


def add_user(directory: Path) -> None:
    """The file of users, with one."""
    file = new_file()
    file.users[USER] = make_user(USER, PASSWORD, (USER,))
    write_users(directory / "users", file)


def shown(text: str, way: Way) -> None:
    """The Received field says how a message came, and who handed it in stays out of it."""
    received = " ".join(text.partition("\nFrom:")[0].split())
    keyword = "ESMTP" + ("" if way.tls == "clear" else "S") + ("A" if way.mechanism else "")
    assert f" with {keyword} " in received, received


@pytest.fixture(name="relayed", scope="module", autouse=True)
def relayed_fixture(site: Site) -> Iterator[None]:
    """Messages on their way through the mail servers: OpenSMTPD waits 5 seconds between two connections."""
    with ExitStack() as stack:
        for name, (start, ways) in SERVERS.items():
            relaying = stack.enter_context(start(site.directory / name, site.target, ways))
            for way in ways:
                relaying.submit(way, f"{name} {way}")
        yield


CASES = [(name, way) for name, (_, ways) in CLIENTS.items() for way in ways]


@pytest.mark.parametrize(("name", "way"), CASES, ids=[f"{name}-{way}" for name, way in CASES])
def test_clients_hand_mail_in(name: str, way: Way, site: Site) -> None:
    subject = f"{name} {way}"
    CLIENTS[name][0](site.target, way, subject)
    if name in SENDS_NO_MAIL:
        return
    text = site.got(subject)
    shown(text, way)
    assert text.rstrip("\n").endswith("\n\n.one\n..two")
    if way.mechanism:
        words = ("sasl_username=ann@example.org", f"sasl_method={way.mechanism}")
        wait_until(lambda: bool(site.server.log_line(*words)), what=f"the log to have {words}")


def test_what_a_user_sends_is_read_by_imap_behind_a_second_server(site: Site) -> None:
    """Submission with AUTH, relay by SMTP to another server, LMTP to Dovecot, and IMAP."""
    lmtp, imap = Place.free("127.0.0.1"), Place.free("127.0.0.1")
    certificate, key = site.directory / "server.pem", site.directory / "server.key"
    box = site.directory / "second"
    box.mkdir()
    with (
        dovecot(
            site.directory / "dovecot",
            lmtp,
            hostname="mx.imap.test",
            users=("carl",),
            certificate=certificate,
            key=key,
            tls=False,
            imap=imap,
        ) as receiving,
        serving(box, site.second, SECOND.format(dovecot=receiving), "second"),
    ):
        context = ssl.create_default_context(cafile=site.target.authority)
        with smtplib.SMTP_SSL("localhost", site.target.submissions.port, context=context) as client:
            client.login(USER, PASSWORD)
            client.sendmail(USER, ["carl@imap.test"], "Subject: read by IMAP\r\n\r\n.dot\r\nend\r\n")
        wait_until(lambda: bool(receiving.find("carl", "read by IMAP")), what="the message to reach Dovecot")
        text = read_by_imap(imap, "carl")
    assert text.endswith("\r\n.dot\r\nend\r\n")
    head = text.partition("\r\n\r\n")[0]
    assert "Return-Path: <ann@example.org>" in head
    assert "with ESMTPSA" in head
    assert [head.count(f"by {name} (Letterlock)") for name in ("localhost", "mx.imap.test")] == [1, 1]
    assert {"Message-ID:", "Date:", "From:"} <= {line.split(" ")[0] for line in head.splitlines()}


def read_by_imap(place: Place, user: str) -> str:
    """The only message of a user."""
    with imaplib.IMAP4(place.address, place.port) as client:
        client.login(user, IMAP_PASSWORD)
        _, counts = client.select("INBOX", readonly=True)
        assert counts == [b"1"]
        _, parts = client.fetch("1", "(BODY[])")
    [part] = [part for part in parts if isinstance(part, tuple)]
    return bytes(part[1]).decode()


SERVER_CASES = [(name, way) for name, (_, ways) in SERVERS.items() for way in ways]


@pytest.mark.parametrize(("name", "way"), SERVER_CASES, ids=[f"{name}-{way}" for name, way in SERVER_CASES])
def test_servers_relay_through_letterlock(name: str, way: Way, site: Site) -> None:
    text = site.got(f"{name} {way}")
    shown(text, way)
    assert text.rstrip("\n").endswith("\nhello\n.dot")


def test_fail2ban_finds_each_failed_login(site: Site, failures: dict[str, str], tmp_path: Path) -> None:
    """By the stock filter of its jail postfix-sasl, whatever the mechanism, and nobody else."""
    log = tmp_path / "log"
    log.write_text(site.server.log())
    found = run("fail2ban-regex", "--out", "ip", str(log), "postfix[mode=auth]").split()
    assert set(found) == set(failures.values())


@pytest.fixture(name="failures", scope="module")
def failures_fixture(site: Site) -> dict[str, str]:
    """The addresses from which a login failed, by mechanism; all at once, for each failure is answered late."""
    first = {
        "PLAIN": base64.b64encode(b"\0eve\0guess"),
        "LOGIN": base64.b64encode(b"mallory"),
        "SCRAM-SHA-256": base64.b64encode(b"n,,n=trudy,r=abcdef"),
    }

    def fail(mechanism: str, source: str) -> None:
        raw = socket.create_connection(("127.0.0.1", site.target.submissions.port), source_address=(source, 0))
        context = ssl.create_default_context(cafile=site.target.authority)
        with context.wrap_socket(raw, server_hostname="localhost") as client:
            replies = client.makefile("rb")
            assert replies.readline().startswith(b"220")
            client.sendall(b"EHLO client.example\r\n")
            while replies.readline()[3:4] == b"-":
                pass
            client.sendall(b"AUTH " + mechanism.encode() + b" " + first[mechanism] + b"\r\n")
            while (reply := replies.readline()).startswith(b"334"):
                client.sendall(base64.b64encode(b"c=biws,r=x,p=AAAA") + b"\r\n")
            assert reply == b"535 5.7.8 Authentication credentials invalid\r\n"

    sources = {mechanism: f"127.0.0.{number}" for number, mechanism in enumerate(first, 201)}
    with ThreadPoolExecutor() as pool:
        list(pool.map(fail, sources, sources.values()))
    return sources


def test_the_reference_says_what_is_shown_here() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "peers.md").read_text().lower()
    shown_ways = {name: ways for name, (_, ways) in (CLIENTS | SERVERS).items()}
    submitting = page.partition("## ")[2]
    for name, ways in shown_ways.items():
        cells = ["yes" if any(way.tls == tls for way in ways) else "no" for tls in ("clear", "starttls", "implicit")]
        cells.append(", ".join(dict.fromkeys(way.mechanism.lower() for way in ways if way.mechanism)))
        row = next(line for line in submitting.splitlines() if line.startswith(f"| {name}"))
        assert [cell.strip() for cell in row.split("|")[2:6]] == cells, name
