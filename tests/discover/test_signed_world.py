"""From signed and unsigned zones, through our own resolver, to what is required of a host (RFC 7672 sections 2.1, 2.2).

Nothing is made up here but the zones: they are signed, their signatures are checked, and every link of an alias has the
security that its proof gives it.
"""

import time
from collections.abc import Callable

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from dns.message import Message

from letterlock.discover import Discoverer
from letterlock.policy.decision import DaneAuthentication, Defer, Encryption, Requirement, SkipHost
from letterlock.policy.evidence import MxHost, Origin
from letterlock.policy.require import require
from letterlock.policy.route import route
from letterlock.resolver import Resolver, Security, parse_anchors
from letterlock.routing.routes import NextHop
from letterlock.routing.rules import Rules
from tests.agreement.build import anchor_text, build
from tests.agreement.internet import Internet
from tests.agreement.plan import Plan, Site
from tests.net.https_servers import FixedClock
from tests.policy.evidence import destination

GOOD, BAD = "3 1 1 " + "ab" * 32, "3 1 1 " + "cd" * 32
TOP = Plan(
    origin=dns.name.from_text("s1"),
    records=(
        ("", "MX", "10 mx.s1."),
        ("mx", "A", "192.0.2.1"),
        ("_25._tcp.mx", "TLSA", GOOD),
        ("_587._tcp.mx", "TLSA", BAD),
        ("bare", "A", "192.0.2.2"),
        ("alias", "CNAME", "mx.s1."),
        ("_25._tcp.alias", "TLSA", BAD),
        ("long", "CNAME", "between.s1."),
        ("between", "CNAME", "bare.s1."),
        ("_25._tcp.between", "TLSA", BAD),
        ("_25._tcp.long", "TLSA", GOOD),
        ("out", "CNAME", "host.plain.s1."),
        ("_25._tcp.out", "TLSA", GOOD),
        ("tree", "DNAME", "wide.s1."),
        ("mx.wide", "A", "192.0.2.3"),
        ("_25._tcp.mx.wide", "TLSA", GOOD),
        ("away", "DNAME", "plain.s1."),
        ("shared", "A", "192.0.2.4"),
        ("_25._tcp.shared", "CNAME", "_tlsa.s1."),
        ("_tlsa", "TLSA", GOOD),
        ("tainted", "A", "192.0.2.5"),
        ("_25._tcp.tainted", "CNAME", "_tlsa.plain.s1."),
    ),
)
PLAIN = Plan(
    origin=dns.name.from_text("plain.s1"),
    records=(
        ("host", "A", "192.0.2.8"),
        ("_25._tcp.host", "TLSA", BAD),
        ("_tlsa", "TLSA", BAD),
        ("in", "CNAME", "mx.s1."),
        ("_25._tcp.in", "TLSA", BAD),
    ),
    algorithm=0,
)


Attack = Callable[[Message], None]


@pytest.fixture(name="internet", scope="module")
def fixture_internet(tmp_path_factory: pytest.TempPathFactory) -> Internet:
    site = Site(name=TOP.origin, plans=(TOP, PLAIN))
    return build([site], tmp_path_factory.mktemp("zones"))


def honest(_: Message) -> None:
    """Nobody changes anything."""


def discoverer(internet: Internet, attack: Attack = honest) -> Discoverer:
    """A discoverer over the real resolver, whose answers somebody may change on their way."""

    async def transport(wire: bytes, _tcp: bool) -> bytes:
        message = dns.message.from_wire(internet.answer(wire))
        attack(message)
        return message.to_wire()

    resolver = Resolver(transport, anchors=parse_anchors(anchor_text()), now=time.time())
    return Discoverer(resolver, Rules({}), clock=FixedClock())


async def found(internet: Internet, name: str, port: int = 25, attack: Attack = honest) -> Requirement | SkipHost:
    """What is required of a host that a signed MX named."""
    host = MxHost(name=name, preference=10, origin=Origin.MX, secure=True)
    target = await discoverer(internet, attack).host(host, port)
    required = require(destination(f"10 {name}."), target)
    assert isinstance(required, Requirement | SkipHost)
    return required


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("mx.s1", "mx.s1"),
        ("alias.s1", "mx.s1"),
        ("long.s1", "long.s1"),
        ("out.s1", "out.s1"),
        ("mx.tree.s1", "mx.wide.s1"),
        ("shared.s1", "shared.s1"),
    ],
)
async def test_rfc7671_7_and_rfc7672_2_2_2_the_base_domain_of_signed_hosts_and_aliases(
    internet: Internet, name: str, base: str
) -> None:
    """The records at every other name are BAD: an alias itself where its end has records, and names between."""
    required = await found(internet, name)
    assert isinstance(required, Requirement)
    assert isinstance(required.authentication, DaneAuthentication)
    assert [one.data for one in required.authentication.records] == [bytes.fromhex("ab" * 32)]
    assert (required.sni, required.encryption, required.fallback) == (base, Encryption.MANDATORY, None)


@pytest.mark.parametrize("name", ["bare.s1", "host.plain.s1", "in.plain.s1", "host.away.s1"])
async def test_rfc7672_2_1_3_no_dane_without_records_or_behind_an_unsigned_first_link(
    internet: Internet, name: str
) -> None:
    """The last name is below a DNAME, which is seen through the CNAME that it makes: signed, into an unsigned zone."""
    required = await found(internet, name)
    assert isinstance(required, Requirement)
    assert (required.encryption, required.authentication) == (Encryption.OPTIONAL, None)
    assert required.fallback is not None


async def test_rfc7672_2_1_3_an_unsigned_alias_of_the_tlsa_record_proves_nothing(internet: Internet) -> None:
    required = await found(internet, "tainted.s1")
    assert isinstance(required, Requirement)
    assert (required.encryption, required.authentication) == (Encryption.OPTIONAL, None)


async def test_rfc6698_3_and_rfc7672_2_2_3_each_port_has_its_own_records(internet: Internet) -> None:
    required = await found(internet, "mx.s1", 587)
    assert isinstance(required, Requirement)
    assert isinstance(required.authentication, DaneAuthentication)
    assert [one.data for one in required.authentication.records] == [bytes.fromhex("cd" * 32)]


def _asks(message: Message, rdtype: str) -> bool:
    return message.question[0].rdtype == dns.rdatatype.from_text(rdtype)


def without_proof(message: Message) -> None:
    """TLSA records are gone, and so is every proof."""
    if _asks(message, "TLSA"):
        message.answer.clear()
        message.authority.clear()


def no_such_name(message: Message) -> None:
    """The name with the TLSA records is said not to be there."""
    without_proof(message)
    if _asks(message, "TLSA"):
        message.set_rcode(dns.rcode.NXDOMAIN)


def servfail(message: Message) -> None:
    """Whoever asks for TLSA records gets an error."""
    without_proof(message)
    if _asks(message, "TLSA"):
        message.set_rcode(dns.rcode.SERVFAIL)


def unsigned(message: Message) -> None:
    """TLSA records of the attacker's, without signatures, said to be authentic."""
    if _asks(message, "TLSA") and message.answer:
        owner = message.answer[0].name
        message.answer = [dns.rrset.from_text(owner, 300, "IN", "TLSA", BAD)]
        message.flags |= dns.flags.AD


@pytest.mark.parametrize("attack", [without_proof, no_such_name, servfail, unsigned])
async def test_rfc7672_2_1_1_an_absence_without_proof_leaves_the_host_out(internet: Internet, attack: Attack) -> None:
    held = await found(internet, "mx.s1", attack=attack)
    assert isinstance(held, SkipHost)
    assert held.reasons[0].code in ("rfc7672-2.1.2-tlsa-bogus", "rfc7672-2.1.2-tlsa-lookup-failed")


async def test_rfc7672_2_1_2_without_a_provable_mx_answer_the_mail_waits(internet: Internet) -> None:
    def hide_mx(message: Message) -> None:
        if _asks(message, "MX"):
            message.answer.clear()
            message.authority.clear()

    evidence = await discoverer(internet, hide_mx).destination(NextHop("s1"))
    assert isinstance(route(evidence, lambda hosts: hosts), Defer)


async def test_rfc7672_2_1_3_the_ad_bit_of_an_unsigned_answer_makes_nothing_secure(internet: Internet) -> None:
    def lie(message: Message) -> None:
        message.flags |= dns.flags.AD

    host = MxHost(name="host.plain.s1", preference=10, origin=Origin.MX, secure=True)
    target = await discoverer(internet, lie).host(host, 25)
    assert (target.address_security, target.tlsa) == (Security.INSECURE, None)
