"""Whether every authoritative server shows a record: one that lags, lies, errs or cannot be reached is named."""

import errno
from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from letterlock.discover.authoritative import AuthoritativeView, look_everywhere
from letterlock.resolver.answer import FailureKind
from tests.mailauth.dns_world import FakeResolver, World

NAME = "s1._domainkey.example.org"
RECORD = b"v=DKIM1; k=rsa; p=AAAA"
Answering = Callable[[dns.message.Message, bool], bytes]


def zone() -> World:
    made = World().add("example.org", "NS", "ns1.example.net.").add("example.org", "NS", "ns2.example.net.")
    made.add("ns1.example.net", "A", "192.0.2.1").add("ns2.example.net", "A", "192.0.2.2")
    return made.add("ns2.example.net", "AAAA", "2001:db8::2")


def reply(query: dns.message.Message, *texts: bytes, kind: str = "TXT", rcode: int = 0, aa: bool = True) -> bytes:
    made = dns.message.make_response(query)
    made.set_rcode(dns.rcode.Rcode(rcode))
    made.flags |= dns.flags.AA if aa else 0
    if texts:
        written = [each.decode() if kind != "TXT" else '"' + each.decode() + '"' for each in texts]
        made.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", kind, *written))
    return made.to_wire()


def shows(*texts: bytes, **more: object) -> Answering:
    return lambda query, _tcp: reply(query, *texts, **more)  # type: ignore[arg-type]  # passed on as it is


async def seen(made: World, servers: dict[str, Answering | OSError | bytes]) -> AuthoritativeView:
    async def ask(address: str, wire: bytes, tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        assert not query.flags & dns.flags.RD
        behaviour = servers[address]
        if isinstance(behaviour, OSError):
            raise behaviour
        return behaviour if isinstance(behaviour, bytes) else behaviour(query, tcp)

    return await look_everywhere(NAME, FakeResolver(made), ask)


def everywhere(view: AuthoritativeView) -> bool:
    return view.everywhere(lambda text: text == RECORD)


async def test_all_servers_show_it() -> None:
    made = zone()
    view = await seen(made, dict.fromkeys(("192.0.2.1", "192.0.2.2", "2001:db8::2"), shows(RECORD)))
    assert everywhere(view)
    assert not view.nowhere
    assert [each.address for each in view.views] == ["192.0.2.1", "192.0.2.2", "2001:db8::2"]
    assert not [each for each in made.asked if str(each.name).startswith("s1.")], (
        "a resolver would remember its absence"
    )


LAGGING: dict[str, Answering | OSError | bytes] = {
    "has nothing yet": shows(),
    "says NXDOMAIN": shows(rcode=3),
    "shows another key": shows(b"v=DKIM1; k=rsa; p=BBBB"),
    "shows two": shows(RECORD, b"v=DKIM1; p="),
    "is not authoritative": shows(RECORD, aa=False),
    "refuses": shows(rcode=5),
    "fails": shows(rcode=2),
    "is silent": TimeoutError(),
    "cannot be reached": ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    "sends rubbish": b"\0" * 40,
}


@pytest.mark.parametrize("behaviour", LAGGING)
async def test_one_server_of_three_keeps_the_key_from_signing(behaviour: str) -> None:
    made: dict[str, Answering | OSError | bytes] = {"192.0.2.1": shows(RECORD), "2001:db8::2": shows(RECORD)}
    view = await seen(zone(), made | {"192.0.2.2": LAGGING[behaviour]})
    assert not everywhere(view)
    assert not view.nowhere


async def test_a_machine_without_ipv6_asks_by_ipv4() -> None:
    no_way = OSError(errno.ENETUNREACH, "Network is unreachable")
    made: dict[str, Answering | OSError | bytes] = dict.fromkeys(("192.0.2.1", "192.0.2.2"), shows(RECORD))
    assert everywhere(await seen(zone(), made | {"2001:db8::2": no_way}))
    only = World().add("example.org", "NS", "ns.example.net.").add("ns.example.net", "AAAA", "2001:db8::2")
    assert not everywhere(await seen(only, {"2001:db8::2": no_way}))


async def test_an_answer_that_does_not_fit_is_asked_for_again_over_tcp() -> None:
    def truncating(query: dns.message.Message, tcp: bool) -> bytes:
        if tcp:
            return reply(query, RECORD)
        made = dns.message.make_response(query)
        made.flags |= dns.flags.TC | dns.flags.AA
        return made.to_wire()

    assert everywhere(await seen(zone(), dict.fromkeys(("192.0.2.1", "192.0.2.2", "2001:db8::2"), truncating)))


async def test_an_alias_leads_to_the_servers_of_the_provider() -> None:
    made = zone().add("provider.example", "NS", "ns.provider.example.").add("ns.provider.example", "A", "192.0.2.9")
    alias = shows(b"s1.provider.example.", kind="CNAME")
    servers: dict[str, Answering | OSError | bytes] = dict.fromkeys(("192.0.2.1", "192.0.2.2", "2001:db8::2"), alias)
    view = await seen(made, servers | {"192.0.2.9": shows(RECORD)})
    assert everywhere(view)
    assert view.name == "s1.provider.example"


async def test_aliases_that_go_round_end() -> None:
    alias = shows(b"s1._domainkey.example.org.", kind="CNAME")
    view = await seen(zone(), dict.fromkeys(("192.0.2.1", "192.0.2.2", "2001:db8::2"), alias))
    assert view.problem == "its aliases do not end"
    assert not everywhere(view)


@pytest.mark.parametrize("kind", [FailureKind.TIMEOUT, FailureKind.BOGUS])
async def test_servers_that_cannot_be_found_are_a_problem_and_never_no_servers(kind: FailureKind) -> None:
    view = await seen(World().fail("example.org", kind), {})
    assert kind.value in view.problem
    assert not everywhere(view)
    assert not view.nowhere


async def test_a_server_without_an_address_is_a_problem() -> None:
    made = World().add("example.org", "NS", "ns1.example.net.").add("example.org", "NS", "ns2.example.net.")
    made.add("ns1.example.net", "A", "192.0.2.1").fail("ns2.example.net")
    assert not everywhere(await seen(made, {"192.0.2.1": shows(RECORD)}))


async def test_gone_means_gone_everywhere() -> None:
    view = await seen(zone(), {"192.0.2.1": shows(), "192.0.2.2": shows(rcode=3), "2001:db8::2": shows()})
    assert view.nowhere
    view = await seen(zone(), {"192.0.2.1": shows(), "192.0.2.2": TimeoutError(), "2001:db8::2": shows()})
    assert not view.nowhere
