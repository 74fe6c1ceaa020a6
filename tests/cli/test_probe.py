"""`letterlock probe`: what it says of the lab's servers, honest, attacked and hostile, and how it ends."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from letterlock.cli.probe.command import probe as probe_command
from letterlock.cli.probe.presented_chain import look_at
from letterlock.cli.probe.text import draw_probe
from letterlock.cli.probe.values import probe_values
from letterlock.cli.style import Style
from letterlock.deliver.options import DeliverOptions
from letterlock.identity.trust import TrustRoots
from letterlock.inspect.probe import ByHand, Demand, Mail, Probe, ProbeConclusion, probe
from letterlock.lab.box import Box, running_box
from letterlock.lab.issuing import make_self_signed
from letterlock.lab.mail_server import MailServer
from letterlock.lab.raw_smtp import Wire, listening
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.net.tls import ServerContext
from letterlock.policy.evidence import MxHost, Origin, TargetHost
from letterlock.queue.tasks import OutcomeKind
from letterlock.resolver import Security
from tests.certificates import Authority, Credential, authority
from tests.cli.running import Ran, asking, letterlock
from tests.deliver.test_attempt_hostile import BEFORE_TLS
from tests.deliver.world import (
    ADDRESS,
    ANN,
    BOB,
    BODY,
    HASTY,
    OPTIONS,
    Handler,
    MemoryDialer,
    Server,
    make_ports,
    make_task,
    raw,
)

WRONG = "3 1 1 " + "00" * 32
MESSAGE = "Subject: a probe\n\n.dots and unix line ends\n"


async def probing(box: Box, host: str, *arguments: str | Path) -> Ran:
    """Probe a host of the box."""
    return await letterlock("probe", f"{host}:{box.berths.port}", *asking(box), *arguments)


def codes(ran: Ran) -> list[str]:
    return [reason["code"] for reason in ran.data["reasons"]]


def tlsa(box: Box, protection: SiteProtection = SiteProtection.DANE_EE) -> str:
    return box.world.sites[protection].credential.tlsa_end_entity()


async def test_a_healthy_dane_server_is_cleared_and_everything_is_shown() -> None:
    async with running_box(Attack.NONE) as box:
        ran = await probing(box, "mx.dane-ee.test", "--require", "dane")
        record, port = tlsa(box), box.berths.port
    lines = ran.out.splitlines()
    assert ran.status == 0
    assert ran.err == ""
    assert lines[0] == f"mx.dane-ee.test:{port}   CLEARED"
    assert f"  TLSA        1 record at _{port}._tcp.mx.dane-ee.test, secure" in lines
    assert "      < 220 mx.dane-ee.test ESMTP" in lines
    assert any(line.startswith("      < 250 mx.dane-ee.test: PIPELINING, ") for line in lines)
    assert any(line.startswith("    TLS TLSv1.3, ") and line.endswith("SNI mx.dane-ee.test") for line in lines)
    assert f"       as TLSA   {record}" in lines
    assert f"    TLSA {record[:14]}   matches: certificate 0" in lines
    assert "[RFC 7672 section 3.1.1]" in ran.out
    assert lines[-1] == "    a message would be sent here, inside TLS"
    assert "MAIL" not in ran.out.replace("MAIL FROM never leaves", "")


async def test_the_data_is_complete() -> None:
    async with running_box(Attack.NONE) as box:
        ran = await probing(box, "mx.dane-ta.example", "--require", "dane", "--json")
        anchor = box.world.sites[SiteProtection.DANE_TA].credential.issuer
    data = ran.data
    assert ran.status == 0
    assert (data["verdict"], data["level"], data["by"]) == ("cleared", "authenticated", "dane-ta")
    assert codes(ran) == ["rfc7672-3.1.2-dane-ta"]
    assert data["dns"]["address_security"] == data["dns"]["tlsa"]["security"] == "secure"
    [session] = data["sessions"]
    assert session["said"][0] == {"from": "server", "tls": False, "text": "220 mx.dane-ta.example ESMTP"}
    assert session["said"][-1]["tls"] is True
    assert session["tls"]["version"] == "TLSv1.3"
    assert session["tls"]["sni"] == "mx.dane-ta.example"
    assert "STARTTLS" not in data["capabilities"]
    leaf, root = data["chain"]
    assert leaf["tlsa"] == f"3 1 1 {leaf['spki_sha256']}"
    assert anchor is not None
    assert root["tlsa"] == f"2 0 1 {root['sha256']}"
    assert data["tlsa"][0]["matches"] is True
    assert data["pkix"]["trusted"] is False


@pytest.mark.parametrize(
    ("attack", "arguments", "because"),
    [
        (Attack.STARTTLS_STRIPPED, ("--require", "tls"), "rule-starttls-required"),
        (Attack.STARTTLS_STRIPPED, ("--require", "dane"), "rfc7672-2.2.3-starttls-required"),
        (Attack.STARTTLS_REFUSED, ("--require", "verify"), "rule-starttls-refused"),
        (Attack.PLAINTEXT_INJECTED, ("--require", "none"), "rfc3207-4.2-injected"),
        (Attack.SELF_SIGNED, ("--require", "verify"), "rule-verify-untrusted"),
        (Attack.SELF_SIGNED, ("--require", "dane"), "rfc7672-3.2-dane-mismatch"),
    ],
)
async def test_an_attacked_server_is_not_cleared_and_gets_no_mail_from(
    attack: Attack, arguments: tuple[str, ...], because: str, tmp_path: Path
) -> None:
    letter = tmp_path / "letter"
    letter.write_text(MESSAGE)
    sending = ("--send", letter, "--from", "a@client.example", "--to", "b@dane-ee.test")
    async with running_box(attack) as box:
        ran = await probing(box, "mx.dane-ee.test", "--ca", box.authority_file, *arguments, *sending, "--json")
        (attacker,) = box.on_path[SiteProtection.DANE_EE]
        assert not attacker.holds(b"MAIL")
        assert not box.delivered(SiteProtection.DANE_EE, b"a probe")
    assert ran.status == 1
    assert ran.data["verdict"] == "not-cleared"
    assert codes(ran) == [because]
    assert ran.data["sent"] == []
    assert ran.data["sending"] == "nothing was sent"


async def test_records_by_hand_stand_in_for_dns() -> None:
    async with running_box(Attack.NONE) as box:
        right, wrong = tlsa(box), await probing(box, "mx.dane-ee.test", "--require", "dane", "--tlsa", WRONG)
        good = await probing(box, "mx.none.test", "--require", "dane", "--tlsa", tlsa(box, SiteProtection.NONE))
        shown = await probing(box, "mx.dane-ee.test", "--tlsa", WRONG, "--tlsa", right, "--tlsa", f"0 0 1 {'ab' * 32}")
        unusable = await probing(box, "mx.dane-ee.test", "--require", "dane", "--tlsa", f"1 1 1 {'ab' * 32}")
    assert wrong.status == 1
    assert f"wanted the server's key with SHA2-256 {'00' * 32}; presented: {right.split()[-1]}" in wrong.out
    assert good.status == 0
    assert "authenticated by dane-ee" in good.out
    assert shown.status == 0, "the default demands TLS, and judges no certificate"
    assert f"    TLSA {right[:14]}   matches: certificate 0" in shown.out
    assert "    TLSA 3 1 1 00000000   does not match: wanted" in shown.out
    assert "    TLSA 0 0 1 abababab   does not match: not usable for mail" in shown.out
    assert unusable.status == 1
    assert "the server was not spoken to" in unusable.out


async def test_verify_wants_the_authority_and_the_name() -> None:
    async with running_box(Attack.NONE) as box:
        asked = ("--require", "verify", "--ca", box.authority_file)
        good = await probing(box, "mx.verify.test", *asked)
        named = await probing(box, "mx.verify.test", *asked, "--name", "mail.verify.test", "--json")
        unknown = await probing(box, "mx.verify.test", "--require", "verify")
    assert good.status == 0
    assert "PKIX   trusted: mx.verify.test, issued under Lab Public CA" in good.out
    assert named.status == 1
    assert codes(named) == ["rule-verify-wrong-name"]
    assert named.data["sessions"][0]["tls"]["sni"] == "mail.verify.test"
    assert unknown.status == 1
    assert "trusting system" in unknown.out


async def test_send_delivers_to_every_recipient_inside_tls(tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text(MESSAGE)
    recipients = ("--to", "b@dane-ee.test", "--to", "<c@dane-ee.test>")
    async with running_box(Attack.NONE) as box:
        ran = await probing(box, "mx.dane-ee.test", "--require", "dane", "--send", letter, "--from", "<>", *recipients)
        [arrival] = box.honest[SiteProtection.DANE_EE].mailbox
    assert ran.status == 0
    assert arrival.content == MESSAGE.replace("\n", "\r\n").encode()
    assert arrival.encrypted
    assert "    b@dane-ee.test   delivered (2.0.0): " in ran.out
    assert "    c@dane-ee.test   delivered (2.0.0): " in ran.out


async def test_an_address_needs_no_dns_and_a_name_for_it_can_be_asked_for() -> None:
    async with running_box(Attack.NONE) as box:
        site = box.world.sites[SiteProtection.DANE_EE]
        address = box.berths.address(site.berth)
        nobody = ("--upstream", "127.0.0.1:1")
        by_hand = await letterlock(
            "probe", f"[{address}]:{box.berths.port}", *nobody, "--require", "dane", "--tlsa", tlsa(box), "--json"
        )
        by_name = await probing(box, address, "--require", "dane", "--name", site.host, "--json")
    assert (by_hand.status, by_hand.data["by"], by_hand.data["dns"]) == (0, "dane-ee", None)
    assert by_hand.data["sessions"][0]["tls"]["sni"] is None
    assert (by_name.status, by_name.data["by"], by_name.data["address"]) == (0, "dane-ee", address)
    assert by_name.data["sessions"][0]["tls"]["sni"] == site.host


async def test_tlsa_records_must_be_secure_and_a_failed_lookup_is_not_an_absence() -> None:
    async with running_box(Attack.NONE) as box:
        unsigned = await probing(box, "mx.none.test", "--require", "dane", "--json")
    async with running_box(Attack.TLSA_LOOKUP_FAILED) as box:
        failed = await probing(box, "mx.dane-ee.test", "--require", "dane", "--json")
    async with running_box(Attack.TLSA_REMOVED) as box:
        removed = await probing(box, "mx.dane-ee.test", "--require", "dane", "--json")
    assert (unsigned.status, codes(unsigned)[0]) == (1, "rfc7672-6-no-usable-tlsa")
    assert (failed.status, codes(failed)) == (3, ["rfc7672-2.1.2-tlsa-lookup-failed"])
    assert (removed.status, codes(removed)) == (3, ["rfc7672-2.1.2-tlsa-bogus"])
    assert unsigned.data["sessions"] == failed.data["sessions"] == removed.data["sessions"] == []


async def test_nobody_there_ends_with_3() -> None:
    closed = await letterlock("probe", "127.0.0.1:1")
    nowhere = await letterlock("probe", "mx.example.org", "--upstream", "127.0.0.1:1", "--json")
    assert (closed.status, nowhere.status) == (3, 3)
    assert "  not reached 127.0.0.1: cannot connect: Connection refused" in closed.out.splitlines()
    assert nowhere.data["verdict"] == "unknown"


@asynccontextmanager
async def smtps(tmp_path: Path, talk: Callable[[Wire], Awaitable[None]] | None = None) -> AsyncIterator[int]:
    """A server that speaks TLS from the first octet, on a port of 127.0.0.1; or what `talk` speaks."""
    context = make_self_signed("mx.example.org").server_context(tmp_path)

    async def secure(wire: Wire) -> None:
        await wire.start_tls(context, server=True)
        await MailServer("mx.example.org", context).talk(wire)

    with socket.create_server(("127.0.0.1", 0)) as bound:
        async with listening(bound, talk or secure):
            yield bound.getsockname()[1]


async def test_rfc8314_3_implicit_tls_is_judged_before_a_word_is_said(tmp_path: Path) -> None:
    async with smtps(tmp_path) as port:
        good = await letterlock("probe", f"127.0.0.1:{port}", "--implicit", "--json")
        wrong = await letterlock(
            "probe", f"127.0.0.1:{port}", "--implicit", "--json", "--require", "dane", "--tlsa", WRONG
        )
    assert (good.status, good.data["implicit_tls"], good.data["level"]) == (0, True, "encrypted")
    said = good.data["sessions"][0]["said"]
    assert said[0]["text"] == "220 mx.example.org ESMTP"
    assert all(line["tls"] for line in said)
    assert not any("STARTTLS" in line["text"] for line in said)
    assert wrong.status == 1
    assert codes(wrong) == ["rfc7672-3.2-dane-mismatch"]
    assert wrong.data["sessions"][0]["said"] == []


async def test_rfc8314_3_implicit_tls_never_falls_back_to_clear(tmp_path: Path) -> None:
    heard = bytearray()

    async def in_clear(wire: Wire) -> None:
        await wire.write(b"220 mx.example.org ESMTP\r\n")
        while True:
            heard.extend(await wire.read_some())

    async with smtps(tmp_path, in_clear) as port:
        ran = await letterlock("probe", f"127.0.0.1:{port}", "--implicit", "--require", "none", "--json")
    assert ran.status == 1
    assert codes(ran) == ["rfc7435-3-handshake-failed"]
    assert b"EHLO" not in heard
    assert ran.data["sessions"][0]["said"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument 'HOST[:PORT]'"),
        (("no..name",), "is not a domain name"),
        (("mx.example.org:99999",), "'99999' is not a port"),
        (("mx.example.org:",), "'' is not a port"),
        (("[mx.example.org]",), "is not an address in brackets"),
        (("mx.example.org", "--require", "maybe"), "'maybe' is not one of"),
        (("mx.example.org", "--tlsa", "3 1 1"), "is not a TLSA record, such as"),
        (("mx.example.org", "--tlsa", "3 1 999 00"), "is not a TLSA record, such as"),
        (("mx.example.org", "--tlsa", "3 1 1 xyz"), "is not a TLSA record, such as"),
        (("mx.example.org", "--tlsa", "3 1 1 00"), "data length inconsistent with matching type"),
        (("mx.example.org", "--ca", "/nowhere"), "No such file or directory"),
        (("mx.example.org", "--ca", __file__), "no PEM certificate that can be read"),
        (("mx.example.org", "--name", "192.0.2.1"), "is an address, and no name"),
        (("192.0.2.1", "--require", "verify"), "give --name"),
        (("192.0.2.1", "--require", "dane"), "give --tlsa"),
        (("mx.example.org", "--to", "a@example.org"), "give --send"),
        (("mx.example.org", "--send", __file__), "--send needs --from and at least one --to"),
        (("mx.example.org", "--send", "/nowhere"), "No such file or directory"),
        (("mx.example.org", "--from", "nobody"), "an address has the form local@domain"),
    ],
)
def test_bad_options_get_one_clear_message(arguments: tuple[str, ...], message: str) -> None:
    ran = CliRunner().invoke(probe_command, arguments)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert message in " ".join(ran.stderr.split())
    assert ran.stderr.count("Error:") == 1


def test_a_message_with_mixed_line_ends_is_refused(tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_bytes(b"a: b\r\n\nx\n")
    ran = CliRunner().invoke(probe_command, ("mx.example.org", "--send", str(letter)))
    assert ran.exit_code == 2
    assert "some lines end in CRLF, and some do not" in " ".join(ran.stderr.split())


# Hostile servers, in memory.


@pytest.fixture
async def dialer() -> AsyncIterator[MemoryDialer]:
    dialer = MemoryDialer()
    yield dialer
    await dialer.aclose()


@pytest.fixture(scope="module")
def root() -> Authority:
    return authority("Root \x1b[31m\u202e")


@pytest.fixture(scope="module")
def credential(root: Authority) -> Credential:
    return root.leaf("mx.example.org", common_name="\x1b]0;owned\x07\x9b31m")


def by_hand(demand: Demand = Demand.TLS, *, implicit: bool = False) -> ByHand:
    return ByHand(demand=demand, roots=TrustRoots("none", ()), names=("mx.example.org",), implicit=implicit)


async def look(
    dialer: MemoryDialer,
    handler: Handler,
    wanted: ByHand,
    options: DeliverOptions = HASTY,
    *,
    addresses: tuple[str, ...] = (ADDRESS,),
    mail: Mail | None = None,
) -> tuple[Probe, str]:
    """Probe a handler: what came of it, and what a person sees; the data must be JSON."""
    dialer.handlers[ADDRESS] = handler
    host = MxHost(name=ADDRESS, preference=0, origin=Origin.LITERAL, secure=False)
    target = TargetHost(
        host=host,
        port=25,
        canonical_name=ADDRESS,
        addresses=addresses,
        address_lookups=(),
        address_security=Security.INSECURE,
        tlsa_base=None,
        tlsa=None,
    )
    async with asyncio.timeout(10):
        probed = await probe(target, wanted, ports=make_ports(dialer), options=options, mail=mail)
    now = 1_800_000_000.0
    findings = look_at(probed, wanted, now)
    shown = "\n".join(draw_probe(probed, wanted, findings, Style(colour=False), now=now, mail=mail))
    assert json.dumps(probe_values(probed, wanted, findings, mail)).isprintable()
    assert all(line.isprintable() for line in shown.split("\n"))
    return probed, shown


@pytest.mark.parametrize("attack", BEFORE_TLS)
async def test_rfc3207_4_1_a_hostile_server_ends_in_time_and_gets_no_mail_from(
    dialer: MemoryDialer, attack: str
) -> None:
    probed, shown = await look(dialer, BEFORE_TLS[attack](), by_hand())
    assert probed.conclusion in (ProbeConclusion.NOT_CLEARED, ProbeConclusion.UNKNOWN)
    assert shown.splitlines()[1].strip()
    assert len(shown) < 20_000
    for client in dialer.clients:
        assert b"MAIL" not in client.written
        assert b"HELO client" not in client.written


@pytest.mark.parametrize("octets", [b"220 mx ESMTP\r\n", b"\0" * 5000, b"\x16\x03\x01\xff\xff" + b"x" * 70_000, b""])
async def test_rfc8314_3_garbage_instead_of_a_handshake_is_a_clear_line(dialer: MemoryDialer, octets: bytes) -> None:
    probed, shown = await look(dialer, raw(octets), by_hand(implicit=True))
    assert probed.conclusion is ProbeConclusion.NOT_CLEARED
    assert "the TLS handshake failed" in shown.splitlines()[1]
    assert all(b"EHLO" not in client.written for client in dialer.clients)


async def test_octets_of_the_server_never_reach_the_terminal_as_they_are(
    dialer: MemoryDialer, credential: Credential, tmp_path: Path
) -> None:
    evil = b"\x1b[2J\x07\x9b31m\xe2\x80\xae\xff"
    server = Server(
        context=ServerContext.load(*credential.write(tmp_path)),
        greeting=b"220 " + evil + b"\r\n",
        answers={"EHLO": [b"250-mx " + evil + b"\r\n250 STARTTLS\r\n"], "EHLO/TLS": [b"554 " + evil + b"\r\n"]},
    )
    probed, shown = await look(dialer, server, by_hand(), OPTIONS)
    assert probed.conclusion is ProbeConclusion.UNKNOWN
    assert "< 220 \\x1b[2J" in shown
    assert "0  \\x1b]0;owned\\x07" in shown
    assert "issuer    Root \\x1b[31m" in shown


async def test_a_flood_is_cut(dialer: MemoryDialer) -> None:
    greeting = b"".join(b"220-%d\r\n" % number for number in range(90)) + b"220 " + b"x" * 500 + b"\r\n"
    ehlo = b"".join(b"250-X%d %s\r\n" % (number, b"y" * 480) for number in range(90)) + b"250 end\r\n"
    probed, shown = await look(dialer, raw(greeting, ehlo), by_hand())
    assert probed.conclusion is ProbeConclusion.NOT_CLEARED
    assert probed.sessions[0].cut
    assert "… and more, which is not kept" in shown
    assert max(len(line) for line in shown.splitlines()) < 700


async def test_nothing_required_is_cleared_in_clear_and_after_a_failed_handshake(dialer: MemoryDialer) -> None:
    plain, shown = await look(dialer, Server(), by_hand(Demand.NONE), OPTIONS)
    assert plain.conclusion is ProbeConclusion.CLEARED
    assert "a message would be sent here, in cleartext" in shown
    broken = Server(extensions=("STARTTLS",))
    fallen, shown = await look(dialer, broken, by_hand(Demand.NONE))
    assert fallen.conclusion is ProbeConclusion.CLEARED
    assert [session.handshake is None for session in fallen.sessions] == [False, False, True]
    assert "  Session 2, once more with a small ClientHello" in shown.splitlines()
    assert "  Session 3" in shown.splitlines()


async def test_the_next_address_is_spoken_to_when_one_takes_no_connection(dialer: MemoryDialer) -> None:
    probed, shown = await look(dialer, Server(), by_hand(Demand.NONE), OPTIONS, addresses=("192.0.2.9", ADDRESS, "::1"))
    assert dialer.dialled == ["192.0.2.9", ADDRESS]
    assert probed.address == ADDRESS
    assert "  not reached 192.0.2.9: cannot connect: Connection refused" in shown.splitlines()


@pytest.mark.parametrize(
    ("answers", "delivered", "told"),
    [
        ({}, (True, True), "delivered (2.0.0)"),
        ({"RCPT": [b"550 5.1.1 nobody \x1b[2J\r\n", b"250 Ok\r\n"]}, (False, True), "failed (5.1.1)"),
        ({".": [b"451 4.3.0 later\r\n"]}, (False, False), "deferred (4.3.0)"),
        ({".": [b""]}, (False, False), "the session was lost"),
    ],
)
async def test_what_the_server_made_of_the_message_is_told_for_each_recipient(
    dialer: MemoryDialer, answers: dict[str, list[bytes]], delivered: tuple[bool, bool], told: str
) -> None:
    mail = Mail(envelope=make_task(ANN, BOB).envelope, content=BODY)
    probed, shown = await look(dialer, Server(answers=answers), by_hand(Demand.NONE), OPTIONS, mail=mail)
    assert tuple(each.kind is OutcomeKind.DELIVERED for each in probed.outcomes) == delivered
    assert probed.delivered is all(delivered)
    assert told in shown
    assert not any(b"MAIL" in line.octets for line in probed.sessions[0].said)
