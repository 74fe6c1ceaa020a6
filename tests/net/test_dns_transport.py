"""UDP, TCP and TLS to scripted servers on loopback."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from letterlock.net.dns import Upstream, UpstreamTransport, connections
from letterlock.net.dns import transport as transport_module
from letterlock.net.dns.upstream import UpstreamProof
from letterlock.resolver.answer import NoUpstream
from tests.certificates import authority
from tests.net.dns_servers import Server, asking, good, query, reply, serving, silent, text_of


@pytest.fixture(autouse=True)
def _short_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "FIRST_TRY_SECONDS", 0.08)


async def test_every_query_has_a_port_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "FIRST_TRY_SECONDS", 60)  # a second try would have a port of its own too
    all_asked = asyncio.Barrier(20)  # nobody is answered before all have asked: a port that was closed may come again

    async def good_once_all_have_asked(wire: bytes) -> list[bytes]:
        await all_asked.wait()
        return [reply(wire)]

    async with serving(good_once_all_have_asked) as server, asking(server, timeout_seconds=60) as transport:
        replies = await asyncio.gather(*(transport(query(f"n{number}.example."), False) for number in range(20)))
    assert {text_of(each) for each in replies} == {"good"}
    assert len(server.ports) == 20


async def test_rfc5452_9_1_datagrams_that_do_not_fit_are_passed_over_and_counted() -> None:
    async def forged(wire: bytes) -> list[bytes]:
        other = reply(query("other.example."), text="forged")
        wrong_id = (int.from_bytes(wire[:2], "big") ^ 1).to_bytes(2, "big") + reply(wire, text="forged")[2:]
        return [b"\0", other, wrong_id, wire, reply(wire)]

    async with serving(forged) as server, asking(server) as transport:
        assert text_of(await transport(query(), False)) == "good"
    assert transport.strays == 4


async def test_a_flood_of_guesses_moves_the_query_to_tcp() -> None:
    async def guesses(wire: bytes) -> list[bytes]:
        right = int.from_bytes(wire[:2], "big")
        forged = reply(wire, text="forged")
        return [((right + guess) % 65536).to_bytes(2, "big") + forged[2:] for guess in range(1, 90)]

    async with serving(guesses) as server, asking(server) as transport:
        assert text_of(await transport(query(), False)) == "good"
        assert len(server.streamed) == 1


async def test_0x20_demands_the_case_back() -> None:
    async def lowering(wire: bytes) -> list[bytes]:
        lowered = wire[:12] + wire[12:].lower()
        return [reply(lowered, text="forged"), reply(wire)]

    name = "some.quite.long.name.with.many.letters.example."
    async with serving(lowering) as server, asking(server, mixed_case=True) as transport:
        got = await transport(query(name), False)
    assert text_of(got) == "good"
    assert str(dns.message.from_wire(got).question[0].name) == name


async def test_rfc7766_6_2_1_1_one_connection_carries_many_queries_answered_in_any_order() -> None:
    answered = [asyncio.Event() for _ in range(21)]
    answered[20].set()

    async def reversed_order(wire: bytes) -> list[bytes]:
        number = int(str(dns.message.from_wire(wire).question[0].name).split(".", maxsplit=1)[0][1:])
        await answered[number + 1].wait()
        answered[number].set()
        return [reply(wire, text=str(number))]

    async with serving(tcp=reversed_order) as server, asking(server) as transport:
        wires = [query(f"n{number}.example.", message_id=7) for number in range(20)]  # even with the same id
        replies = await asyncio.gather(*(transport(wire, True) for wire in wires))
        assert server.connections == 1
    assert [text_of(each) for each in replies] == [str(number) for number in range(20)]
    assert all(each[:2] == (7).to_bytes(2, "big") for each in replies)


async def test_a_kept_connection_that_the_peer_closed_is_opened_again() -> None:
    async with serving() as server, asking(server) as transport:
        await transport(query(), True)
        ended = tuple(server.tasks)
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        assert text_of(await transport(query(), True)) == "good"
        assert server.connections == 2


async def test_a_babbling_stream_ends_in_an_error_and_not_in_an_answer() -> None:
    async def other(wire: bytes) -> list[bytes]:
        return [reply(query("other.example.")), b"", b"x" * 70]

    async with serving(tcp=other) as server, asking(server, timeout_seconds=0.2) as transport:
        with pytest.raises(TimeoutError):
            await transport(query(), True)


async def test_silence_ends_at_the_deadline_with_the_names_of_the_silent() -> None:
    async with serving(silent) as server, asking(server, timeout_seconds=0.3) as transport:
        begun = time.monotonic()
        with pytest.raises(NoUpstream, match=rf"{server.upstream} answered nothing at all within 0.3 s"):
            await transport(query(), False)
        assert time.monotonic() - begun < 1
    assert sum(b"example" in each for each in server.datagrams) == 3  # at 0, 0.08 and 0.24 s


async def test_a_silent_upstream_is_left_for_another_and_asked_last_next_time() -> None:
    async with serving(silent) as dead, serving() as alive, asking(dead, alive) as transport:
        for _ in range(5):
            assert text_of(await transport(query(), False)) == "good"
    assert sum(b"example" in each for each in dead.datagrams) == 1


async def test_a_late_answer_counts() -> None:
    async def late(wire: bytes) -> list[bytes]:
        await asyncio.sleep(0.15)
        return [reply(wire, text="late")]

    async with serving(late) as slow, serving(silent) as dead, asking(slow, dead) as transport:
        assert text_of(await transport(query(), False)) == "late"
    assert sum(b"example" in each for each in slow.datagrams) == 1


async def test_the_quicker_upstream_is_asked_first() -> None:
    async def slow(wire: bytes) -> list[bytes]:
        await asyncio.sleep(0.06)
        return [reply(wire)]

    async with serving(slow) as far, serving() as near, asking(far, near) as transport:
        for _ in range(12):
            await transport(query(), False)
    assert len(near.datagrams) > len(far.datagrams)


@pytest.mark.parametrize("rcode", [dns.rcode.REFUSED, dns.rcode.SERVFAIL, dns.rcode.FORMERR, dns.rcode.NOTIMP])
async def test_a_refusal_makes_the_next_upstream_be_asked(rcode: dns.rcode.Rcode) -> None:
    async def refusing(wire: bytes) -> list[bytes]:
        return [reply(wire, rcode=rcode)]

    async with serving(refusing) as bad, serving() as fine, asking(bad, fine) as transport:
        assert text_of(await transport(query(), False)) == "good"


async def test_when_all_refuse_their_refusal_is_the_answer() -> None:
    async def failing(wire: bytes) -> list[bytes]:
        return [reply(wire, rcode=dns.rcode.SERVFAIL)]

    async with serving(failing) as one, serving(failing) as other, asking(one, other) as transport:
        got = await transport(query(), False)
    assert dns.message.from_wire(got).rcode() == dns.rcode.SERVFAIL
    assert (len(one.datagrams), len(other.datagrams)) == (1, 1)


async def test_nobody_listening_is_an_error_at_once() -> None:
    async with serving(tcp=None) as server:
        nobody = server.upstream
    async with asking(nobody) as transport:
        for tcp in (False, True):
            with pytest.raises(NoUpstream, match=r"127\.0\.0\.1:.*refused"):
                await transport(query(), tcp)


async def test_an_upstream_that_is_silent_about_everything_is_told_from_one_that_has_no_reply_to_one_question() -> None:
    """A second question, about the root's servers, tells them apart when nothing else is asked."""

    async def slow_domain(wire: bytes) -> list[bytes]:
        return [] if b"example" in wire else [reply(wire)]

    async with serving(silent) as dead, asking(dead, timeout_seconds=0.3) as transport:
        with pytest.raises(NoUpstream, match="answered nothing at all"):
            await transport(query(), False)
    async with serving(slow_domain) as alive, asking(alive, timeout_seconds=0.3) as transport:
        with pytest.raises(TimeoutError, match="but answered others"):
            await transport(query(), False)
    asked = {dns.message.from_wire(each).question[0].to_text() for each in alive.datagrams}
    assert asked == {"www.example. IN A", ". IN NS"}


def test_a_transport_can_be_used_in_one_event_loop_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_QUERIES", 1)  # some wait, and so belong to the loop
    transport = UpstreamTransport([Upstream("127.0.0.1", 1)])

    async def ask() -> None:
        asked = (transport(query(), tcp) for tcp in (False, True, True))
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each) for each in ended] == [NoUpstream] * 3

    asyncio.run(ask())
    asyncio.run(ask())


async def test_ipv6() -> None:
    async with serving(host="::1") as server, asking(server) as transport:
        assert text_of(await transport(query(), False)) == "good"
        assert text_of(await transport(query(), True)) == "good"


async def test_a_cancelled_query_leaves_nothing_behind() -> None:
    async with serving(silent, silent) as server, asking(server) as transport:
        before = asyncio.all_tasks()
        for tcp in (False, True):
            attempt = asyncio.create_task(transport(query(), tcp))
            await asyncio.sleep(0.02)
            attempt.cancel()
            with suppress(asyncio.CancelledError):
                await attempt
        await transport.aclose()
        assert not {task for task in asyncio.all_tasks() - before if task not in server.tasks}


def test_no_upstream_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="upstream is needed"):
        UpstreamTransport([])


# --- RFC 7858 --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def over_tls(directory: Path, name: str = "dns.example") -> AsyncIterator[tuple[Server, Path, bytes]]:
    """A server over TLS, the file of its root, and the hash of its key."""
    root = authority()
    credential = root.leaf(name)
    certificate, key = credential.write(directory)
    roots = directory / "roots.pem"
    roots.write_text(ssl.DER_cert_to_PEM_cert(root.der))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with serving(silent, good, tls=context) as server:
        yield server, roots, sha256(credential.spki).digest()


def by(server: Server, name: str | None = None, pin: bytes | None = None) -> Upstream:
    return replace(server.upstream, tls=UpstreamProof(name, pin))


async def test_rfc7858_an_upstream_that_proves_its_name_or_key_is_asked_over_one_connection(tmp_path: Path) -> None:
    async with over_tls(tmp_path) as (server, roots, pin):
        for upstream in (by(server, "dns.example"), by(server, pin=pin), by(server, "dns.example", pin)):
            server.connections = 0
            async with aclosing(UpstreamTransport([upstream], roots=roots)) as transport:
                assert text_of(await transport(query(), False)) == "good"
                assert text_of(await transport(query(), True)) == "good"
            assert server.connections == 1
    assert not server.datagrams


async def test_rfc7858_4_an_impostor_is_never_asked(tmp_path: Path) -> None:
    async with over_tls(tmp_path) as (server, roots, pin):
        for upstream, trusted, told in (
            (by(server, "other.example"), roots, "certificate is not good"),
            (by(server, "dns.example"), None, "certificate is not good"),
            (by(server, pin=bytes(32)), roots, "not the pinned one"),
            (by(server, "dns.example", bytes(32)), roots, "not the pinned one"),
            (by(server, "other.example", pin), roots, "certificate is not good"),
        ):
            async with aclosing(UpstreamTransport([upstream], roots=trusted)) as transport:
                with pytest.raises(NoUpstream, match=told):
                    await transport(query(), False)
    assert not server.streamed


async def test_rfc7858_no_fallback_to_clear() -> None:
    async with serving() as server, asking(by(server, "dns.example"), timeout_seconds=1) as transport:
        with pytest.raises(OSError, match=r"TLS|closed|nothing at all"):
            await transport(query(), False)
    assert not server.datagrams


class _Shows:
    """A finished handshake in which a server showed these octets as its certificate."""

    def __init__(self, octets: bytes | None) -> None:
        self._octets = octets

    def get_extra_info(self, _name: str) -> "_Shows":
        return self

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        assert binary_form
        return self._octets


@pytest.mark.parametrize("octets", [None, b"", b"\x30\x03\x02\x01\x00", authority().der[:-1]])
def test_rfc7858_4_2_a_certificate_that_cannot_be_read_has_no_pinned_key(octets: bytes | None) -> None:
    assert not connections._pinned(_Shows(octets), bytes(32))  # type: ignore[arg-type]  # all that is asked of it


def test_rfc7858_4_2_the_pin_is_that_of_the_key_as_it_is_encoded() -> None:
    leaf = authority().leaf("dns.example")
    assert connections._pinned(_Shows(leaf.der), sha256(leaf.spki).digest())  # type: ignore[arg-type]  # as above
