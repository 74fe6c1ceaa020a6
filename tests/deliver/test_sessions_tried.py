"""An attempt has a record of every session that it tried: what had to hold, what was shown, and whether it held."""

import pytest

from letterlock.deliver import seen
from letterlock.deliver.attempt import attempt
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Cleared, Demander, Encryption, SkipHost, SkipKind
from letterlock.policy.evidence import StartTls
from letterlock.queue.tasks import Attempt
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import Credential
from tests.deliver.test_same_way import Sender
from tests.deliver.world import (
    ADDRESS,
    BODY,
    HASTY,
    OPTIONS,
    HandDiscoverer,
    MemoryDialer,
    Server,
    answer,
    dane_ee,
    make_ports,
    make_task,
    raw,
)

OTHER = "192.0.2.2"


async def tried(dialer: MemoryDialer, world: HandDiscoverer) -> Attempt:
    return await attempt(make_task(), BODY, ports=make_ports(dialer, world), options=OPTIONS)


async def test_a_delivery_has_one_with_its_proof(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential))
    made = await tried(dialer, HandDiscoverer(tlsa={"mx.example.org": tlsa}))
    (session,) = made.sessions
    assert (session.host, session.address, session.port) == ("mx.example.org", ADDRESS, 25)
    assert isinstance(session.verdict, Cleared)
    assert session.evidence is not None
    assert isinstance(session.evidence.handshake, Completed)
    assert session.reasons == session.verdict.reasons
    assert session.began_at == made.connected_at
    assert not session.reused


async def test_each_address_and_each_host_has_its_own(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[OTHER] = Server(context)
    hosts = {"mx1.example.org": ("192.0.2.9", "192.0.2.10"), "mx2.example.org": (OTHER,)}
    made = await tried(dialer, HandDiscoverer(hosts=hosts))
    assert [(one.host, one.address) for one in made.sessions] == [
        ("mx1.example.org", "192.0.2.9"),
        ("mx1.example.org", "192.0.2.10"),
        ("mx2.example.org", OTHER),
    ]
    first, second, third = made.sessions
    for unreached in (first, second):
        assert (unreached.began_at, unreached.verdict, unreached.evidence) == (None, None, None)
        assert "refused" in (unreached.trouble or "")
    assert isinstance(third.verdict, Cleared)


async def test_a_session_that_was_held_back_says_by_what_and_why(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    made = await tried(dialer, HandDiscoverer(rule=TlsRule.REQUIRE_TLS))
    (session,) = made.sessions
    assert session.policies == {Demander.RULE}
    assert isinstance(session.verdict, SkipHost)
    assert session.verdict.kind is SkipKind.RULE
    assert session.evidence is not None
    assert session.evidence.starttls is StartTls.NOT_OFFERED


async def test_every_rung_of_the_ladder_has_its_own(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = raw(
        b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n", b"\x15\x03\x03\x00\x02\x02\x28"
    )
    made = await attempt(make_task(), BODY, ports=make_ports(dialer), options=HASTY)
    shown = [(one.requirement.encryption, one.evidence) for one in made.sessions]
    assert [encryption for encryption, _ in shown] == [Encryption.OPTIONAL, Encryption.OPTIONAL, Encryption.NONE]
    for _, evidence in shown[:2]:
        assert evidence is not None
        assert isinstance(evidence.handshake, HandshakeFailed)


async def test_of_a_session_that_breaks_off_the_trouble_is_known(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = raw(b"554 " + b"no" * 200 + b"\r\n")
    made = await tried(dialer, HandDiscoverer())
    (session,) = made.sessions
    assert session.verdict is None
    assert session.began_at is not None
    assert "refused to talk to us" in (session.trouble or "")
    assert len(session.trouble or "") <= seen.MAX_TROUBLE_CHARACTERS


async def test_a_kept_session_is_marked_as_reused(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    (first,), (second,) = (await sender.send()).sessions, (await sender.send()).sessions
    assert (first.reused, second.reused) == (False, True)
    assert second.evidence is first.evidence
    assert isinstance(second.verdict, Cleared)
    await sender.pool.close()


async def test_their_number_is_bounded_and_the_last_is_kept(
    dialer: MemoryDialer, context: ServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "MAX_SESSIONS", 2)
    dialer.handlers[OTHER] = Server(context)
    hosts = {"mx1.example.org": ("192.0.2.9", "192.0.2.10", "192.0.2.11"), "mx2.example.org": (OTHER,)}
    made = await tried(dialer, HandDiscoverer(hosts=hosts))
    assert [one.address for one in made.sessions] == ["192.0.2.9", OTHER]
