"""The public doors, as the guide shows them."""

import asyncio
import threading

import dns.rdatatype
import pytest

from letterlock import arc, dkim
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure
from tests.mailauth.answers import failure, nxdomain, txt

NOW = 1_800_000_000.0
CONTENT = b"From: ann@example.org\r\nSubject: Hello\r\n\r\nHi\r\n"


class Names:
    """A resolver that knows some names, and counts what is asked at a time."""

    def __init__(self, *answers: Answer | LookupFailure) -> None:
        self.answers = {str(answer.question.name).rstrip("."): answer for answer in answers}
        self.asked: list[str] = []
        self.most = self.busy = 0

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        assert rdtype is dns.rdatatype.TXT
        self.asked.append(name)
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        return self.answers.get(name, nxdomain(name))


def made(domain: str, algorithm: dkim.Algorithm = dkim.Algorithm.ED25519_SHA256) -> dkim.SigningKey:
    return dkim.read_signing_key(dkim.generate_key(algorithm), domain, "s1")


@pytest.mark.parametrize("algorithm", dkim.Algorithm)
async def test_sign_and_verify(algorithm: dkim.Algorithm) -> None:
    key = made("example.org", algorithm)
    content = dkim.Signer([key]).sign(dkim.split(CONTENT), NOW) + CONTENT
    resolver = Names(txt(key.record_name, key.record))
    (verdict,) = await dkim.verify(content, resolver, NOW)
    assert verdict.result is dkim.Result.PASS
    (again,) = await dkim.verify(dkim.split(content), resolver, NOW)
    assert again == verdict
    (unknown,) = await dkim.verify(content, Names(failure(key.record_name, FailureKind.TIMEOUT)), NOW)
    assert unknown.result is dkim.Result.TEMPERROR


async def test_the_driver_gives_what_the_two_steps_give() -> None:
    key = made("example.org")
    content = dkim.Signer([key]).sign(dkim.split(CONTENT), NOW) + CONTENT
    answer = txt(key.record_name, key.record)
    examination = dkim.examine(dkim.split(content))
    verdicts = examination.judge({key.record_name: answer}, NOW)
    assert verdicts == await dkim.verify(content, Names(answer), NOW)


async def test_seal_and_verify_with_bounded_lookups() -> None:
    keys = [made(f"hop{number}.test") for number in range(30)]
    resolver = Names(*(txt(key.record_name, key.record) for key in keys))
    content = CONTENT
    for key in keys:
        verdict = await arc.verify(content, resolver, NOW)
        assert verdict.status is (arc.Status.NONE if content == CONTENT else arc.Status.PASS)
        content = arc.seal(arc.split(content), verdict, b"mx.test; none", key, NOW) + content
    resolver.asked.clear()
    assert (await arc.verify(content, resolver, NOW)).passed
    assert sorted(resolver.asked) == sorted(key.record_name for key in keys)
    assert resolver.most == 10


async def test_large_messages_are_hashed_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    key = made("example.org")
    content = CONTENT + b"x" * 300_000
    signed = dkim.sign_with([key], dkim.split(content), NOW) + content
    sealed = arc.seal(arc.split(signed), arc.examine(arc.split(signed)).judge({}, NOW), b"mx.test; none", key, NOW)
    resolver = Names(txt(key.record_name, key.record))
    threads: list[bool] = []
    canonicalize = dkim.BodyHash.update_view

    def noted(self: dkim.BodyHash, body: memoryview) -> None:
        threads.append(threading.current_thread() is threading.main_thread())
        canonicalize(self, body)

    monkeypatch.setattr(dkim.BodyHash, "update_view", noted)
    (verdict,) = await dkim.verify(signed, resolver, NOW)
    assert verdict.passed
    assert (await arc.verify(sealed + signed, resolver, NOW)).passed
    small = dkim.sign_with([key], dkim.split(CONTENT), NOW) + CONTENT
    threads.clear()
    await dkim.verify(small, resolver, NOW)
    assert threads == [True]
    await dkim.verify(signed, resolver, NOW)
    assert threads == [True, False]


async def test_an_oversized_header_is_the_only_exception() -> None:
    for verify in (dkim.verify, arc.verify):
        with pytest.raises(dkim.OversizedHeader):
            await verify(b"X: y\r\n" * 200_000, Names(), NOW)


def test_what_is_promised_is_there() -> None:
    for library in (dkim, arc):
        assert library.__doc__
        assert all(getattr(library, name).__doc__ for name in library.__all__)
