"""Real programs send into Letterlock; Letterlock delivers to Postfix, held to what the DNS says of it (RFC 7672)."""

import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.certificates import authority
from tests.interop import postfix
from tests.interop.lab import Lab, write_with_root
from tests.interop.letterlock import Letterlock, serving
from tests.interop.nameservers import Place
from tests.interop.programs import run, wait_until

pytestmark = pytest.mark.interop

CONFIG = """\
hostname = "relay.lab.test"
[smtp]
listen = ["@LISTEN@"]
certificate = "{certificate}"
key = "{key}"
[queue]
directory = "@QUEUE@"
retry_first_seconds = 600
[resolver]
upstream = ["{upstream.address}:{upstream.port}"]
anchors = ["{anchor}"]
[delivery]
loopback_hosts = true
port = {port}
idle_seconds = 0
[domain."verify.test"]
tls = "verify"
trust = "{trust}"
"""


@pytest.fixture(name="server", scope="module")
def server_fixture(lab: Lab) -> Iterator[Letterlock]:
    """`letterlock serve`, resolving through Unbound, delivering to the port of the lab's Postfix."""
    directory = lab.directory / "letterlock"
    directory.mkdir()
    certificate, key = lab.authority.leaf("relay.lab.test").write(lab.directory, "relay")
    trust = lab.directory / "ca.pem"
    lab.authority.credential.write(lab.directory, "ca")
    config = CONFIG.format(
        certificate=certificate,
        key=key,
        upstream=lab.unbound,
        anchor=lab.anchor,
        port=lab.postfix.place.port,
        trust=trust,
    )
    with serving(directory, Place.free(lab.address(40)), config) as running:
        yield running


def send(server: Letterlock, recipient: str, subject: str, *extra: str, sender: str = "ann@sender.test") -> None:
    """Hand a message to Letterlock by swaks."""
    place = server.place
    addresses = ("--from", sender, "--to", recipient)
    run("swaks", "--server", place.address, "--port", str(place.port), *addresses, "--h-Subject", subject, *extra)


def arrives(lab: Lab, subject: str, count: int = 1) -> None:
    """Wait until Postfix has the message in its mailbox."""
    wait_until(lambda: len(lab.postfix.find(subject)) >= count, what=f"{subject!r} to arrive at Postfix")


def settled(server: Letterlock, recipient: str, status: str) -> str:
    """Wait for the log line of a recipient; the line."""
    words = (f"to=<{recipient}>", f"status={status}")
    wait_until(lambda: bool(server.log_line(*words)), what=f"the log line of {recipient}: {status}")
    return server.log_line(*words)


@pytest.mark.parametrize("tls", [(), ("--tls",)], ids=["clear", "tls"])
def test_swaks_sends_into_letterlock_and_postfix_receives(lab: Lab, server: Letterlock, tls: tuple[str, ...]) -> None:
    subject = f"by swaks {tls}"
    send(server, "swaks@nsec.test", subject, *tls)
    arrives(lab, subject)
    message = lab.postfix.find(subject)[0]
    assert message["Return-Path"] == "<ann@sender.test>"
    assert "relay.lab.test" in str(message.get_all("Received"))
    assert message.get_content().strip() == "This is a test mailing"


def test_postfix_sends_into_letterlock_over_tls(lab: Lab, server: Letterlock) -> None:
    own = postfix.sender(
        lab.directory / "sender",
        Place.free(lab.address(26)),
        hostname="sender.lab.test",
        relay_host=server.place,
        tls_level="encrypt",
    )
    with own as sending:
        target = f"inet:{sending.place.address}:{sending.place.port}"
        run(
            "smtp-source",
            "-f",
            "ann@sender.test",
            "-t",
            "post@nsec3.test",
            "-m",
            "20",
            "-s",
            "4",
            "-S",
            "by Postfix",
            target,
        )
        arrives(lab, "by Postfix", count=20)
        wait_until(lambda: sending.log().count("status=sent") == 20, what="Postfix to have sent 20")
        assert "TLS connection established" in sending.log()
    assert len(lab.postfix.find("by Postfix")) == 20


@pytest.mark.parametrize(("domain", "by"), [("nsec.test", "dane-ee"), ("nsec3.test", "dane-ta")])
def test_rfc7672_delivery_is_authenticated_by_dane(lab: Lab, server: Letterlock, domain: str, by: str) -> None:
    recipient = f"dane@{domain}"
    send(server, recipient, f"dane {domain}")
    arrives(lab, f"dane {domain}")
    line = settled(server, recipient, "sent")
    assert f"relay=mx.{domain}[{lab.postfix.place.address}]:{lab.postfix.place.port}" in line
    assert "tls=dane protection=authenticated" in line
    assert f"by={by}" in line


@pytest.mark.parametrize(
    ("domain", "by", "record"), [("nsec.test", "dane-ee", "3 1 1"), ("nsec3.test", "dane-ta", "2 0 1")]
)
def test_check_says_authenticated_by_dane(server: Letterlock, domain: str, by: str, record: str) -> None:
    said = server.command("check", domain)
    assert said.status == 0, said
    assert f"authenticated by {by} ({record} " in said.stdout
    (found,) = json.loads(server.command("check", "--json", domain).stdout)["domains"]
    (host,) = found["hosts"]
    (session,) = host["sessions"]
    assert found["protected"] is True
    assert (host["tlsa"]["security"], session["level"], session["by"]) == ("secure", "authenticated", by)


def test_an_unsigned_domain_is_encrypted_and_never_called_authenticated(lab: Lab, server: Letterlock) -> None:
    send(server, "ann@plain.test", "plain")
    arrives(lab, "plain")
    line = settled(server, "ann@plain.test", "sent")
    assert "protection=encrypted" in line
    assert server.command("check", "plain.test").status == 1


def test_rfc5321_4_1_2_addresses_with_odd_dots_arrive(lab: Lab, server: Letterlock) -> None:
    """As real people have them, and as Postfix, too, writes them: quoted."""
    send(server, "a..b@plain.test", "odd dots", sender="a.@sender.test")
    arrives(lab, "odd dots")
    message = lab.postfix.find("odd dots")[0]
    assert message["Return-Path"] == '<"a."@sender.test>'
    assert message["Delivered-To"] == '"a..b"@plain.test'


def test_a_rule_verifies_against_the_operators_own_authority(lab: Lab, server: Letterlock) -> None:
    send(server, "ann@verify.test", "verify")
    arrives(lab, "verify")
    assert "by=pkix" in settled(server, "ann@verify.test", "sent")


@pytest.mark.parametrize("domain", ["bogus.test", "expired.test"])
def test_a_bogus_domain_is_deferred_not_served_in_clear(lab: Lab, server: Letterlock, domain: str) -> None:
    send(server, f"ann@{domain}", f"bogus {domain}")
    line = settled(server, f"ann@{domain}", "deferred")
    assert re.search(r"dsn=4\.\d\.\d", line)
    assert "bogus" in line.lower()
    assert not lab.postfix.find(f"bogus {domain}")
    assert server.command("check", domain).status == 3


@pytest.mark.parametrize(
    ("recipient", "status"),
    [("bob@absent.nsec.test", "5.1.2"), ("bob@www.nsec.test", "5.7.1")],
    ids=["no such domain, proven", "refused by Postfix"],
)
def test_rfc3464_what_can_never_be_delivered_comes_back_to_its_sender(
    lab: Lab, server: Letterlock, recipient: str, status: str
) -> None:
    sender = f"returned-{status.replace('.', '')}@nsec3.test"
    send(server, recipient, f"never {status}", sender=sender)
    assert f"dsn={status}" in settled(server, recipient, "bounced")
    settled(server, sender, "sent")
    wait_until(lambda: bool(returned(lab, sender)), what="the DSN to arrive")
    (report,) = returned(lab, sender)
    assert report.get_content_type() == "multipart/report"
    assert report["Return-Path"] == "<>"
    words, machine, *_ = report.iter_parts()
    assert recipient in words.get_content()
    assert f"Status: {status}" in machine.as_string()
    assert f"Final-Recipient: rfc822; {recipient}" in machine.as_string()


def returned(lab: Lab, sender: str) -> list[EmailMessage]:
    """What came back to a sender."""
    return [message for message in lab.postfix.mail() if message["Delivered-To"] == sender]


def test_with_another_certificate_nothing_is_delivered_until_it_is_back(lab: Lab, server: Letterlock) -> None:
    stranger = authority("Another CA")
    lab.postfix.show_certificate(
        *write_with_root(stranger.leaf("mx.nsec.test", "mx.nsec3.test"), stranger, lab.directory, "other")
    )
    try:
        for domain in ("nsec.test", "nsec3.test"):
            send(server, f"swap@{domain}", "swapped")
            assert "dsn=4.7." in settled(server, f"swap@{domain}", "deferred")
            assert server.command("check", domain).status == 1
            (waiting,) = server.waiting(f"swap@{domain}")
            assert waiting["state"] == "queued"
            assert waiting["status"].startswith("4.7.")
            assert "TLSA" in waiting["reason"]
        assert not lab.postfix.find("swapped")
    finally:
        lab.postfix.show_certificate(lab.certificate, lab.key)
    assert server.queue("retry", "--all").status == 0
    arrives(lab, "swapped", count=2)


def test_the_queue_is_kept_over_a_restart(lab: Lab, tmp_path: Path) -> None:
    place = Place.free(lab.address(41))
    config = CONFIG_WITHOUT_DNS.format(port=lab.postfix.place.port)
    with serving(tmp_path, place, config) as first:
        send(first, "later@nsec.test", "after a restart")
        settled(first, "later@nsec.test", "deferred")
        assert first.terminate() == 0
    unbound = f"{lab.unbound.address}:{lab.unbound.port}"
    anchored = config.replace('upstream = ["127.0.0.1:9"]', f'upstream = ["{unbound}"]\nanchors = ["{lab.anchor}"]')
    with serving(tmp_path, place, anchored, "second") as second:
        assert second.queue("retry", "--all").status == 0
        arrives(lab, "after a restart")
        wait_until(lambda: not second.queued(), what="the queue to be empty")


CONFIG_WITHOUT_DNS = """\
hostname = "relay.lab.test"
[smtp]
listen = ["@LISTEN@"]
[queue]
directory = "@QUEUE@"
retry_first_seconds = 600
[resolver]
upstream = ["127.0.0.1:9"]
timeout_seconds = 1
[delivery]
loopback_hosts = true
port = {port}
"""
