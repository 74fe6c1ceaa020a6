"""How a resolver's queries go over UDP without a task, and what becomes of those that need one."""

import asyncio
import gc

import dns.flags
import dns.message
import pytest

from letterlock.net.dns import UpstreamTransport
from letterlock.net.dns import transport as transport_module
from letterlock.resolver import Answer, FailureKind, LookupFailure, Resolver, driver
from tests.net.dns_servers import Server, asking, reply, serving, silent


async def looked_up(transport: UpstreamTransport, name: str = "www.example") -> Answer | LookupFailure:
    async with asyncio.timeout(20):  # against a test that hangs
        return await Resolver(transport, anchors=[]).resolve(name, "TXT")


def text_in(found: Answer | LookupFailure) -> str:
    assert isinstance(found, Answer), found
    return found.records[0].to_text().strip('"')


async def truncated(wire: bytes) -> list[bytes]:
    cut = dns.message.make_response(dns.message.from_wire(wire))
    cut.flags |= dns.flags.TC
    return [cut.to_wire()]


def others_than_ours(server: Server) -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task not in server.tasks}


async def test_a_query_that_is_answered_at_once_needs_no_task() -> None:
    async def counting(wire: bytes) -> list[bytes]:
        seen.update(others_than_ours(server))
        return [reply(wire)]

    seen: set[asyncio.Task[object]] = set()
    async with serving(counting) as server, asking(server) as transport:
        before = others_than_ours(server)
        assert text_in(await looked_up(transport)) == "good"
    assert seen <= before


async def test_rfc7766_5_a_truncated_reply_is_asked_for_over_tcp() -> None:
    async with serving(truncated) as server, asking(server) as transport:
        assert text_in(await looked_up(transport)) == "good"
        assert len(server.streamed) == 1


async def test_a_reply_that_is_truncated_over_tcp_too_is_no_answer_and_no_endless_loop() -> None:
    async with serving(truncated, truncated) as server, asking(server) as transport:
        found = await looked_up(transport)
        assert isinstance(found, LookupFailure)
        assert found.kind is FailureKind.MALFORMED
        assert len(server.streamed) == 1


async def test_a_query_without_a_reply_goes_on_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "FIRST_TRY_SECONDS", 0.02)
    async with serving(silent) as dead, serving() as alive, asking(dead, alive) as transport:
        assert text_in(await looked_up(transport)) == "good"


async def test_a_query_that_gave_way_leaves_neither_a_task_nor_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, value in (("PATIENCE_SECONDS", 0), ("MAX_QUERIES", 1), ("QUERIES_ASIDE", 0)):
        monkeypatch.setattr(driver, limit, value)

    async def only_others(wire: bytes) -> list[bytes]:
        return [] if b"slow" in wire else [reply(wire)]

    async with serving(only_others) as server, asking(server) as transport:
        resolver = Resolver(transport, anchors=[])
        before = others_than_ours(server)
        async with asyncio.timeout(20):  # against a test that hangs
            slow, quick = await asyncio.gather(
                resolver.resolve("www.slow", "TXT"), resolver.resolve("www.example", "TXT")
            )
        assert isinstance(slow, LookupFailure)
        assert (slow.kind, slow.ede) == (FailureKind.TIMEOUT, 22)
        assert text_in(quick) == "good"
        assert not transport.trying
        assert others_than_ours(server) == before


async def test_closing_ends_what_is_under_way() -> None:
    async with serving(silent) as server, asking(server) as transport:
        looking = asyncio.create_task(looked_up(transport))
        await asyncio.sleep(0)
        assert transport.trying == 1
        await transport.aclose()
        assert not transport.trying
        looking.cancel()
        await asyncio.wait([looking])


RING = {"SentQuery", "FirstTry", "Datagrams", "Section"}


async def test_a_query_that_was_answered_leaves_nothing_for_the_cycle_collector() -> None:
    """A ring of objects would keep the whole reply until the collector comes, which is seldom in a busy server."""
    async with serving() as server, asking(server) as transport:
        resolver = Resolver(transport, anchors=[])
        await resolver.resolve("first.example", "TXT")
        gc.collect()
        gc.disable()
        try:
            assert text_in(await resolver.resolve("www.example", "TXT")) == "good"
            left = {type(each).__name__ for each in gc.get_objects()} & {
                "SentQuery",
                "FirstTry",
                "Datagrams",
                "Section",
            }
        finally:
            gc.enable()
    assert not left
