"""The framing of a response under hypothesis: any cut into reads is the same, and any octets end in a verdict."""

import itertools
from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st

from letterlock.net.https import MAX_FRAMING_OCTETS, _NoPolicy, _read_body, _read_head, _Reader, _refuse_unless_policy
from tests.net.https_servers import POLICY, ok

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = CHUNKED + b"10;x=y\r\n%b\r\n%x\r\n%b\r\n000\r\nTrailer: x\r\n\r\n" % (
    POLICY[:16],
    len(POLICY) - 16,
    POLICY[16:],
)


class Pieces:
    """A stream that gives what it was made of, piece by piece, and then ends."""

    peer = "192.0.2.1"
    quiet = False

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._data = [piece for piece in pieces if piece]

    async def read(self, max_octets: int) -> bytes:
        if not self._data:
            return b""
        piece = self._data.pop(0)
        if piece[max_octets:]:
            self._data.insert(0, piece[max_octets:])
        return piece[:max_octets]

    async def write(self, data: bytes) -> None:
        raise AssertionError("nothing is written here")

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        raise AssertionError("nobody converses here")

    async def close(self) -> None:
        raise AssertionError("nothing is closed here")

    def abort(self) -> None:
        raise AssertionError("nothing is closed here")


async def body_of(pieces: Iterable[bytes]) -> bytes | None:
    reader = _Reader(Pieces(pieces))
    try:
        head = await _read_head(reader)
        _refuse_unless_policy(head)
        return await _read_body(reader, head, 1_000)
    except _NoPolicy:
        return None


@given(st.sampled_from([WHOLE, ok()]), st.lists(st.integers(0, len(WHOLE)), max_size=12))
async def test_reads_may_be_cut_anywhere(response: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(response)]
    assert await body_of(response[start:end] for start, end in itertools.pairwise(edges)) == POLICY


@given(st.sampled_from([WHOLE, ok()]), st.data())
async def test_rfc9112_8_no_part_of_an_answer_is_a_policy(response: bytes, data: st.DataObject) -> None:
    assert await body_of([response[: data.draw(st.integers(0, len(response) - 1))]]) is None


@given(st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, CHUNKED + b"5\r\n"]), st.binary(max_size=300))
async def test_any_octets_end_in_a_body_or_in_none(beginning: bytes, octets: bytes) -> None:
    body = await body_of([beginning + octets])
    assert body is None or len(body) <= 1_000


@given(
    st.sampled_from([b"X: y\r\n", b"X: ", b"x\r", b"x"]), st.sampled_from([b"HTTP/1.1 200 OK\r\n", CHUNKED + b"0\r\n"])
)
async def test_framing_is_bounded(piece: bytes, beginning: bytes) -> None:
    flood = piece * (2 * MAX_FRAMING_OCTETS // len(piece))
    assert await body_of([beginning, flood]) is None
