"""The lab's DNS through our own resolver: the honest world, and the three attackers of the DNS."""

from collections.abc import Callable

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest

from letterlock.lab.dns_attackers import Honest, fail_tlsa, forge_mx, remove_tlsa, replay_denial
from letterlock.lab.dns_server import Answerer
from letterlock.lab.loopback import Berths
from letterlock.lab.world import DOMAINS, World, make_world
from letterlock.resolver import Absence, Answer, FailureKind, LookupFailure, Resolver, Security

NOW = 1_800_000_000
PORT = 2525
BERTHS = Berths("127.77.4", PORT, ())
FORGED = dict.fromkeys(DOMAINS.values(), "mx.mallory.example")
EE, TA = f"_{PORT}._tcp.mx.dane-ee.test", f"_{PORT}._tcp.mx.dane-ta.example"


@pytest.fixture(name="world", scope="module")
def fixture_world() -> World:
    """A world without sockets."""
    return make_world(BERTHS, now=NOW)


def make_resolver(world: World, answer: Answerer) -> Resolver:
    """Our resolver, asking a function."""

    async def transport(wire: bytes, _tcp: bool) -> bytes:
        response = answer(dns.message.from_wire(wire))
        assert response is not None
        return response.to_wire()

    return Resolver(transport, anchors=[world.names.anchor()], now=NOW)


@pytest.mark.parametrize(
    ("name", "rdtype", "security", "absence"),
    [
        ("dane-ee.test", "MX", Security.SECURE, None),
        ("mx.dane-ee.test", "A", Security.SECURE, None),
        ("mx.dane-ee.test", "AAAA", Security.SECURE, Absence.NODATA),
        (EE, "TLSA", Security.SECURE, None),
        (TA, "TLSA", Security.SECURE, None),
        ("_tcp.mx.dane-ta.example", "TLSA", Security.SECURE, Absence.NODATA),
        ("a.b.mx.dane-ta.example", "A", Security.SECURE, Absence.NXDOMAIN),
        ("nobody.test", "MX", Security.SECURE, Absence.NXDOMAIN),
        ("verify.test", "DS", Security.SECURE, Absence.NODATA),
        ("none.test", "MX", Security.INSECURE, None),
        ("mx.none.test", "AAAA", Security.INSECURE, Absence.NODATA),
        ("require-tls.example", "MX", Security.INSECURE, None),
        ("mallory.example", "MX", Security.INSECURE, None),
    ],
)
async def test_every_answer_has_the_state_that_the_world_was_made_with(
    world: World, name: str, rdtype: str, security: Security, absence: Absence | None
) -> None:
    found = await make_resolver(world, world.names.answer).resolve(name, rdtype)
    assert isinstance(found, Answer), found
    assert (found.security, found.absence) == (security, absence)


async def test_rfc7672_2_2_3_the_alias_of_the_tlsa_record_is_followed_securely(world: World) -> None:
    found = await make_resolver(world, world.names.answer).resolve(TA, "TLSA")
    assert isinstance(found, Answer)
    assert found.canonical_name == dns.name.from_text("_ta.dane-ta.example")
    assert [link.security for link in found.aliases] == [Security.SECURE]


@pytest.mark.parametrize("domain", ["dane-ee.test", "dane-ta.example"])
async def test_a_forged_mx_of_a_signed_domain_is_bogus(world: World, domain: str) -> None:
    found = await make_resolver(world, forge_mx(world.names.answer, FORGED)).resolve(domain, "MX")
    assert isinstance(found, LookupFailure)
    assert found.kind is FailureKind.BOGUS


async def test_a_forged_mx_of_an_unsigned_domain_is_believed_and_called_insecure(world: World) -> None:
    found = await make_resolver(world, forge_mx(world.names.answer, FORGED)).resolve("verify.test", "MX")
    assert isinstance(found, Answer)
    assert found.security is Security.INSECURE
    assert world.attacker_host in found.records[0].to_text()


@pytest.mark.parametrize("name", [EE, TA])
@pytest.mark.parametrize("lie", [remove_tlsa, replay_denial])
async def test_a_removed_tlsa_answer_is_bogus_with_a_replayed_proof_and_without(
    world: World, name: str, lie: Callable[[Honest], Answerer]
) -> None:
    found = await make_resolver(world, lie(world.names.answer)).resolve(name, "TLSA")
    assert isinstance(found, LookupFailure)
    assert found.kind is FailureKind.BOGUS


async def test_a_failed_tlsa_lookup_is_a_failure_and_no_absence(world: World) -> None:
    found = await make_resolver(world, fail_tlsa(world.names.answer)).resolve(EE, "TLSA")
    assert isinstance(found, LookupFailure)
    assert found.kind is FailureKind.SERVFAIL


async def test_rfc7671_10_1_an_answer_too_large_for_udp_is_fetched_by_tcp(world: World) -> None:
    by_tcp = 0

    async def transport(wire: bytes, tcp: bool) -> bytes:
        nonlocal by_tcp
        by_tcp += tcp
        query = dns.message.from_wire(wire)
        if tcp:
            return world.names.answer(query).to_wire()
        cut = dns.message.make_response(query)
        cut.flags |= dns.flags.TC
        return cut.to_wire()

    found = await Resolver(transport, anchors=[world.names.anchor()], now=NOW).resolve(EE, "TLSA")
    assert isinstance(found, Answer)
    assert found.security is Security.SECURE
    assert by_tcp


async def test_rfc7672_2_1_3_an_unsigned_link_in_the_alias_of_the_tlsa_record_taints_it(world: World) -> None:
    """The first link is signed, and leads into an unsigned zone, where anybody could have made the record."""
    tlsa = dns.rrset.from_text("mx.none.test.", 300, "IN", "TLSA", "3 1 1 " + "ab" * 32)

    def answer(query: dns.message.Message) -> dns.message.Message:
        response = world.names.answer(query)
        if query.question[0].rdtype != dns.rdatatype.TLSA:
            return response
        alias = dns.rrset.from_text("_ta.dane-ta.example.", 300, "IN", "CNAME", "mx.none.test.")
        kept = [rrset for rrset in response.answer if rrset.name == dns.name.from_text(TA)]
        response.answer = [*kept, alias, tlsa]
        return response

    found = await make_resolver(world, answer).resolve(TA, "TLSA")
    assert not (isinstance(found, Answer) and found.secure)
