"""TLS records as they go by, still encrypted: how many, and how many of them brought no data."""

_HEADER_OCTETS = 5  # its type, two octets of version, two of length


class Records:
    """Counts the records of what goes to OpenSSL (RFC 8446 section 5.1, RFC 5246 section 6.2.1) after a handshake.

    `whole`: those that ended and have brought no data yet. The reader subtracts each whose data it has got, and what is
    left when OpenSSL has nothing to read any more brings none: tickets, KeyUpdates, alerts.
    """

    __slots__ = ("_header", "_left", "whole")

    def __init__(self) -> None:
        self.whole = 0
        self._header = b""
        self._left = 0

    def pass_by(self, data: bytes, at_most: int) -> int:
        """Look at the octets that come next, up to the end of `at_most` records; how many octets those are."""
        if not (self._left or self._header) and len(data) == _HEADER_OCTETS + int.from_bytes(data[3:5], "big"):
            self.whole += 1  # just one record, as it is in a conversation
            return len(data)
        at, end, ended = 0, len(data), 0
        while at < end and ended < at_most:
            if self._left or self._header or end - at < _HEADER_OCTETS:
                at, over = self._pass_part(data, at, end)
                ended += over
                continue
            at += _HEADER_OCTETS + (data[at + 3] << 8) + data[at + 4]
            if at > end:  # the rest of this record comes later
                self._left, at = at - end, end
            else:
                ended += 1
        self.whole += ended
        return at

    def _pass_part(self, data: bytes, at: int, end: int) -> tuple[int, bool]:
        """Go on in a record that began before, or whose header is not whole; where that leads, and whether it ended."""
        if self._left:
            step = min(self._left, end - at)
            self._left -= step
            return at + step, not self._left
        step = min(_HEADER_OCTETS - len(self._header), end - at)
        self._header += data[at : at + step]
        if len(self._header) < _HEADER_OCTETS:
            return at + step, False
        self._left, self._header = int.from_bytes(self._header[3:], "big"), b""
        return at + step, not self._left
