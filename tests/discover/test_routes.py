"""What is asked for when the operator's route leads mail elsewhere (RFC 7672 section 2.2.2, RFC 8461 section 3.4)."""

from letterlock.discover import Discoverer
from letterlock.mtasts import Absent, Known, Mode, StsEvidence, StsPolicy
from letterlock.policy.evidence import DestinationEvidence, MxHost, Origin
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.routes import NextHop, RelayHost
from letterlock.routing.rules import Rules
from tests.discover.test_discoverer import Book
from tests.net.https_servers import FixedClock
from tests.policy.evidence import DOMAIN, GOOD_TLSA, answer, rule

RELAY = "relay.example.net"


class PoliciesByDomain:
    """One domain has a policy; who was asked for is remembered."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def find(self, domain: str) -> StsEvidence:
        self.asked.append(domain)
        policy = StsPolicy(mode=Mode.ENFORCE, max_age_seconds=604_800, mx=(f"mx.{domain}",))
        return Known(policy=policy, id="1", fetched_at=0, expires_at=1, from_cache=False)

    async def recheck(self, domain: str) -> StsEvidence:
        self.asked.append(domain)
        return Absent()


class Asked:
    """Who is asked what for mail that routes lead elsewhere."""

    def __init__(self, *relays: tuple[str, RelayHost]) -> None:
        self.book = Book([answer(RELAY, "MX", "10 mx.example.net.")])
        self.policies = PoliciesByDomain()
        rules = Rules({RELAY: rule(TlsRule.VERIFY)}, {}, dict(relays))
        self.discoverer = Discoverer(self.book, rules, clock=FixedClock(), sts=self.policies)

    async def destination(self, domain: str = DOMAIN, port: int = 25) -> DestinationEvidence:
        return await self.discoverer.destination(NextHop(domain, port))


def relay(domain: str = RELAY, *, is_host: bool = False, port: int | None = None) -> RelayHost:
    return RelayHost(domain=domain, source="letterlock.toml:9", is_host=is_host, port=port)


async def test_the_mx_of_the_routes_next_hop_is_asked_for_and_never_that_of_the_recipients() -> None:
    asked = Asked((DOMAIN, relay(port=587)))
    found = await asked.destination()
    assert asked.book.asked == [f"{RELAY} MX"]
    assert (found.next_hop, found.recipient_domain, found.relay) == (NextHop(RELAY, 587), DOMAIN, relay(port=587))
    assert found.rule == rule(TlsRule.VERIFY)


async def test_without_a_port_the_route_has_the_usual_one() -> None:
    asked = Asked((DOMAIN, relay()))
    assert (await asked.destination(port=26)).next_hop == NextHop(RELAY, 26)


async def test_a_domain_without_a_route_is_asked_for_itself() -> None:
    asked = Asked(("other.example", relay()))
    found = await asked.destination()
    assert asked.book.asked == [f"{DOMAIN} MX"]
    assert (found.relay, found.recipient_domain) == (None, None)


async def test_rfc8461_3_4_the_policy_domain_is_that_of_the_relay_host() -> None:
    asked = Asked((DOMAIN, relay()))
    found = await asked.destination()
    assert asked.policies.asked == [RELAY]
    assert isinstance(found.sts, Known)
    assert found.sts.policy.mx == (f"mx.{RELAY}",)
    assert await asked.discoverer.reconsider(found)
    assert asked.policies.asked == [RELAY, RELAY]


async def test_a_host_in_brackets_has_no_mx_lookup_and_a_policy_by_its_name() -> None:
    asked = Asked(("*", relay(is_host=True)))
    found = await asked.destination()
    assert (asked.book.asked, found.mx) == ([], None)
    assert asked.policies.asked == [RELAY]
    assert found.next_hop == NextHop(RELAY, is_host=True)


async def test_rfc8461_3_4_an_address_literal_has_no_policy() -> None:
    asked = Asked((DOMAIN, relay("[192.0.2.1]")))
    found = await asked.destination()
    assert (asked.book.asked, asked.policies.asked, found.mx, found.sts) == ([], [], None, None)


async def test_mail_for_an_address_literal_takes_the_route_for_everything() -> None:
    asked = Asked(("*", relay()))
    assert (await asked.destination("[198.51.100.1]")).next_hop.domain == RELAY


async def test_a_route_is_followed_for_one_step() -> None:
    asked = Asked((DOMAIN, relay()), (RELAY, relay("second.example")), ("*", relay("third.example")))
    assert (await asked.destination()).next_hop.domain == RELAY
    assert (await asked.destination(RELAY)).next_hop.domain == "second.example"
    assert asked.book.asked == [f"{RELAY} MX", "second.example MX"]


async def test_rfc7672_2_2_2_addresses_and_tlsa_are_asked_for_at_a_relay_host_too() -> None:
    tlsa = answer(f"_587._tcp.{RELAY}", "TLSA", GOOD_TLSA)
    book = Book([answer(RELAY, "A", "192.0.2.1"), tlsa])
    host = MxHost(name=RELAY, preference=0, origin=Origin.STATIC, secure=True)
    found = await Discoverer(book, Rules({}), clock=FixedClock()).host(host, 587)
    assert (found.tlsa_base, found.tlsa) == (RELAY, tlsa)
    assert book.asked[-1] == f"_587._tcp.{RELAY} TLSA"
