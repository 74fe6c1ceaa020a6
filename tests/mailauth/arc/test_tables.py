"""ARC from the text of RFC 8617, in tables: which sets make a chain, what a hop may change, keys that cannot be had."""

import re
from collections.abc import Callable

import pytest

from letterlock.mailauth.arc.seal import seal
from letterlock.mailauth.arc.verify import ChainVerdict
from letterlock.mailauth.dkim.reasons import DkimReason
from letterlock.mailauth.message import split
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure
from tests.mailauth.answers import failure, nxdomain, txt
from tests.mailauth.arc.test_chain import KEYS, RESULTS, chain, judged, sealed
from tests.mailauth.dkim.forging import MESSAGE, NOW

Fields = list[bytes]
_FIELDS = re.compile(rb"ARC-(?:[^\r]|\r\n[ \t])*\r\n")


def _parts(content: bytes) -> tuple[Fields, bytes]:
    """The fields of ARC, the newest first (seal, signature, results of each hop), and the rest of the message."""
    return _FIELDS.findall(content), _FIELDS.sub(b"", content)


def _rearranged(change: Callable[[Fields], Fields]) -> bytes:
    """A chain of three sets whose fields are taken out, changed, and put on top again."""
    fields, rest = _parts(chain(3))
    assert len(fields) == 9
    return b"".join(change(fields)) + rest


def _numbered(old: int, new: int) -> Callable[[Fields], Fields]:
    return lambda fields: [each.replace(b"i=%d;" % old, b"i=%d;" % new) for each in fields]


ARRANGEMENTS: dict[str, tuple[Callable[[Fields], Fields], DkimReason | None]] = {
    # Section 4.2: the order of the fields is that of i=, not that in which they stand.
    "as they were": (lambda fields: fields, None),
    "upside down": (lambda fields: fields[::-1], None),
    "by kind": (sorted, None),
    "the oldest set on top": (lambda fields: fields[6:] + fields[:6], None),
    # Section 5.2, step 3: each instance from 1 to N has exactly one of each field.
    "without the newest seal": (lambda fields: fields[1:], DkimReason.ARC_SETS),
    "without the newest signature": (lambda fields: [fields[0], *fields[2:]], DkimReason.ARC_SETS),
    "without the newest results": (lambda fields: fields[:2] + fields[3:], DkimReason.ARC_SETS),
    "without the oldest seal": (lambda fields: fields[:6] + fields[7:], DkimReason.ARC_SETS),
    "without a signature in the middle": (lambda fields: fields[:4] + fields[5:], DkimReason.ARC_SETS),
    "without the oldest results": (lambda fields: fields[:8], DkimReason.ARC_SETS),
    "without the first set": (lambda fields: fields[:6], DkimReason.ARC_SETS),
    "without the set in the middle": (lambda fields: fields[:3] + fields[6:], DkimReason.ARC_SETS),
    "seals alone": (lambda fields: fields[::3], DkimReason.ARC_SETS),
    "results alone": (lambda fields: fields[2::3], DkimReason.ARC_SETS),
    "a seal twice": (lambda fields: [fields[0], *fields], DkimReason.ARC_SETS),
    "results twice": (lambda fields: [*fields, fields[8]], DkimReason.ARC_SETS),
    "the first set numbered 0": (_numbered(1, 0), DkimReason.ARC_SETS),
    "the first set numbered 4": (_numbered(1, 4), DkimReason.ARC_SETS),
    "the last set numbered 4": (_numbered(3, 4), DkimReason.ARC_SETS),
    "the last set numbered 51": (_numbered(3, 51), DkimReason.ARC_SETS),
    "the last set numbered 100": (_numbered(3, 100), DkimReason.ARC_SETS),
    # The newest set removed: what is left was whole one hop ago, and only the message may have changed since.
    "without the newest set": (lambda fields: fields[3:], None),
    "the sets of two hops exchanged": (
        lambda fields: [
            each.replace(b"i=2;", b"i=9;").replace(b"i=1;", b"i=2;").replace(b"i=9;", b"i=1;") for each in fields
        ],
        DkimReason.ARC_STATUS,
    ),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_rfc8617_5_2_sets_of_a_chain(name: str) -> None:
    change, reason = ARRANGEMENTS[name]
    found = judged(_rearranged(change))
    assert found.reason is reason, str(found)


@pytest.mark.parametrize(
    ("statuses", "wanted"),
    [
        (("none", "pass", "pass"), None),
        (("none", "pass", "fail"), DkimReason.ARC_FAILED_BEFORE),
        (("none", "fail", "pass"), DkimReason.ARC_STATUS),
        (("fail", "pass", "pass"), DkimReason.ARC_STATUS),
        (("pass", "pass", "pass"), DkimReason.ARC_STATUS),
        (("none", "none", "pass"), DkimReason.ARC_STATUS),
        (("none", "pass", "none"), DkimReason.ARC_STATUS),
        (("none", "pass", ""), DkimReason.ARC_STATUS),
        (("none", "pass", "PASS"), DkimReason.ARC_STATUS),
        (("none", "pass", "pass fail"), DkimReason.ARC_STATUS),
    ],
)
def test_rfc8617_5_2_states_of_the_seals(statuses: tuple[str, ...], wanted: DkimReason | None) -> None:
    def change(fields: Fields) -> Fields:
        for place, status in zip((6, 3, 0), statuses, strict=True):
            fields[place] = re.sub(rb"cv=[a-z]+", b"cv=" + status.encode(), fields[place])
        return fields

    assert judged(_rearranged(change)).reason is wanted


CHANGES: dict[str, tuple[Callable[[bytes], bytes], DkimReason | None]] = {
    "white space in results": (lambda text: text.replace(b"mx.test; spf", b"mx.test;\t  spf"), None),
    "results folded": (lambda text: text.replace(b"mx.test; spf", b"mx.test;\r\n spf"), None),
    "the name of a field in upper case": (
        lambda text: text.replace(b"ARC-Authentication", b"ARC-AUTHENTICATION"),
        None,
    ),
    "white space before a colon": (lambda text: text.replace(b"ARC-Seal:", b"ARC-Seal :"), None),
    "a field added on top": (lambda text: b"Received: from a by b; now\r\n" + text, None),
    "a field that is not signed": (lambda text: text.replace(b"\r\n\r\n", b"\r\nX-Spam: no\r\n\r\n", 1), None),
    "blank lines at the end": (lambda text: text + b"\r\n\r\n", None),
    "blanks in the body": (lambda text: text.replace(b"Hi there", b"Hi   there  "), None),
    "white space removed from results": (
        lambda text: text.replace(b"mx.test; spf", b"mx.test;spf"),
        DkimReason.ARC_SEAL_BROKEN,
    ),
    "results in upper case": (lambda text: text.replace(b"mx.test", b"MX.test"), DkimReason.ARC_SEAL_BROKEN),
    "a second Subject": (lambda text: b"Subject: Other\r\n" + text, DkimReason.HEADER_CHANGED),
    "a second From": (lambda text: b"From: x@y.test\r\n" + text, DkimReason.HEADER_CHANGED),
    "a signed field removed": (lambda text: text.replace(b"Subject: Hello\r\n", b""), DkimReason.HEADER_CHANGED),
    "the body": (lambda text: text.replace(b"Hi there", b"Hi There"), DkimReason.BODY_CHANGED),
    "a line that is no field": (lambda text: b"no field\r\n" + text, DkimReason.MALFORMED_HEADER),
}


@pytest.mark.parametrize("name", CHANGES)
def test_rfc8617_5_2_what_may_change_after_the_last_seal(name: str) -> None:
    change, reason = CHANGES[name]
    content = change(chain(2))
    assert content != chain(2)
    found = judged(content)
    assert found.reason is reason, str(found)


def _broken_signature(instance: int) -> bytes:
    """A chain of two sets, each seal right, with a message signature that another hop broke by a later change."""
    first = sealed(MESSAGE, 0)
    changed = first.replace(b"Hi there", b"Hi all")
    return sealed(changed, 1, judged(first) if instance == 1 else None)


def test_rfc8617_5_2_only_the_newest_message_signature_has_to_hold() -> None:
    found = judged(_broken_signature(1))
    assert found.passed, str(found)
    assert judged(_broken_signature(1).replace(b"Hi all", b"Hi there")).reason is DkimReason.BODY_CHANGED
    assert judged(_broken_signature(2)).reason is DkimReason.ARC_FAILED_BEFORE  # the second hop saw it


NAME_OF_SECOND = KEYS[1].record_name
KEY_ANSWERS: dict[str, tuple[Answer | LookupFailure, DkimReason | None, bool]] = {
    "the key": (txt(NAME_OF_SECOND, KEYS[1].record), None, False),
    "another record first": (txt(NAME_OF_SECOND, "v=spf1 -all", KEYS[1].record), None, False),
    "a key in testing": (txt(NAME_OF_SECOND, KEYS[1].record + "; t=y"), None, False),
    "a strict key": (txt(NAME_OF_SECOND, KEYS[1].record + "; t=s"), None, False),  # i= is the instance here
    "no such name": (nxdomain(NAME_OF_SECOND), DkimReason.KEY_ABSENT, False),
    "no record": (txt(NAME_OF_SECOND), DkimReason.KEY_ABSENT, False),
    "a revoked key": (txt(NAME_OF_SECOND, "v=DKIM1; k=rsa; p="), DkimReason.KEY_REVOKED, False),
    "a key of another type": (txt(NAME_OF_SECOND, KEYS[0].record), DkimReason.KEY_ALGORITHM, False),
    "a key for something else": (
        txt(NAME_OF_SECOND, KEYS[1].record + "; s=tlsrpt"),
        DkimReason.KEY_SERVICE,
        False,
    ),
    "a key for SHA-1": (txt(NAME_OF_SECOND, KEYS[1].record + "; h=sha1"), DkimReason.KEY_HASH, False),
    "nonsense": (txt(NAME_OF_SECOND, "v=DKIM1; p=?"), DkimReason.KEY_SYNTAX, False),
    "no answer": (failure(NAME_OF_SECOND, FailureKind.TIMEOUT), DkimReason.KEY_LOOKUP_FAILED, True),
    "a server's failure": (failure(NAME_OF_SECOND, FailureKind.SERVFAIL), DkimReason.KEY_LOOKUP_FAILED, True),
    "a broken proof": (failure(NAME_OF_SECOND, FailureKind.BOGUS), DkimReason.KEY_BOGUS, True),
}


@pytest.mark.parametrize("name", KEY_ANSWERS)
@pytest.mark.parametrize("length", [2, 3])  # the key of the newest set, and of one before it
def test_rfc8617_5_2_1_keys(name: str, length: int) -> None:
    answer, reason, temporary = KEY_ANSWERS[name]
    found = judged(chain(length), {NAME_OF_SECOND: answer})
    assert (found.reason, found.temporary) == (reason, temporary), str(found)
    assert found.failed_at == (None if reason is None else 2)


@pytest.mark.parametrize(
    "names",
    [
        (b"from",),
        (b"from", b"from", b"x-absent"),
        (b"from", b"to", b"subject", b"dkim-signature", b"arc-authentication-results"),
        (b"subject", b"from", b"arc-message-signature"),
    ],
)
def test_rfc8617_4_1_2_a_message_signature_may_cover_any_fields_but_seals(names: tuple[bytes, ...]) -> None:
    content = b"DKIM-Signature: v=1\r\n" + chain(1)
    content = seal(split(content), judged(content), RESULTS, KEYS[1], NOW, names) + content
    assert judged(content).passed
    kept = judged(content.replace(b"To: b@y.test", b"To: c@y.test"))
    assert kept.passed is (b"to" not in names)


def test_rfc8617_4_1_the_fields_of_a_set_may_have_keys_of_their_own() -> None:
    """The signature of one hop and the seal of another: nothing in the standard wants the same key for both."""
    first, second = sealed(MESSAGE, 0), sealed(MESSAGE, 1)
    mixed = _parts(first)[0][:1] + _parts(second)[0][1:]
    found = judged(b"".join(mixed) + MESSAGE)
    assert found.reason is DkimReason.ARC_SEAL_BROKEN  # for it was made over the other signature


def test_rfc8617_5_1_a_seal_on_a_chain_states_what_was_found() -> None:
    def cv(content: bytes, verdict: ChainVerdict | None = None) -> bytes:
        found: list[bytes] = re.findall(rb"cv=([a-z]+)", sealed(content, 2, verdict))
        return found[0]

    assert cv(MESSAGE) == b"none"
    assert cv(chain(1)) == cv(chain(3)) == b"pass"
    assert cv(chain(2).replace(b"Hi there", b"Hi")) == b"fail"
    assert cv(_rearranged(lambda fields: fields[1:])) == b"fail"


def test_rfc8463_3_ed25519_and_rsa_seals_in_one_chain() -> None:
    assert {key.algorithm.value for key in KEYS} == {"rsa-sha256", "ed25519-sha256"}
    assert judged(chain(6)).passed
