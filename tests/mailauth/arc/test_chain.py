"""Chains of our own: sealed, verified, broken."""

import gc
import time
import weakref

import pytest

from letterlock.mailauth.arc.seal import own_results, seal
from letterlock.mailauth.arc.sets import MAX_SETS, Status
from letterlock.mailauth.arc.verify import ChainVerdict, examine
from letterlock.mailauth.dkim.reasons import DkimReason
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.message import Message, split
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Security
from tests.mailauth.answers import failure, nxdomain, txt
from tests.mailauth.dkim.forging import MESSAGE, NOW, ed25519_key, rsa_key

KEYS = (ed25519_key("one.test"), SigningKey("two.test", "rsa", rsa_key()), ed25519_key("three.test"))
ZONE = {key.record_name: txt(key.record_name, key.record, security=Security.SECURE) for key in KEYS}
RESULTS = b"mx.test; spf=pass smtp.mailfrom=x.test"


def judged(content: bytes, zone: dict[str, Answer | LookupFailure] | None = None, now: float = NOW) -> ChainVerdict:
    examination = examine(split(content))
    answers = {**ZONE, **(zone or {})}
    return examination.judge({name: answers.get(name, nxdomain(name)) for name in examination.key_names}, now)


def sealed(content: bytes, hop: int = 0, verdict: ChainVerdict | None = None) -> bytes:
    message = split(content)
    return seal(message, verdict or judged(content), RESULTS, KEYS[hop % len(KEYS)], NOW) + content


def chain(length: int) -> bytes:
    content = MESSAGE
    for hop in range(length):
        content = b"Received: hop\r\n" + sealed(content, hop)
    return content


def test_rfc8617_5_a_chain_of_three_hops() -> None:
    found = judged(chain(3))
    assert found.status is Status.PASS, str(found)
    assert [each.seal.domain for each in found.sets] == ["one.test", "two.test", "three.test"]
    assert [each.seal.status for each in found.sets] == ["none", "pass", "pass"]
    assert found.securities == (Security.SECURE,) * 3
    assert str(found) == "the chain holds"
    assert str(judged(MESSAGE)) == "the message has no chain"


def test_rfc8617_5_2_the_newest_message_signature_must_hold() -> None:
    changed = chain(2) + b"-- \r\nthe list\r\n"
    found = judged(changed)
    assert (found.status, found.reason, found.failed_at) == (Status.FAIL, DkimReason.BODY_CHANGED, 2)
    again = sealed(chain(1).replace(b"Hi there", b"Hi all"), 1, judged(chain(1)))  # verified, changed, sealed
    assert judged(again).passed


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"i=1; mx.test; spf=pass", b"i=1; mx.test; spf=fail", DkimReason.ARC_SEAL_BROKEN),
        (b"i=1; mx.test", b"i=3; mx.test", DkimReason.ARC_SETS),
        (b"i=1; mx.test", b"i=0; mx.test", DkimReason.ARC_SETS),
        (b"i=1; mx.test", b"i=51; mx.test", DkimReason.ARC_SETS),
        (b"i=1; mx.test", b"mx.test", DkimReason.ARC_SETS),
        (b"cv=none", b"cv=pass", DkimReason.ARC_STATUS),
        (b"cv=pass", b"cv=none", DkimReason.ARC_STATUS),
        (b"cv=pass", b"cv=perhaps", DkimReason.ARC_STATUS),
        (b"cv=pass", b"cv=fail", DkimReason.ARC_FAILED_BEFORE),
        (b"i=2; s=rsa; t=1800000000", b"i=2; s=rsa; t=soon", DkimReason.SYNTAX),
        (b"i=2; s=rsa; t=1800000000", b"i=2; s=rsa; t=", DkimReason.SYNTAX),
        (b"i=2; s=rsa; t=1800000000", b"i=2; s=rsa; T=1", DkimReason.ARC_SEAL_BROKEN),
        (b"cv=pass;", b"cv=pass; h=from;", DkimReason.FORBIDDEN_TAG),
        (b"cv=pass;", b"cv=pass; n=x;", DkimReason.ARC_SEAL_BROKEN),
        (b"cv=pass;", b"", DkimReason.TAG_MISSING),
        (b"h=from:", b"h=from:arc-seal:", DkimReason.SEAL_SIGNED),
        (b"h=from:from:", b"h=", DkimReason.FROM_NOT_SIGNED),
        (b"a=ed25519-sha256", b"a=rsa-sha1", DkimReason.SHA1),
        (b"Subject: Hello", b"Subject: Other", DkimReason.HEADER_CHANGED),
        (b"t=1800000000", b"t=1800000001", DkimReason.HEADER_CHANGED),
        (b"t=1800000000", b"t=1800000000; x=1700000000", DkimReason.TIMES),
    ],
)
def test_rfc8617_5_2_chains_that_fail(old: bytes, new: bytes, reason: DkimReason) -> None:
    content = chain(2)
    assert old in content
    found = judged(content.replace(old, new))
    assert (found.status, found.reason) == (Status.FAIL, reason), str(found)
    assert "RFC " in str(found)


def test_rfc8617_5_2_a_field_twice() -> None:
    content = chain(1)
    field = next(line for line in content.split(b"\r\n") if line.startswith(b"ARC-Authentication-Results"))
    assert judged(field + b"\r\n" + content).reason is DkimReason.ARC_SETS
    assert judged(b"no field\r\n" + content).reason is DkimReason.MALFORMED_HEADER
    assert judged(b"ARC-Seal: nonsense\r\n" + MESSAGE).reason is DkimReason.SYNTAX


@pytest.mark.parametrize("name", [key.record_name for key in KEYS])
def test_rfc8617_5_2_1_failures_of_dns_are_failures_and_named(name: str) -> None:
    content = chain(3)
    found = judged(content, {name: failure(name, FailureKind.BOGUS)})
    assert (found.status, found.reason, found.temporary) == (Status.FAIL, DkimReason.KEY_BOGUS, True)
    found = judged(content, {name: nxdomain(name)})
    assert (found.status, found.reason, found.temporary) == (Status.FAIL, DkimReason.KEY_ABSENT, False)


def test_rfc8617_5_1_2_a_broken_chain_is_sealed_as_broken_and_then_left() -> None:
    broken = chain(2).replace(b"spf=pass", b"spf=fail", 1)
    content = sealed(broken, 2)
    assert b"cv=fail; d=three.test; i=3;" in content
    found = judged(content)
    assert (found.status, found.reason) == (Status.FAIL, DkimReason.ARC_FAILED_BEFORE)
    assert sealed(content) == content
    torn = sealed(b"ARC-Seal: i=7; nonsense=\r\nARC-Message-Signature: i\r\n" + MESSAGE)
    assert b"ARC-Authentication-Results: i=8; mx.test" in torn


def test_rfc8617_4_2_1_fifty_sets_and_no_more() -> None:
    content = chain(MAX_SETS)
    begun = time.process_time()
    assert judged(content).passed
    assert time.process_time() - begun < 1  # of CPU: it takes 10 ms
    assert sealed(content) == content
    more = content.replace(b"ARC-Seal: a", b"ARC-Seal: i=1; a") + b""
    assert judged(b"ARC-Seal: i=50\r\n" + more).reason is DkimReason.ARC_TOO_LONG


def test_examinations_ask_for_each_key_once() -> None:
    assert examine(split(chain(3))).key_names == tuple(KEYS[hop].record_name for hop in (2, 0, 1))
    assert examine(split(MESSAGE)).key_names == ()


def test_rfc8601_2_2_our_own_results_are_recorded() -> None:
    message = split(
        b"Authentication-Results: mx.test;\r\n spf=pass smtp.mailfrom=x.test;\r\n dkim=none\r\n"
        b"Authentication-Results: other.test; spf=fail\r\n"
        b"Authentication-Results: MX.test 1; dmarc=pass;\r\n\r\n"
    )
    assert own_results(message, "mx.test") == (
        b"mx.test;\r\n spf=pass smtp.mailfrom=x.test;\r\n dkim=none;\r\n dmarc=pass"
    )
    begun = time.process_time()
    for piece in (b"1", b"1 ", b" ", b"x;"):
        hostile = split(b"Authentication-Results: " + piece * (1_000_000 // len(piece)) + b"\r\n\r\n")
        assert own_results(hostile, "none.test") == b"none.test;\r\n none"
    assert time.process_time() - begun < 0.5  # of CPU: it takes 20 ms
    assert own_results(message, "none.test") == b"none.test;\r\n none"


def test_a_chain_that_is_refused_needs_no_collector() -> None:
    """Else each message with a bad chain would stay in memory until the collector comes."""

    def refused() -> weakref.ref[Message]:
        message = split(chain(3).replace(b"i=2", b"i=7"))
        examination = examine(message)
        assert examination.refused
        return weakref.ref(message)

    gc.disable()
    try:
        assert refused()() is None
    finally:
        gc.enable()
