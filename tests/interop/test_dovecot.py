"""Letterlock delivers to Dovecot by LMTP, and into Maildirs: from swaks at the one end to a mailbox at the other."""

import json
import shutil
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.certificates import Authority, authority
from tests.interop.dovecot import FULL, NOBODY, Dovecot, dovecot
from tests.interop.lab import public_directory
from tests.interop.letterlock import Letterlock, serving
from tests.interop.nameservers import Place
from tests.interop.programs import loopback_prefix, run, wait_until

pytestmark = pytest.mark.interop

HOST = "mail.lab.test"
CONFIG = """\
hostname = "relay.lab.test"
[smtp]
listen = ["@LISTEN@"]
[queue]
directory = "@QUEUE@"
retry_first_seconds = 600
[resolver]
upstream = ["127.0.0.1:9"]
[delivery]
idle_seconds = 1
[route."socket.test"]
next_hop = "lmtp:{dovecot.socket}"
[route."loopback.test"]
next_hop = "lmtp:[{dovecot.place.address}]:{dovecot.place.port}"
[route."maildir.test"]
next_hop = "maildir:{mail}/{{domain}}/{{local}}"
[route."new.test"]
next_hop = "maildir:{mail}/{{domain}}/{{local}}"
create_mailboxes = true
"""


@dataclass(frozen=True, slots=True)
class Box:
    """What runs."""

    directory: Path
    dovecot: Dovecot
    server: Letterlock


@pytest.fixture(name="box", scope="module")
def box_fixture() -> Iterator[Box]:
    """Dovecot, and a Letterlock whose routes end there."""
    ca: Authority = authority()
    prefix = loopback_prefix()
    with public_directory() as directory:
        certificate, key = ca.leaf(HOST).write(directory)
        mail = directory / "mail"
        (mail / "maildir.test" / "ann").mkdir(parents=True)
        users, place = ("ann", "bob", FULL), Place.free(f"{prefix}.24")
        own = directory / "letterlock"
        own.mkdir()
        with (
            dovecot(
                directory / "dovecot", place, hostname=HOST, users=users, certificate=certificate, key=key, tls=True
            ) as receiving,
            serving(own, Place.free(f"{prefix}.40"), CONFIG.format(dovecot=receiving, mail=mail)) as server,
        ):
            yield Box(directory, receiving, server)


def send(box: Box, subject: str, *recipients: str, body: str = "hello") -> None:
    """Hand a message to Letterlock by swaks."""
    place = box.server.place
    run(
        "swaks",
        *("--server", place.address, "--port", str(place.port), "--from", "sender@lab.test"),
        *("--to", ",".join(recipients), "--h-Subject", subject, "--body", body),
    )


def arrives(box: Box, user: str, subject: str) -> None:
    """Wait until Dovecot has a message for a user."""
    wait_until(lambda: bool(box.dovecot.find(user, subject)), what=f"{subject!r} to arrive")


def settled(box: Box, recipient: str, status: str, subject: str = "") -> str:
    """Wait for the log line of a recipient; the line."""
    words = (f"to=<{recipient}>", f"status={status}", subject)
    wait_until(lambda: bool(box.server.log_line(*words)), what=f"the log line of {recipient}: {status}")
    return box.server.log_line(*words)


def no_session(box: Box) -> bool:
    """Whether every session through the socket has ended."""
    log = box.dovecot.log()
    return log.count("Connect from local") == log.count("Disconnect from local")


@pytest.mark.parametrize("domain", ["socket.test", "loopback.test"])
def test_rfc2033_each_recipient_has_dovecot_s_own_answer(domain: str, box: Box) -> None:
    subject = f"to each his own at {domain}"
    send(box, subject, *(f"{user}@{domain}" for user in ("ann", "bob", FULL, "nobody")), body=".dot\n..two")
    line = settled(box, f"ann@{domain}", "sent")
    assert "relay=lmtp:" in line
    assert "protection=none" in line
    assert "rule-route=" in line
    settled(box, f"bob@{domain}", "sent")
    assert "dsn=5.2.2" in settled(box, f"{FULL}@{domain}", "bounced")
    assert "dsn=5.1.1" in settled(box, f"nobody@{domain}", "bounced")
    for user in ("ann", "bob"):
        (message,) = box.dovecot.find(user, subject)
        assert message["Return-Path"] == "<sender@lab.test>"
        assert message.get_content() == ".dot\n..two\n\n\n"
    assert box.dovecot.mail(FULL) == []


def test_sessions_with_dovecot_are_used_again(box: Box) -> None:
    before = box.dovecot.log().count("Connect from")
    for number in range(5):
        send(box, f"again {number}", "ann@socket.test")
        arrives(box, "ann", f"again {number}")
    assert box.dovecot.log().count("Connect from") - before <= 2


def test_8bit_and_large_messages_arrive_whole(box: Box) -> None:
    body = "ü" * 70 + "\n"
    letter = EmailMessage()
    letter["Subject"] = "large"
    letter.set_content(body * 10_000, cte="8bit")
    with smtplib.SMTP(box.server.place.address, box.server.place.port) as session:
        session.send_message(letter, "sender@lab.test", ["ann@socket.test"], mail_options=["BODY=8BITMIME"])
    arrives(box, "ann", "large")
    (message,) = box.dovecot.find("ann", "large")
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().count(body) == 10_000


def test_mail_in_a_maildir_is_what_dovecot_s_users_read(box: Box) -> None:
    send(box, "for a directory", "ann@maildir.test", "nobody@maildir.test", "new@new.test")
    settled(box, "ann@maildir.test", "sent")
    assert "dsn=5.1.1" in settled(box, "nobody@maildir.test", "bounced")
    settled(box, "new@new.test", "sent")
    (file,) = (box.directory / "mail/maildir.test/ann/new").iterdir()
    assert f",S={file.stat().st_size},W=" in file.name
    for path in (file.parent.parent, *file.parent.parent.rglob("*")):
        shutil.chown(path, NOBODY, NOBODY)  # whom Dovecot reads as; in earnest, Letterlock runs as that user
    size = run(
        "doveadm",
        *("-c", box.dovecot.directory / "dovecot.conf", "-o", f"mail_location=maildir:{file.parent.parent}"),
        *("-o", "mail_plugins=", "fetch", "-u", "ann", "size.physical hdr.subject", "all"),
    )
    assert f"size.physical: {file.stat().st_size}" in size
    assert "for a directory" in size
    assert len(list((box.directory / "mail/new.test/new/new").iterdir())) == 1


def test_a_dovecot_that_is_gone_keeps_the_mail_waiting(box: Box) -> None:
    """The socket is moved away: nothing fails, and the queue says why."""
    hidden = box.dovecot.socket.with_suffix(".hidden")
    box.dovecot.socket.rename(hidden)
    try:
        wait_until(lambda: no_session(box), what="the session that was kept to end")
        send(box, "later", "bob@socket.test")
        settled(box, "bob@socket.test", "deferred")
    finally:
        hidden.rename(box.dovecot.socket)
    done = box.server.queue("list", "--json")
    assert "No such file or directory" in done.stdout
    assert box.server.queue("retry", "--all").status == 0
    wait_until(lambda: len(box.dovecot.find("bob", "later")) == 1, what="what waited to arrive")


def test_check_says_that_mail_ends_here(box: Box) -> None:
    done = box.server.command("check", "socket.test", "--json")
    assert done.status == 0, done
    assert f"mail ends on this machine: lmtp:{box.dovecot.socket}" in done.stdout
    json.loads(done.stdout)
    assert "mail ends on this machine" in box.server.command("check", "socket.test").stdout
