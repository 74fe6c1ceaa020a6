"""Canonical forms: the streaming one against the standard's words, at every border of a chunk; time and memory."""

import re
import time
import tracemalloc
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mailauth.dkim.canonical import (
    BLOCK_OCTETS,
    BodyCanonicalizer,
    BodyHash,
    Form,
    body_digest,
    relaxed_digest,
)

PIECES = st.sampled_from([b" ", b"\t", b"\r\n", b"\r", b"\n", b"a", b"\x0b", "ü".encode(), b"  \r\n", b"\r\n\r\n"])


def by_the_words(body: bytes, form: Form) -> bytes:
    """RFC 6376 sections 3.4.3 and 3.4.4, sentence by sentence."""
    if form is Form.RELAXED:
        lines = [re.sub(rb"[ \t]+", b" ", line).removesuffix(b" ") for line in body.split(b"\r\n")]
        body = b"\r\n".join(lines)
    while body.endswith(b"\r\n\r\n") or body == b"\r\n":
        body = body[:-2]
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    return body or (b"\r\n" if form is Form.SIMPLE else b"")


@pytest.mark.parametrize("form", Form)
@given(chunks=st.lists(st.lists(PIECES, max_size=8).map(b"".join), max_size=8))
def test_rfc6376_3_4_any_chunks_give_the_same(form: Form, chunks: list[bytes]) -> None:
    canonicalizer = BodyCanonicalizer(form)
    written = [piece for chunk in chunks for piece in canonicalizer.update(chunk)]
    assert b"".join([*written, *canonicalizer.finish()]) == by_the_words(b"".join(chunks), form)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("middle", [b" \t ", b"\r\n" * 9_000, b" \r\n\t\r\n", b"\r", b"\n\r\n"])
def test_borders_of_blocks(form: Form, middle: bytes) -> None:
    for before in range(BLOCK_OCTETS - 3, BLOCK_OCTETS + 1):
        for after in (b"", b"end"):
            body = b"x" * before + middle + after
            assert body_digest([memoryview(body)], form) == sha256(by_the_words(body, form)).digest()


@given(st.lists(PIECES, max_size=8).map(b"".join), st.sampled_from([b"", b"a\r\n", b" \t\r\n", b"\r\n\r\n"]))
def test_rfc6376_3_4_4_a_look_at_a_body_gives_the_same_or_nothing(body: bytes, end: bytes) -> None:
    found = relaxed_digest(memoryview(body + end))
    assert found is None or found == sha256(by_the_words(body + end, Form.RELAXED)).digest()
    if end == b"a\r\n":
        assert found is not None


def test_a_body_of_several_blocks_takes_more_than_a_look() -> None:
    assert relaxed_digest(memoryview(b"x" * BLOCK_OCTETS + b"\r\n")) is None


@given(st.lists(PIECES, max_size=20).map(b"".join), st.integers(0, 20))
def test_rfc6376_3_5_l_counts_the_canonical_form(body: bytes, length: int) -> None:
    whole = by_the_words(body, Form.RELAXED)
    hashed = BodyHash(Form.RELAXED, frozenset({None, length}))
    hashed.update(body)
    assert hashed.finish() == {None: sha256(whole).digest(), length: sha256(whole[:length]).digest()}
    assert hashed.octets == len(whole)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(
    "line",
    [b"Lorem ipsum dolor sit amet\r\n", b" ", b"\t\r\n", b"\r\n", b"\n\r\n", b"a  b \t c   \r\n", b"\r", b"  \r"],
)
def test_25_mb_take_little_memory_and_time(form: Form, line: bytes) -> None:
    body = memoryview(line * (25_000_000 // len(line)) + b"x")
    begun = time.process_time()
    body_digest([body], form)
    assert time.process_time() - begun < 2.5  # of CPU, on a busy machine: it takes 0.05 to 0.2 s
    tracemalloc.start()
    body_digest([body[: 20 * BLOCK_OCTETS]], form)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * BLOCK_OCTETS
