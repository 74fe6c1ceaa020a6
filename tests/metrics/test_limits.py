"""Each limit has a counter, and what is counted has its series."""

from typing import get_args

import dns.rcode

from letterlock.config.options import CONSUMERS
from letterlock.deliver.contents import Contents
from letterlock.deliver.handshake_slots import HandshakeSlots, HostBusy
from letterlock.keys import declared
from letterlock.mail.replies import Reply
from letterlock.mailauth.arc.sets import Status
from letterlock.mailauth.dkim.reasons import DkimResult
from letterlock.mailauth.dmarc.reasons import DmarcResult
from letterlock.mailauth.spf.reasons import SpfResult
from letterlock.metrics.catalogue import (
    AUTHENTICATION_RESULTS,
    FILTER_KINDS,
    FILTER_RESULTS,
    LIMITS,
    POLICY_ANSWERS,
    RCODES,
)
from letterlock.receive import session_counts
from letterlock.receive.filter_counts import FilterCounts, FilterKind
from letterlock.receive.limits import TOO_MANY
from letterlock.receive.session_counts import SessionCounts
from letterlock.schedule.parking import Parking
from letterlock.shares import sharing
from letterlock.socketmap.questions import NOT_FOUND, ok, permanent, temporary
from tests.deliver.world import make_task

COUNTED_AS = {
    "Options.min_free_octets": "min_free_octets",
    "ComposedKeys.memory_octets": "memory_in",
    "ComposedKeys.min_free_octets": "min_free_octets",
    "ReceiveOptions.max_text_line_octets": "max_line_octets",
    "ReceiveOptions.max_bad_commands": "bad_commands",
    "ReceiveOptions.max_idle_commands": "idle_commands",
    "ReceiveOptions.max_inflight_octets": "memory_in",
    "ResolverDoorOptions.max_connections": "resolver_connections",
    "PolicyServerOptions.max_connections": "policy_connections",
    "DeliverOptions.max_content_octets": "memory_out",
}
NOT_COUNTED = {
    "MailAuthenticationOptions.max_concurrent",  # a check waits for its turn; the log has how long mail took
    "DeliverOptions.max_hosts",  # how many hosts of a domain are tried: its operator's doing, and the log's to tell
    "DeliverOptions.max_addresses",  # the same of a host
    "DeliverOptions.max_session_age_seconds",  # the usual end of a session
    "StatisticsOptions.destinations",  # what has no name is `(other)` in the statistics themselves
    "StatisticsOptions.keep_hours",  # this and the next two: how long the past is kept, which turns nobody away
    "StatisticsOptions.keep_days",
    "StatisticsOptions.keep_months",
}


def test_every_limit_has_a_counter_or_a_reason_for_none() -> None:
    for consumer in CONSUMERS:
        for field in sharing(consumer):
            name = f"{consumer.__name__}.{field}"
            key = declared(consumer).get(field)
            if name not in NOT_COUNTED and (key is None or key.key.table != "policy_server"):
                assert COUNTED_AS.get(name, field) in LIMITS, name
            elif key is not None:
                assert name in NOT_COUNTED or COUNTED_AS[name] in LIMITS


def test_what_filters_and_doors_count_has_its_series() -> None:
    assert set(FILTER_KINDS) == set(get_args(FilterKind))
    counts = FilterCounts()
    for kind in get_args(FilterKind):
        for reply in (None, Reply(550, ("no",)), Reply(451, ("later",))):
            for discarded, held in ((False, False), (True, False), (False, True)):
                counts.answered(kind, reply, discarded=discarded, held=held)
        counts.failed(kind)
    assert {result for _, result in counts.found} == set(FILTER_RESULTS)
    replies = ok("dane-only"), NOT_FOUND, temporary("later"), permanent("never")
    assert {each.partition(b" ")[0] for each in replies} == set(POLICY_ANSWERS)
    assert [dns.rcode.to_text(dns.rcode.from_text(each)).lower() for each in RCODES[:-1]] == list(RCODES[:-1])
    assert [int(dns.rcode.from_text(each)) for each in RCODES[:-1]] == list(range(len(RCODES) - 1))


def test_what_is_found_of_mail_has_its_series() -> None:
    results = {each.value for kind in (SpfResult, DkimResult, DmarcResult, Status) for each in kind}
    assert results == set(AUTHENTICATION_RESULTS)


def test_replies_that_tell_of_a_limit_are_counted_as_that() -> None:
    counts = SessionCounts()
    for reply, limit in session_counts.LIMITS.items():
        counts.rejected("RCPT", reply)
        assert counts.limits[limit] >= 1
    counts.rejected("\x00EVIL" * 99, Reply(550, ("no",)))
    counts.rejected("CONNECT", TOO_MANY)
    counts.rejected("CONNECT", Reply(250, ("a filter that refuses with this",)))
    assert counts.rejections["other", "5"] == 1
    assert counts.rejections["connect", "4"] == 1
    assert counts.rejections["connect", "5"] == 1
    assert {digit for _, digit in counts.rejections} == {"4", "5"}


def test_limits_of_delivery_count_their_hits() -> None:
    slots = HandshakeSlots(1, 100)
    slots.take("mx.example.org", ["192.0.2.1"], 25)
    for _ in range(2):
        try:
            slots.take("mx.example.org", ["192.0.2.1"], 25)
        except HostBusy:
            continue
    assert slots.refusals == 2
    parking = Parking(1, 10.0)
    assert parking.park(make_task(message_id="1"), "x", "busy", 0.0)
    assert not parking.park(make_task(message_id="2"), "x", "busy", 0.0)
    assert (parking.refusals, parking.parked) == (1, 1)
    assert Contents(10).refusals == 0
