"""From the first handshake to the fallback that was earned: one ladder for delivery, `check` and `probe`."""

from pathlib import Path

import pytest

import letterlock
from letterlock.deliver.attempt import attempt
from letterlock.identity.trust import TrustRoots
from letterlock.inspect.probe import ByHand, Demand, probe
from letterlock.inspect.shared_sessions import SharedSessions
from letterlock.inspect.survey import survey
from letterlock.mtasts import Known, Mode, StsPolicy
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Level
from letterlock.policy.evidence import MxHost, Origin
from letterlock.queue.tasks import OutcomeKind
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import Credential
from tests.deliver.test_pool import Sender, dane
from tests.deliver.world import (
    ADDRESS,
    BODY,
    OPTIONS,
    HandDiscoverer,
    Handler,
    MemoryDialer,
    MemoryStream,
    Server,
    Wrapped,
    make_ports,
    make_task,
)
from tests.inspect.test_survey import NoReports

NAME = "mx.example.org"
UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"  # a fatal alert, 112 (RFC 6066 section 3)
NO_ROOTS = TrustRoots("none", ())


class _Guard(Wrapped):
    """A stream into a server that refuses every ClientHello with a name in it."""

    async def read(self, max_octets: int) -> bytes:
        data = await self.inner.read(max_octets)
        if data[:1] == b"\x16" and NAME.encode() in data:
            await self.inner.write(UNRECOGNIZED_NAME)
            return b""
        return data


def refusing_names(server: Server) -> Handler:
    async def handle(stream: MemoryStream) -> None:
        await server(_Guard(stream))

    return handle


@pytest.mark.parametrize("rule", [None, TlsRule.REQUIRE_TLS])
async def test_rfc6066_3_a_server_that_refuses_names_is_spoken_to_without_one(
    dialer: MemoryDialer, context: ServerContext, rule: TlsRule | None
) -> None:
    server = Server(context)
    dialer.handlers[ADDRESS] = refusing_names(server)
    made = await attempt(make_task(), BODY, ports=make_ports(dialer, HandDiscoverer(rule=rule)), options=OPTIONS)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]
    assert made.achieved is not None
    assert made.achieved.level is Level.ENCRYPTED
    assert dialer.handshakes == [(NAME, False), (None, True)]
    assert not any("MAIL" in line for line in server.clear)


@pytest.mark.parametrize("demanded_by", ["dane", "rule", "mta-sts"])
async def test_where_a_certificate_is_demanded_the_name_stays(
    dialer: MemoryDialer, context: ServerContext, credential: Credential, demanded_by: str
) -> None:
    dialer.handlers[ADDRESS] = refusing_names(server := Server(context))
    policy = StsPolicy(mode=Mode.ENFORCE, mx=(NAME,), max_age_seconds=86400)
    known = Known(policy=policy, id="1", fetched_at=0.0, expires_at=2e9, from_cache=True)
    discoverer = {
        "dane": dane(credential),
        "rule": HandDiscoverer(rule=TlsRule.VERIFY),
        "mta-sts": HandDiscoverer(sts=known),
    }[demanded_by]
    made = await attempt(make_task(), BODY, ports=make_ports(dialer, discoverer), options=OPTIONS)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DEFERRED]
    assert dialer.handshakes == [(NAME, False), (NAME, True)]
    assert server.messages == []


async def test_a_session_without_a_name_serves_the_next_message_that_demands_no_certificate(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    dialer.handlers[ADDRESS] = refusing_names(server := Server(context))
    sender = Sender(dialer)
    for _ in range(3):
        assert [outcome.kind for outcome in (await sender.send()).outcomes] == [OutcomeKind.DELIVERED]
    assert len(dialer.handshakes) == 2
    held = await sender.send(dane(credential))
    assert [outcome.kind for outcome in held.outcomes] == [OutcomeKind.DEFERRED]
    assert len(server.messages) == 3
    await sender.pool.close()


@pytest.mark.parametrize("server", ["refuses names", "has no TLS that works", "is well"])
async def test_delivery_check_and_probe_climb_the_same_ladder(context: ServerContext, server: str) -> None:
    """`check` and `probe` show what delivery does, so they must do it in the same way."""
    seen = []
    for look in ("attempt", "survey", "probe"):
        dialer = MemoryDialer()
        handlers: dict[str, Handler] = {
            "refuses names": refusing_names(Server(context)),
            "has no TLS that works": Server(extensions=("STARTTLS",)),
            "is well": Server(context),
        }
        dialer.handlers[ADDRESS] = handlers[server]
        discoverer = HandDiscoverer()
        ports = make_ports(dialer, discoverer)
        match look:
            case "attempt":
                await attempt(make_task(), BODY, ports=ports, options=OPTIONS)
            case "survey":
                await survey(
                    "example.org", ports=ports, options=OPTIONS, resolver=NoReports(), sessions=SharedSessions()
                )
            case "probe":
                host = MxHost(name=NAME, preference=0, origin=Origin.STATIC, secure=True)
                target = await discoverer.host(host, 25)
                await probe(target, ByHand(demand=Demand.NONE, roots=NO_ROOTS), ports=ports, options=OPTIONS)
        seen.append((dialer.dialled, dialer.handshakes))
        await dialer.aclose()
    assert seen[0] == seen[1] == seen[2]


def test_the_ladder_exists_once() -> None:
    """Whoever asks for a fallback by themselves has written a second one."""
    source = Path(letterlock.__path__[0])
    asking = {path.name for path in source.rglob("*.py") if "next_requirement(" in path.read_text()}
    assert asking == {"session.py", "judge.py"}
    opening = {path.name for path in source.rglob("*.py") if "open_session(" in path.read_text()}
    assert opening == {"session.py", "lmtp.py"}, "LMTP on this machine knows no TLS, and so no fallback"
