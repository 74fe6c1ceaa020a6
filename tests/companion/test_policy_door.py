"""The policy door over real sockets: the maps, the order of answers, clients that do not behave, and the end."""

import asyncio
import ipaddress
import json
import socket
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest

from letterlock.companion import policy_door
from letterlock.companion.options import PolicyServerOptions
from letterlock.companion.policy_door import IDLE_SECONDS
from letterlock.mtasts import Absent, Mode
from letterlock.routing.destination_rule import TlsRule
from letterlock.socketmap.netstrings import netstring
from tests.companion.asking import Worlds, open_door
from tests.companion.situations import WITHOUT_OLD_TLS
from tests.companion.world import FAILS, UNSIGNED, World, demand, sts
from tests.policy.evidence import HOST, INSECURE

VECTORS = Path(__file__).parents[1] / "socketmap" / "vectors" / "postfix-mta-sts-resolver.json"
DANE_ONLY = f"OK dane-only {WITHOUT_OLD_TLS}"
NOTHING = World(mx_security=INSECURE, hosts={HOST: UNSIGNED})
ENFORCED = World(mx_security=INSECURE, hosts={HOST: UNSIGNED}, sts=sts(Mode.ENFORCE, HOST))


async def test_the_maps_of_postfix_tlspol_are_served_in_any_spelling() -> None:
    async with open_door(Worlds(sts_example=ENFORCED, nothing_example=NOTHING)) as running:
        client = await running.client()
        assert await client.ask("QUERY example.org") == DANE_ONLY
        assert await client.ask("query sts.example") == f"OK secure match={HOST} servername=hostname {WITHOUT_OLD_TLS}"
        reporting = await client.ask("QUERYwithTLSRPT sts.example")
        assert "policy_type=sts policy_domain=" in reporting
        assert await client.ask("QUERY nothing.example") == "NOTFOUND "
        assert await client.ask("QUERY .nothing.example") == "NOTFOUND "
        assert (await client.ask("hash example.org")).startswith("PERM ")
        assert running.door.answers == {b"OK": 3, b"NOTFOUND": 2, b"PERM": 1}


def _world(domain: str) -> World:
    """The domains of the public table of postfix-mta-sts-resolver, by its description."""
    policies = {
        "good.loc": sts(Mode.ENFORCE, "mail.loc"),
        "valid-none.loc": sts(Mode.NONE),
        "testing.loc": sts(Mode.TESTING, "mail.loc"),
    }
    return World(
        mx=("10 mail.loc.",),
        mx_security=INSECURE,
        hosts={"mail.loc": UNSIGNED, "good.loc": UNSIGNED, "no-record.loc": UNSIGNED},
        sts=policies.get(domain, Absent()),
        domain=domain,
    )


@pytest.mark.parametrize("each", json.loads(VECTORS.read_text()), ids=lambda each: each["request"])
async def test_the_public_table_of_postfix_mta_sts_resolver(each: dict[str, str]) -> None:
    """Its map names are of its own configuration; the keys and the answers are the same, but for TLS versions."""
    key = each["request"].partition(" ")[2]
    domain = key.partition("]")[0].removeprefix("[").partition(":")[0]
    worlds = Worlds()
    worlds.default = _world(domain)
    async with open_door(worlds) as running:
        assert (await running.ask(f"QUERY {key}")).removesuffix(f" {WITHOUT_OLD_TLS}") == each["reply"]


async def test_answers_come_in_the_order_of_the_questions() -> None:
    worlds = Worlds(nothing_example=NOTHING)
    async with open_door(worlds) as running:
        client = await running.client()
        assert await client.ask("QUERY nothing.example") == "NOTFOUND "
        worlds.gate = asyncio.Event()
        client.send("QUERY example.org", "QUERY nothing.example", "QUERY .x", "QUERY example.org")
        await asyncio.sleep(0)
        worlds.gate.set()
        assert [await client.reply() for _ in range(4)] == [DANE_ONLY, "NOTFOUND ", "NOTFOUND ", DANE_ONLY]
        assert worlds.asked == ["nothing.example", "example.org"]


async def test_a_request_may_come_byte_by_byte() -> None:
    async with open_door() as running:
        client = await running.client()
        for byte in netstring(b"QUERY example.org"):
            client.writer.write(bytes([byte]))
            await client.writer.drain()
        assert await client.reply() == DANE_ONLY


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n\r\n", b"get example.org\n", b"5:QUERY,", b"10001:", b"-1:x,"])
async def test_another_protocol_is_told_so_and_ended(octets: bytes) -> None:
    async with open_door() as running:
        client = await running.client()
        client.writer.write(octets)
        assert (await client.reply()).startswith("PERM ")
        assert await client.ended()
        assert await running.ask("QUERY example.org") == DANE_ONLY


async def test_a_connection_stays_open_longer_than_postfix_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert IDLE_SECONDS > 102  # of postfix-tlspol, whose users found that 100 is too few
    async with open_door() as running:
        client = await running.client()
        await client.ask("QUERY example.org")
        [connection] = running.door._doors.connections
        now = asyncio.get_running_loop().time()
        connection.end_if_idle(now + 103)
        assert await client.ask("QUERY example.org") == DANE_ONLY
        connection.end_if_idle(now + IDLE_SECONDS + 10)
        assert await client.ended()


async def test_whoever_waits_when_the_server_stops_is_answered() -> None:
    worlds = Worlds()
    async with open_door(worlds) as running:
        worlds.gate = asyncio.Event()
        client = await running.client()
        client.send("QUERY example.org", "QUERY other.example")
        await worlds.begun.wait()
        await running.door.stop()
        assert [await client.reply() for _ in range(2)] == ["TEMP the policy server is being stopped"] * 2
        assert await client.ended()


async def test_who_is_not_on_the_access_list_gets_no_answer() -> None:
    options = PolicyServerOptions(allow=(ipaddress.ip_network("192.0.2.0/24"),))
    async with open_door(options=options) as running:
        client = await running.client()
        assert await client.reply() == "TEMP this client may not ask here"
        assert await client.ended()


async def test_connections_are_bounded() -> None:
    async with open_door(options=PolicyServerOptions(max_connections=1)) as running:
        first = await running.client()
        assert await first.ask("QUERY example.org") == DANE_ONLY
        assert await (await running.client()).reply() == "TEMP too many connections"
        assert await first.ask("QUERY example.org") == DANE_ONLY


async def test_questions_ahead_of_their_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_door, "MAX_WAITING", 5)
    worlds = Worlds()
    async with open_door(worlds) as running:
        worlds.gate = asyncio.Event()
        client = await running.client()
        client.send(*(f"QUERY d{number}.example" for number in range(6)))
        assert await client.reply() == "TEMP too many questions ahead of their answers"
        assert await client.ended()


async def test_a_client_that_leaves_does_not_end_the_decision_of_others() -> None:
    worlds = Worlds()
    async with open_door(worlds) as running:
        worlds.gate = asyncio.Event()
        hasty, patient = await running.client(), await running.client()
        hasty.send("QUERY example.org")
        patient.send("QUERY example.org")
        await worlds.begun.wait()
        hasty.writer.close()
        await hasty.writer.wait_closed()
        worlds.gate.set()
        assert await patient.reply() == DANE_ONLY


async def test_a_bug_is_a_temporary_failure_and_the_door_stays_open() -> None:
    worlds = Worlds()
    async with open_door(worlds) as running:
        worlds.worlds = None  # type: ignore[assignment]  # so that the decision raises
        client = await running.client()
        assert await client.ask("QUERY example.org") == "TEMP internal error of the policy server: see its log"
        worlds.worlds = {}
        assert await client.ask("QUERY example.org") == DANE_ONLY


async def test_the_transport_map_sends_what_is_protected_or_unknown_through_the_relay_door() -> None:
    worlds = Worlds(nothing_example=NOTHING, unknown_example=World(mx=FAILS))
    worlds.worlds |= {"own_example": World()}
    options = PolicyServerOptions(local_domains=frozenset({"own.example"}))
    async with open_door(worlds, options) as running:
        client, relay = await running.client(), "OK smtp:[127.0.0.1]:2525"
        assert await client.ask("transport example.org") == relay
        assert await client.ask("transport nothing.example") == "NOTFOUND "
        assert await client.ask("transport unknown.example") == relay
        assert await client.ask("transport own.example") == "NOTFOUND "
        assert await client.ask("transport user@example.org") == "NOTFOUND "
        assert await client.ask("transport *") == "NOTFOUND "


async def test_the_transport_map_may_send_everything() -> None:
    options = PolicyServerOptions(transport="all", relay="smtp:[::1]:26", local_domains=frozenset({"own.example"}))
    async with open_door(Worlds(nothing_example=NOTHING), options) as running:
        client = await running.client()
        assert await client.ask("transport nothing.example") == "OK smtp:[::1]:26"
        assert await client.ask("transport own.example") == "NOTFOUND "


async def test_trivial_rewrite_does_not_wait_for_slow_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_door, "TRANSPORT_SECONDS", 0.0)
    worlds = Worlds()
    async with open_door(worlds) as running:
        worlds.gate = asyncio.Event()
        assert await running.ask("transport example.org") == "OK smtp:[127.0.0.1]:2525"


async def test_operators_query_dump_and_purge_by_the_verbs_of_postfix_tlspol() -> None:
    async with open_door() as running:
        client = await running.client()
        await client.ask("QUERY example.org")
        asked = json.loads((await client.ask("JSON example.org")).removeprefix("OK "))
        assert asked["answer"] == DANE_ONLY
        assert asked["hosts"][0]["name"] == HOST
        dumped = json.loads((await client.ask("DUMP ")).removeprefix("OK "))
        assert [each["next_hop"] for each in dumped["destinations"]] == ["example.org"]
        assert json.loads((await client.ask("PURGE ")).removeprefix("OK ")) == {"purged": 1}
        assert len(running.memory) == 0
        assert "is not a next hop" in await client.ask("JSON .x")


async def test_a_unix_socket_is_served_too(tmp_path: Path) -> None:
    async with open_door() as running:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(tmp_path / "policy"))
            listening.listen()
            listening.setblocking(False)
            await running.door.start([listening])
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "policy"))
            writer.write(netstring(b"QUERY example.org"))
            framed = netstring(DANE_ONLY.encode())
            assert await reader.readexactly(len(framed)) == framed
            writer.close()


async def test_other_options_take_effect_and_what_was_decided_is_forgotten() -> None:
    async with open_door(Worlds(nothing_example=NOTHING)) as running:
        client = await running.client()
        assert await client.ask("transport nothing.example") == "NOTFOUND "
        running.door.reload(PolicyServerOptions(transport="all"))
        assert len(running.memory) == 0
        assert await client.ask("transport nothing.example") == "OK smtp:[127.0.0.1]:2525"


async def test_a_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_door, "MAX_UNREAD_OCTETS", 10_000)
    async with open_door(Worlds(sts_example=ENFORCED)) as running:
        client = await running.client()
        await client.ask("QUERYwithTLSRPT sts.example")
        asked = netstring(b"QUERYwithTLSRPT sts.example") * 200
        with suppress(ConnectionError):
            while running.door.connections:
                client.writer.write(asked)
                await client.writer.drain()
                await asyncio.sleep(0)
        assert running.door.connections == 0


async def test_a_rule_for_everything_does_not_hold_for_filters_and_the_relay_door_on_loopback() -> None:
    worlds = Worlds()
    worlds.default = World(mx_security=INSECURE, hosts={HOST: UNSIGNED}, rules=(demand(TlsRule.REQUIRE_TLS, "*"),))
    async with open_door(worlds) as running:
        client = await running.client()
        for hop in ("[127.0.0.1]:2525", "[127.0.0.1]:10024", "[::1]:26", "[localhost]:10024"):
            assert await client.ask(f"QUERY {hop}") == "NOTFOUND "
            assert '"answer": "NOTFOUND "' in await client.ask(f"JSON {hop}")
        assert await client.ask("QUERY [192.0.2.1]:2525") == f"OK encrypt {WITHOUT_OLD_TLS}"
        assert await client.ask("QUERY example.org") == f"OK encrypt {WITHOUT_OLD_TLS}"


async def test_a_client_without_an_address_is_local_only_on_a_unix_socket() -> None:
    async with open_door(Worlds()) as running:
        for family, allowed in ((socket.AF_INET, False), (socket.AF_INET6, False), (socket.AF_UNIX, True)):
            connection = policy_door._Connection(running.door._doors)
            known = {"peername": None, "socket": Mock(family=family)}
            connection.connection_made(Mock(get_extra_info=known.get))
            assert connection._is_local is allowed
            assert (connection in running.door._doors.connections) is allowed
            connection.connection_lost(None)
