"""Netstrings as they arrive: whole, in pieces, several at once, and everything that is none."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.socketmap.netstrings import MAX_REPLY_OCTETS, BadNetstring, NetstringReader, netstring

VECTORS = json.loads((Path(__file__).parent / "vectors" / "netstrings.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["shown"].strip() or "empty")
def test_each_vector_is_read_as_it_should_be(vector: dict[str, str]) -> None:
    reader, data = NetstringReader(MAX_REPLY_OCTETS), bytes.fromhex(vector["bytes_hex"])
    if vector["reading"] in ("error", "either"):  # where both are allowed, a leading zero is refused
        with pytest.raises(BadNetstring):
            reader.feed(data)
        return
    frames = reader.feed(data)
    assert bool(frames) == (vector["reading"] == "ok")
    assert reader.waiting == (vector["reading"] == "wait")
    if len(frames) == 1:
        assert frames == [vector["note"].encode()]


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 7))
def test_what_was_framed_is_read_again_in_pieces_of_any_size(contents: list[bytes], size: int) -> None:
    stream, reader, found = b"".join(map(netstring, contents)), NetstringReader(), list[bytes]()
    for at in range(0, len(stream), size):
        found += reader.feed(stream[at : at + size])
    assert found == contents
    assert not reader.waiting


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_or_waited_for_and_never_kept_beyond_the_limit(data: bytes) -> None:
    reader = NetstringReader(20)
    try:
        reader.feed(data)
        reader.feed(data)
    except BadNetstring:
        return
    assert len(reader._kept) <= len("20:") + 20


def test_a_request_beyond_the_limit_is_refused_before_it_has_arrived() -> None:
    with pytest.raises(BadNetstring):
        NetstringReader(10).feed(b"11:")
