"""The envelope of the message that waits goes out in one group with the content of the one before it, in its session.

RFC 2920 section 3.1: the transfer of a content may be the first "command" of a group. Each message has its own reply,
its own proof and its own outcome; one whose envelope went out behind another is never in doubt for that.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from letterlock.deliver.contents import MEMORY
from letterlock.deliver.following import look_ahead
from letterlock.deliver.route_settings import RouteSettings, SettingsByRoute
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import TlsDemand
from letterlock.net.sources import SourceAddresses
from letterlock.ports import Stream
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind
from letterlock.routing.domain_table import DomainTable
from letterlock.schedule.deliverer import Deliverer
from tests.deliver.conftest import Ear
from tests.deliver.test_same_way import Looking
from tests.deliver.test_unforeseen import Fuse, Wire
from tests.deliver.world import (
    ADDRESS,
    ANN,
    HASTY,
    OPTIONS,
    HandClock,
    MemoryDialer,
    Wrapped,
    answer,
    lookup_failure,
    make_ports,
    make_task,
)
from tests.schedule.group_server import CLOSE, SILENCE, GroupServer
from tests.schedule.hand_store import HandStore
from tests.schedule.test_deliverer import until, working

EVE = Mailbox("eve", "example.org")


@dataclass
class Relay:
    """A deliverer that is handed messages, with one session at first."""

    deliverer: Deliverer
    store: HandStore

    def give(self, *names: str, body: bytes = b"hello\r\n", **changes: Any) -> None:
        """Accept messages with these names as subjects, all at once."""
        for name in names:
            self.give_one(name, body, **changes)

    def give_one(self, name: str, body: bytes, *, to: Sequence[Mailbox] = (ANN,), **changes: Any) -> None:
        content = b"Subject: " + name.encode() + b"\r\n\r\n" + body
        envelope = replace(make_task(*to, message_id=name).envelope, size=len(content), **changes)
        leases = self.deliverer.prepare(envelope)
        for lease in leases:
            self.store.leased[lease.token] = DeliveryTask(
                lease=lease, envelope=envelope, recipients=tuple(to), attempts=0
            )
        self.deliverer.take(envelope, content, leases)

    @property
    def made(self) -> dict[str, Attempt]:
        """The attempt at each message that was settled."""
        return {attempt.message_id: attempt for _, attempt in self.store.settled}

    async def settled(self, *names: str) -> None:
        """Wait for these."""
        await until(lambda: set(names) <= self.made.keys())

    async def idle(self) -> None:
        """Wait until nothing is in progress."""
        await until(lambda: not self.deliverer._deliveries)

    def outcomes(self) -> dict[str, tuple[OutcomeKind, bool]]:
        """What became of each, and whether it is in doubt."""
        return {name: (each.outcomes[0].kind, each.outcomes[0].in_doubt) for name, each in self.made.items()}


OUT_OF_ORDER = b"503 5.5.1 order\r\n"
LATER = b"451 4.7.1 later\r\n"
DELIVERED = OutcomeKind.DELIVERED, False
IN_DOUBT = OutcomeKind.DEFERRED, True
DEFERRED = OutcomeKind.DEFERRED, False
FAILED = OutcomeKind.FAILED, False


@asynccontextmanager
async def relay(dialer: MemoryDialer, server: GroupServer, **changes: Any) -> AsyncIterator[Relay]:
    clock = HandClock()
    store = HandStore(clock)
    dialer.handlers[ADDRESS] = server
    changes = {"max_concurrent_per_destination": 1} | changes
    async with working(store, dialer, Looking(clock=clock), **changes) as deliverer:
        yield Relay(deliverer, store)


async def test_rfc2920_3_1_a_content_and_the_next_envelope_are_one_group(dialer: MemoryDialer) -> None:
    server = GroupServer()
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2", "M3")
        await sending.settled("M1", "M2", "M3")
    assert server.messages == [(1, "M1"), (1, "M2"), (1, "M3")]
    content = b"Subject:  hello . "
    assert server.groups[:4] == [
        b"MAIL RCPT DATA",
        content + b"MAIL RCPT DATA",
        content + b"MAIL RCPT DATA",
        content.strip(),
    ]
    assert set(sending.outcomes().values()) == {DELIVERED}
    assert [made.sessions[-1].reused for made in sending.made.values()] == [False, True, True]


async def test_what_goes_in_a_group_goes_by_data_whatever_else_is_offered(dialer: MemoryDialer) -> None:
    """Its 354 is like no other reply: so a reply too many cannot pass for the one to a content."""
    server = GroupServer(extensions=("PIPELINING", "CHUNKING"))
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2", "M3", "M4", body=b".dot\r\n")
        await sending.settled("M1", "M2", "M3", "M4")
    assert server.messages == [(1, f"M{number}") for number in (1, 2, 3, 4)]
    assert server.groups[0].startswith(b"MAIL RCPT BDAT"), "the first of a session goes with its envelope"
    assert [b"BDAT" in group for group in server.groups[1:5]] == [False, True, False, False]
    assert b"..dot" in server.heard[4]
    assert set(sending.outcomes().values()) == {DELIVERED}


@pytest.mark.parametrize("extensions", [("8BITMIME",), ("CHUNKING",)])
async def test_without_pipelining_nothing_goes_in_groups(dialer: MemoryDialer, extensions: tuple[str, ...]) -> None:
    server = GroupServer(extensions=extensions)
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2")
        await sending.settled("M1", "M2")
    assert server.messages == [(1, "M1"), (1, "M2")]
    assert not [group for group in server.groups if b"MAIL" in group and group != b"MAIL"]


@pytest.mark.parametrize(
    ("answers", "first", "second", "broke"),
    [
        pytest.param({". 1": CLOSE}, IN_DOUBT, DELIVERED, True, id="closes-instead-of-the-answer"),
        pytest.param({"MAIL 2": CLOSE}, DELIVERED, DELIVERED, True, id="closes-behind-the-answer"),
        pytest.param({"RCPT 2": CLOSE}, DELIVERED, DELIVERED, True, id="closes-behind-mail"),
        pytest.param({". 1": b"421 4.3.2 bye\r\n"}, DEFERRED, DELIVERED, False, id="421-to-the-content"),
        pytest.param({"MAIL 2": b"421 4.3.2 bye\r\n"}, DELIVERED, DELIVERED, False, id="421-to-mail"),
        pytest.param({". 1": b"550 5.7.1 spam\r\n"}, FAILED, DELIVERED, False, id="content-refused"),
        pytest.param({". 1": b"451 4.3.0 later\r\n"}, DEFERRED, DELIVERED, False, id="content-deferred"),
        pytest.param(
            {"MAIL 2": b"550 5.1.8 no\r\n", "RCPT 2": OUT_OF_ORDER},
            DELIVERED,
            FAILED,
            False,
            id="mail-refused",
        ),
        pytest.param(
            {"MAIL 2": LATER, "RCPT 2": OUT_OF_ORDER},
            DELIVERED,
            DEFERRED,
            False,
            id="mail-deferred",
        ),
        pytest.param({"RCPT 2": b"550 5.1.1 who\r\n"}, DELIVERED, FAILED, False, id="recipient-refused"),
        pytest.param({"RCPT 2": b"450 4.2.0 grey\r\n"}, DELIVERED, DEFERRED, False, id="recipient-deferred"),
        pytest.param(
            {"MAIL 2": OUT_OF_ORDER, "RCPT 2": OUT_OF_ORDER}, DELIVERED, DELIVERED, True, id="mail-not-understood"
        ),
        pytest.param({"RCPT 2": b"500 5.5.2 what\r\n"}, DELIVERED, DELIVERED, True, id="recipient-not-understood"),
        pytest.param({"DATA 2": b"554 5.5.0 pipelining\r\n"}, DELIVERED, DELIVERED, True, id="data-refused"),
        pytest.param({"DATA 2": b"451 4.3.0 later\r\n"}, DELIVERED, DEFERRED, False, id="data-deferred"),
        pytest.param({". 1": b"250 ok\r\n250 again\r\n"}, IN_DOUBT, DELIVERED, True, id="a-reply-too-many"),
        pytest.param({". 1": SILENCE}, IN_DOUBT, DELIVERED, True, id="a-reply-too-few"),
        pytest.param({". 1": b"354 go\r\n"}, IN_DOUBT, DELIVERED, True, id="another-order"),
        pytest.param({". 1": b"250 ok\r\nnonsense\r\n"}, IN_DOUBT, DELIVERED, True, id="nonsense"),
    ],
)
async def test_each_message_has_its_own_reply_and_its_own_outcome(
    dialer: MemoryDialer,
    answers: Mapping[str, bytes],
    first: tuple[OutcomeKind, bool],
    second: tuple[OutcomeKind, bool],
    broke: bool,
) -> None:
    server = GroupServer(answers)
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2")
        await sending.settled("M1")
        sending.deliverer.forgive(None)  # a 421 has the place rest
        await sending.settled("M2")
        assert sending.outcomes() == {"M1": first, "M2": second}
        assert server.groups[1].endswith(b"MAIL RCPT DATA"), "they were in one group"
        assert [message for message in server.messages if message[1] == "M2"] == (
            [] if second != DELIVERED else [(1 if not broke and "421" not in str(answers) else 2, "M2")]
        )
        pool, now = sending.deliverer._pool, sending.store.clock.now()
        assert pool.broken_groups.at("mx.example.org", 25, now) is broke
        assert not pool.broken_groups.at("mx.example.org", 25, now + 3600)
    assert all(task.attempts == 0 for task in sending.store.leased.values())


async def test_where_a_session_was_lost_in_a_group_nothing_follows_a_content_for_an_hour(
    dialer: MemoryDialer, heard: Ear
) -> None:
    server = GroupServer({"MAIL 2": CLOSE})
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2", "M3", "M4")
        await sending.settled("M1", "M2", "M3", "M4")
    assert server.messages == [(1, "M1"), (2, "M2"), (2, "M3"), (2, "M4")]
    assert "no envelope follows a content for an hour" in heard.text
    written = bytes(dialer.clients[1].written)
    assert written.count(b"MAIL FROM") == 3


async def test_rfc5321_4_5_3_2_6_a_follower_that_gets_no_answer_goes_to_a_new_session(dialer: MemoryDialer) -> None:
    server = GroupServer({"MAIL 2": SILENCE, "RCPT 2": SILENCE, "DATA 2": SILENCE})
    async with relay(dialer, server, timeouts=replace(HASTY.timeouts, mail=0.02)) as sending:
        sending.give("M1", "M2")
        await sending.settled("M1", "M2")
    assert server.messages == [(1, "M1"), (2, "M2")]
    assert set(sending.outcomes().values()) == {DELIVERED}


async def test_the_leader_waits_for_its_own_answer_as_long_as_without_a_follower(dialer: MemoryDialer) -> None:
    server = GroupServer({". 1": SILENCE, "MAIL 2": SILENCE, "RCPT 2": SILENCE, "DATA 2": SILENCE})
    async with relay(dialer, server, timeouts=replace(HASTY.timeouts, mail=60.0, message=0.02)) as sending:
        sending.give("M1", "M2")
        await sending.settled("M1", "M2")
        assert "no answer within 0 seconds: message" in sending.made["M1"].outcomes[0].text
    assert sending.outcomes() == {"M1": IN_DOUBT, "M2": DELIVERED}


async def test_nobody_accepted_of_the_follower_the_session_goes_on(dialer: MemoryDialer) -> None:
    """RFC 2920 section 3.1: an unwanted 354 is ended with an empty message, and the next one is not mistaken for it."""
    server = GroupServer({"RCPT 2": b"550 5.1.1 who\r\n", "DATA 2": b"354 go\r\n", ". 2": b"554 5.5.1 nobody\r\n"})
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2", "M3")
        await sending.settled("M1", "M2", "M3")
    assert server.messages == [(1, "M1"), (1, "M3")]
    assert sending.outcomes() == {"M1": DELIVERED, "M2": FAILED, "M3": DELIVERED}


async def test_recipients_left_for_another_transaction_come_before_other_messages(dialer: MemoryDialer) -> None:
    """RFC 5321 section 4.5.3.1.10: the session is this message's until all its recipients were sent to."""

    class OneEach(GroupServer):
        """It takes one recipient each time."""

    server = OneEach({"RCPT 1": b"250 Ok\r\n"})
    many = [Mailbox(f"u{number}", "example.org") for number in range(101)]
    async with relay(dialer, server) as sending:
        sending.give("M1", to=many)
        sending.give("M2")
        await sending.settled("M1", "M2")
    assert server.messages == [(1, "M1"), (1, "M1"), (1, "M2")]
    assert server.groups[1] == b"Subject:  hello .", "the first hundred"
    assert server.groups[3].endswith(b"MAIL RCPT DATA"), "the last one"


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        pytest.param({"tls_demand": TlsDemand.REQUIRETLS}, b"x\r\n", id="demands-tls"),
        pytest.param({"reverse_path": Mailbox("me", "elsewhere.example")}, b"x\r\n", id="another-sender-domain"),
        pytest.param({"smtputf8": True, "to": (Mailbox("jörg", "example.org"),)}, b"x\r\n", id="smtputf8"),
        pytest.param({}, b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 1500, id="too-large-for-the-server"),
        pytest.param({}, b"bare\nline\r\n", id="bare-line-end"),
        pytest.param({}, (b"y" * 70 + b"\r\n") * 1000, id="large"),
    ],
)
async def test_a_message_that_another_decision_is_needed_for_goes_alone(
    dialer: MemoryDialer, changes: Mapping[str, Any], body: bytes
) -> None:
    server = GroupServer()
    async with relay(dialer, server) as sending:
        sending.give("M1")
        sending.give("M2", body=body, **changes)
        await sending.settled("M1", "M2")
    assert server.groups[1] == b"Subject:  hello ."
    assert sending.outcomes()["M1"] == DELIVERED


async def test_8_bit_content_follows_only_where_it_is_offered(dialer: MemoryDialer) -> None:
    server = GroupServer(extensions=("PIPELINING",))
    async with relay(dialer, server) as sending:
        sending.give("M1")
        sending.give("M2", body=b"\xc3\xbc\r\n")
        await sending.settled("M1", "M2")
    assert server.groups[1] == b"Subject:  hello ."


async def test_what_a_follower_may_ask_for_is_in_its_own_mail_command(dialer: MemoryDialer) -> None:
    server = GroupServer()
    async with relay(dialer, server) as sending:
        sending.give("M1")
        sending.give("M2", body=b"\xc3\xbc\r\n", to=(ANN, EVE))
        await sending.settled("M1", "M2")
    assert (
        b"\r\n.\r\nMAIL FROM:<sender@example.net> SIZE=19 BODY=8BITMIME\r\nRCPT TO:<ann@example.org>\r\n"
        in server.heard[2]
    )
    assert len(sending.made["M2"].outcomes) == 2


class Held(GroupServer):
    """It answers the first content only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def __call__(self, stream: Stream) -> None:
        await super().__call__(stream if self.sessions else HeldStream(stream, self.may))


class HeldStream(Wrapped):
    """Its third reply, the one behind the greeting, EHLO and the first envelope, waits."""

    def __init__(self, inner: Stream, may: asyncio.Event) -> None:
        super().__init__(inner)
        self.may = may
        self.writes = 0

    async def write(self, data: bytes) -> None:
        self.writes += 1
        if self.writes == 4:
            await self.may.wait()
        await super().write(data)


def following(sending: Relay) -> Callable[[], bool]:
    return lambda: len(sending.deliverer._followers) == 1


async def test_a_follower_counts_as_waiting_and_keeps_no_slot(dialer: MemoryDialer) -> None:
    server = Held()
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2", "M3")
        await until(following(sending))
        load = sending.deliverer.load()
        assert (load.in_progress, load.waiting) == (1, 2)
        assert sending.deliverer._slots.taken("example.org") == 1
        server.may.set()
        await sending.settled("M1", "M2", "M3")
        await sending.idle()
        assert sending.deliverer._slots.taken("example.org") == 0
        assert sending.deliverer._slots.free == 50
        assert not sending.deliverer._contents._held
    assert server.sessions == 1


async def test_a_follower_is_given_back_untried_when_the_server_stops(dialer: MemoryDialer) -> None:
    server = Held()
    async with relay(dialer, server, grace=0.0) as sending:
        sending.give("M1", "M2", "M3")
        await until(following(sending))
    assert sorted(name for name, _ in sending.store.released) == ["M1", "M2", "M3"]
    assert not sending.store.settled


async def test_a_leader_that_finishes_while_the_server_stops_takes_nobody_along(dialer: MemoryDialer) -> None:
    server = Held()
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2")
        await until(following(sending))
        stopping = asyncio.create_task(sending.deliverer.stop(5.0))
        await until(lambda: sending.deliverer._stopping)
        server.may.set()
        await stopping
        assert [name for name, _ in sending.store.released] == ["M2"]
    assert server.messages == [(1, "M1")]
    assert sending.outcomes() == {"M1": DELIVERED}


async def test_behind_a_leader_that_is_stuck_nobody_waits(dialer: MemoryDialer) -> None:
    server = Held()
    async with relay(dialer, server, max_concurrent_per_destination=5) as sending:
        sending.give("M1", "M2")
        await until(following(sending))
        leader = next(iter(sending.deliverer._followers._by_leader))
        sending.deliverer._pass_by(sending.store.leased[leader].lease)
        await sending.settled("M2")
        server.may.set()
        await sending.settled("M1")
    assert server.messages == [(1, "M1"), (2, "M2")] or server.messages == [(2, "M2"), (1, "M1")]
    assert sending.outcomes() == {"M1": DELIVERED, "M2": DELIVERED}


async def test_nobody_begins_to_follow_a_leader_that_was_stuck_before_its_content(dialer: MemoryDialer) -> None:
    server = Held()
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2")
        sending.deliverer._pass_by(next(iter(sending.store.leased.values())).lease)
        server.may.set()
        await sending.settled("M1", "M2")
        assert not sending.deliverer._followers._stuck
    assert server.groups[1] == b"Subject:  hello ."


async def test_a_follower_whose_lease_ran_out_is_left_to_who_has_it_now(dialer: MemoryDialer) -> None:
    server = Held()
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2")
        await until(following(sending))
        sending.store.clock.time += 301
        server.may.set()
        await sending.settled("M1")
        await sending.idle()
        assert sending.deliverer.load().waiting == 0
    assert server.messages == [(1, "M1")]


async def test_a_leader_whose_lease_was_lost_leaves_its_follower_to_another_session(dialer: MemoryDialer) -> None:
    server = Held()
    async with relay(dialer, server) as sending:
        sending.give("M1", "M2")
        await until(following(sending))
        leader = next(each for each in sending.deliverer._lease_keeper._kept)
        leader.lost = True
        leader.on_loss()
        await sending.settled("M2")
    assert sending.outcomes() == {"M2": DELIVERED}
    assert (2, "M2") in server.messages


async def test_a_bug_in_following_does_not_touch_the_leader(
    dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch, heard: Ear
) -> None:
    server = GroupServer()
    async with relay(dialer, server) as sending:
        monkeypatch.setattr(sending.deliverer._pool, "shared", lambda *_, **__: 1 / 0)
        sending.give("M1", "M2")
        await sending.settled("M1", "M2")
    assert "M2: internal error in following another message" in heard.text
    assert sending.outcomes() == {"M1": DELIVERED, "M2": DELIVERED}


async def with_somebody_parked(dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch, key: str) -> bytes:
    """The second group of octets that a host got for two messages, while a task was parked for this key."""
    server = GroupServer()
    async with relay(dialer, server) as sending:
        parked = make_task(message_id="P", next_hop="parked.example")
        sending.deliverer._slots.wait(parked, always=True)
        sending.deliverer._slots.take()
        sending.deliverer._slots.park("parked.example")
        monkeypatch.setattr(sending.deliverer._parking, "call", lambda _: None)  # nothing becomes free for it
        sending.deliverer._parking.park(parked, key, "busy", 0.0)
        sending.give("M1", "M2")
        await sending.settled("M1", "M2")
    return server.groups[1]


@pytest.mark.parametrize("key", ["mx.example.org", f"[{ADDRESS}]:25", MEMORY])
async def test_nobody_follows_where_others_are_parked(
    dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """They may wait for this very session: the place's next message must not have it again and again."""
    assert await with_somebody_parked(dialer, monkeypatch, key) == b"Subject:  hello ."


async def test_tasks_parked_elsewhere_keep_nobody_from_following(
    dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some host among many is busy all the time; that one has no use for this session."""
    assert (
        await with_somebody_parked(dialer, monkeypatch, "mx.elsewhere.example") == b"Subject:  hello . MAIL RCPT DATA"
    )


class Unhurried(GroupServer):
    """Each of its answers takes a second and a half."""

    clock: HandClock

    async def __call__(self, stream: Stream) -> None:
        await super().__call__(Unhurrying(stream, self.clock))


class Unhurrying(Wrapped):
    def __init__(self, inner: Stream, clock: HandClock) -> None:
        super().__init__(inner)
        self.clock = clock

    async def write(self, data: bytes) -> None:
        self.clock.time += 1.5
        await super().write(data)


async def test_at_a_slow_host_the_followers_own_decision_is_ready_when_it_is_wanted(dialer: MemoryDialer) -> None:
    """What was found for the message before it is older than a second by then, and is not used."""
    server = Unhurried()
    async with relay(dialer, server) as sending:
        server.clock = sending.store.clock
        sending.deliverer._slots.answers_slowly("example.org", 3.0, 1.5)
        sending.give("M1", "M2", "M3", "M4")
        await sending.settled("M1", "M2", "M3", "M4")
        assert not sending.deliverer._followers._looking
    assert server.sessions == 1
    assert len(server.groups) == 5 + 1, "the first envelope, one for each content, and QUIT"
    assert set(sending.outcomes().values()) == {DELIVERED}


ELSEWHERE = Mailbox("me", "elsewhere.example")


@pytest.mark.parametrize(
    ("changes", "groups"),
    [
        pytest.param({"reverse_path": Mailbox("me", "likewise.example")}, True, id="decided-alike"),
        pytest.param({"reverse_path": ELSEWHERE}, False, id="from-another-address"),
        pytest.param({"tls_demand": TlsDemand.REQUIRETLS}, False, id="demands-tls"),
    ],
)
async def test_a_follower_goes_only_where_its_own_decision_and_settings_lead(
    dialer: MemoryDialer, changes: Mapping[str, Any], groups: bool
) -> None:
    """At a slow host, where each has its own decision ahead, and not that of the one before it."""
    server = Unhurried()
    source = RouteSettings(source=SourceAddresses("192.0.2.77"))
    by_sender = SettingsByRoute(by_sender=DomainTable({ELSEWHERE.domain: source}))
    async with relay(dialer, server, route_settings=by_sender) as sending:
        server.clock = sending.store.clock
        sending.deliverer._slots.answers_slowly("example.org", 3.0, 1.5)
        sending.give("M1")
        sending.give("M2", **changes)
        await sending.settled("M1", "M2")
    assert server.groups[1].endswith(b"MAIL RCPT DATA") == groups
    assert sending.outcomes()["M1"] == DELIVERED
    if "tls_demand" in changes:
        assert server.messages == [(1, "M1")]
    else:
        assert server.messages == [(1, "M1"), (1 if groups else 2, "M2")]


@pytest.mark.parametrize("changes", [{"max_session_age_seconds": -1.0}, {"idle_seconds": 0.0}])
async def test_nobody_follows_in_a_session_that_would_not_be_kept(
    dialer: MemoryDialer, changes: Mapping[str, float]
) -> None:
    server = GroupServer()
    async with relay(dialer, server, **changes) as sending:
        sending.give("M1", "M2")
        await sending.settled("M1", "M2")
    assert server.messages == [(1, "M1"), (2, "M2")]


async def test_the_times_of_a_follower_begin_when_the_session_is_its_own(dialer: MemoryDialer) -> None:
    server = Held()
    async with relay(dialer, server) as sending:
        opened_at = sending.store.clock.time
        sending.give("M1", "M2")
        await until(following(sending))
        sending.store.clock.time += 3
        server.may.set()
        await sending.settled("M1", "M2")
        made = sending.made["M2"]
        assert made.started_at == made.ready_at == opened_at + 3
        assert made.connected_at == opened_at
        assert sending.made["M1"].started_at == opened_at


@pytest.mark.parametrize(
    "world",
    [
        pytest.param({"hosts": {"a.example.org": (ADDRESS,), "b.example.org": (ADDRESS,)}}, id="chance"),
        pytest.param({"mx": lookup_failure("example.org", "MX")}, id="no-answer"),
        pytest.param({"mx": answer("example.org", "MX", "0 .")}, id="null-mx"),
        pytest.param({"tlsa": {"mx.example.org": lookup_failure("x", "TLSA")}}, id="no-tlsa-answer"),
        pytest.param({"hosts": {"mx.example.org": ()}}, id="no-address"),
    ],
)
async def test_where_nothing_is_decided_ahead_nobody_follows(dialer: MemoryDialer, world: Mapping[str, Any]) -> None:
    clock = HandClock()
    task = make_task()
    ports = make_ports(dialer, Looking(clock=clock, **world), clock)
    assert (await look_ahead(task, ports=ports, options=OPTIONS)).ways == ()
    usual = await look_ahead(task, ports=make_ports(dialer, Looking(clock=clock), clock), options=OPTIONS)
    assert [(way.host, way.address) for way in usual.ways] == [("mx.example.org", ADDRESS)]


async def test_a_bug_in_looking_ahead_is_logged_and_the_message_goes_its_usual_way(
    dialer: MemoryDialer, heard: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Unhurried()
    async with relay(dialer, server) as sending:
        server.clock = sending.store.clock
        sending.deliverer._slots.answers_slowly("example.org", 3.0, 1.5)
        monkeypatch.setattr("letterlock.schedule.followers.look_ahead", lambda *_, **__: 1 / 0)
        sending.give("M1", "M2")
        await sending.settled("M1", "M2")
    assert "M2: internal error in looking ahead" in heard.text
    assert set(sending.outcomes().values()) == {DELIVERED}


class BreakingDialer(MemoryDialer):
    """Its streams break at one call."""

    fuse: Fuse

    async def dial(self, address: str, port: int) -> Stream:
        return Wire(await super().dial(address, port), self.fuse)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ConnectionResetError("reset")], ids=["bug", "reset"])
async def test_whatever_breaks_once_no_reply_counts_for_another_message_and_nothing_is_left(error: Exception) -> None:
    names, at, calls = ("M1", "M2", "M3"), 0, 1
    while at < calls:
        dialer, server = BreakingDialer(), GroupServer()
        dialer.fuse = fuse = Fuse("stream", at + 1, error=error)
        async with relay(dialer, server, timeouts=replace(HASTY.timeouts, goodbye=0.01)) as sending:
            sending.give(*names)
            await sending.settled("M1")
            sending.deliverer.forgive(None)
            await sending.settled(*names)
            await sending.idle()
            assert sending.deliverer.load().waiting == 0
            assert sending.deliverer._slots.free == 50
            assert not sending.deliverer._contents._held
        arrived = Counter(name for _, name in server.messages)
        for name, (kind, in_doubt) in sending.outcomes().items():
            assert (kind is OutcomeKind.DELIVERED) <= (arrived[name] == 1), (at, name)
            assert arrived[name] <= (kind is OutcomeKind.DELIVERED or in_doubt), (at, name)
        at, calls = at + 1, fuse.calls
        await dialer.aclose()
    assert at > 10


BYE, AGAIN, GO = b"421 4.3.2 bye\r\n", b"250 ok\r\n250 again\r\n", b"354 go\r\n"
MISHAPS = {
    "MAIL": (CLOSE, SILENCE, BYE, b"550 5.1.8 no\r\n", LATER, OUT_OF_ORDER, AGAIN),
    "RCPT": (CLOSE, SILENCE, BYE, b"550 5.1.1 who\r\n", LATER, GO),
    "DATA": (CLOSE, SILENCE, BYE, b"554 5.5.0 no\r\n", LATER, b"250 ok\r\n"),
    ".": (CLOSE, BYE, b"550 5.7.1 spam\r\n", LATER, AGAIN, GO, b"x\r\n"),
}
QUICKLY = replace(HASTY.timeouts, goodbye=0.001, mail=0.001, recipient=0.001, data=0.001, message=0.001)
CASES = range(60)


async def test_whatever_a_server_does_each_outcome_is_true() -> None:
    """Not looked at here: a content without its answer before others that are answered, which looks like an answer."""
    for seed in CASES:
        dialer = MemoryDialer()
        await play(seed, dialer)
        await dialer.aclose()


async def play(seed: int, dialer: MemoryDialer) -> None:
    """Four messages to a server that does what chance says in its first session."""
    chance, names = random.Random(seed), ("M1", "M2", "M3", "M4")
    places = chance.sample([(word, number) for word in MISHAPS for number in range(1, 5)], chance.randint(1, 3))
    server = GroupServer({f"{word} {number}": chance.choice(MISHAPS[word]) for word, number in places})
    async with relay(dialer, server, timeouts=QUICKLY) as sending:
        sending.give(*names)
        for name in names:
            while name not in sending.made:
                sending.deliverer.forgive(None)
                await asyncio.sleep(0)
        await sending.idle()
        assert sending.deliverer._slots.free == 50
    arrived = Counter(name for _, name in server.messages)
    for name, (kind, in_doubt) in sending.outcomes().items():
        assert (kind is OutcomeKind.DELIVERED) <= (arrived[name] == 1), (seed, name, server.answers)
        assert arrived[name] <= (kind is OutcomeKind.DELIVERED or in_doubt), (seed, name, server.answers)
