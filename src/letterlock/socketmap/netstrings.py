"""Netstrings: `LENGTH:BYTES,` (https://cr.yp.to/proto/netstrings.txt), read from a stream."""

MAX_REQUEST_OCTETS = 10_000  # Postfix asks no longer query (dict_sockmap.c)
MAX_REPLY_OCTETS = 100_000  # Postfix reads no longer reply (dict_sockmap.c)
_MAX_DIGITS = 6  # of the length, as many as MAX_REPLY_OCTETS has


class BadNetstring(ValueError):
    """What came is no netstring, or is longer than it may be. Nothing after it can be read."""


def netstring(content: bytes) -> bytes:
    """The content, framed."""
    return b"%d:%b," % (len(content), content)


class NetstringReader:
    """Takes what a stream brings, and gives the contents of the netstrings that are whole."""

    __slots__ = ("_kept", "_max_octets")

    def __init__(self, max_octets: int = MAX_REQUEST_OCTETS) -> None:
        self._max_octets = max_octets
        self._kept = b""

    @property
    def waiting(self) -> bool:
        """Whether a netstring has begun and is not whole yet."""
        return bool(self._kept)

    def feed(self, data: bytes) -> list[bytes]:
        """The netstrings that are whole now, in order. Raises BadNetstring."""
        data, at, whole = self._kept + data, 0, []
        while at < len(data):
            colon = data.find(b":", at, at + _MAX_DIGITS + 1)
            length = self._length(data[at : at + _MAX_DIGITS + 1] if colon < 0 else data[at:colon], whole=colon >= 0)
            end = colon + 1 + length
            if colon < 0 or len(data) <= end:
                break
            if data[end] != 0x2C:  # a comma
                raise BadNetstring("no comma after the content")
            whole.append(data[colon + 1 : end])
            at = end + 1
        self._kept = data[at:]
        return whole

    def _length(self, digits: bytes, *, whole: bool) -> int:
        """The length that digits give, or have begun to give. Raises BadNetstring."""
        if (whole and not digits) or (digits and not digits.isdigit()) or (len(digits) > 1 and digits[:1] == b"0"):
            raise BadNetstring("no length in digits, without leading zeros, before a colon")
        length = int(digits or b"0")
        if length > self._max_octets or len(digits) > _MAX_DIGITS:
            raise BadNetstring(f"longer than {self._max_octets} octets")
        return length
