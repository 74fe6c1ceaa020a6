"""The client's side of SMTP (RFC 5321), one command at a time, over a blocking socket.

`_socket` is what `socket` wraps: the wrapper costs more than the rest of this program.
"""

import _socket
import time

from letterlock.sendmail.exits import PROTOCOL, TEMPFAIL, UNAVAILABLE, Failure, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# The server is on this machine, and what it does not take waits in the drop directory: no reason for the minutes of
# RFC 5321 section 4.5.3.2. Only the reply to the final dot is worth waiting for, or the message may be sent twice.
CONNECT_SECONDS = 10.0
REPLY_SECONDS = 30.0
FINAL_REPLY_SECONDS = 120.0
MAX_REPLY_LINE_OCTETS = 2048  # chosen: RFC 5321 section 4.5.3.1.5 has 512; the server may be another one
MAX_REPLY_LINES = 100  # chosen: EHLO replies have ten to twenty
READ_OCTETS = 4096  # chosen: holds the replies to a whole pipelined group, nearly always


class Lost(Exception):
    """The connection ended, or the server fell silent."""


class ServerReply:
    """A code and its lines, without the codes before them; `raw` is what was received."""

    __slots__ = ("code", "lines", "raw")

    def __init__(self, code: int, lines: list[str], raw: bytes) -> None:
        self.code = code
        self.lines = lines
        self.raw = raw

    def __str__(self) -> str:
        return f"{self.code} {' '.join(self.lines)}"


class SubmissionSession:
    """A connection to the server, from its greeting to `close`. Both directions are shown to `watch`."""

    def __init__(self, listen: tuple[str, ...], watch: "Callable[[str, bytes], None] | None" = None) -> None:
        self._watch = watch
        self._buffer = b""
        self._connection = _connect(listen)
        self._patience = REPLY_SECONDS
        self.offers: dict[str, str] = {}

    def quit(self) -> None:
        """Take leave. What goes wrong now no longer matters: the message is settled."""
        try:
            self.command("QUIT")
        except (Lost, Failure):  # see above
            return

    def close(self) -> None:
        """End the connection, whatever its state."""
        self._connection.close()

    def greet(self, hostname: str) -> None:
        """Wait for the greeting, send EHLO, and read the extensions offered. Raises Lost, Failure."""
        for reply in (self.reply(), self.command(f"EHLO {hostname}")):
            if not 200 <= reply.code < 300:  # RFC 5321 section 4.3.2: the first digit decides
                raise Failure(TEMPFAIL if reply.code < 500 else UNAVAILABLE, f"the server says {reply}")
        self.offers = {line.partition(" ")[0].upper(): line.partition(" ")[2] for line in reply.lines[1:]}

    def command(self, line: str) -> ServerReply:
        """Send one line and wait for its reply. Raises Lost, Failure (PROTOCOL)."""
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def content(self, wire: bytes) -> ServerReply:
        """Send a message and the final dot. Raises Lost, Failure (PROTOCOL)."""
        self._patience = FINAL_REPLY_SECONDS
        self.send(wire, quiet=True)
        self.send(b".\r\n")
        try:
            return self.reply()
        finally:
            self._patience = REPLY_SECONDS

    def send(self, octets: "bytes | bytearray", *, quiet: bool = False) -> None:
        """Send octets as they are. Raises Lost."""
        if self._watch and not quiet:
            self._watch(">", bytes(octets))
        try:
            self._connection.settimeout(self._patience)
            self._connection.sendall(octets)
        except OSError as error:
            raise Lost(error.strerror or str(error)) from None

    def reply(self) -> ServerReply:
        """Wait for a reply, all its lines. Raises Lost, Failure (PROTOCOL)."""
        raw = b""
        lines: list[str] = []
        deadline = time.monotonic() + self._patience  # of the whole reply, however it trickles in
        while len(lines) < MAX_REPLY_LINES:
            line = self._line(deadline)
            raw += line
            text = line.rstrip(b"\r\n").decode("utf-8", "replace")
            if not (
                text[:3].isascii() and text[:3].isdigit() and "2" <= text[0] <= "5" and text[3:4] in (" ", "-", "")
            ):
                break
            lines.append(printable(text[4:]))
            if text[3:4] != "-":
                if self._watch:
                    self._watch("<", raw)
                return ServerReply(int(text[:3]), lines, raw)
        raise Failure(PROTOCOL, f"what answers is no SMTP server: {printable(raw[:80].decode('utf-8', 'replace'))}")

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_REPLY_LINE_OCTETS:
                raise Failure(PROTOCOL, "what answers is no SMTP server: its line has no end")
            try:
                self._connection.settimeout(max(0.001, deadline - time.monotonic()))  # 0 would not wait at all
                received = self._connection.recv(READ_OCTETS)
            except OSError as error:
                raise Lost(error.strerror or str(error)) from None
            if not received:
                raise Lost("the server ended the connection")
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"


def _connect(listen: tuple[str, ...]) -> _socket.socket:
    """The first of the server's addresses that answers, those of this machine's loopback first."""
    trouble = "it listens nowhere"
    for address, port in sorted(map(_endpoint, listen), key=lambda each: not each[0].startswith(("127.", "::1"))):
        connection = _socket.socket(_socket.AF_INET6 if ":" in address else _socket.AF_INET, _socket.SOCK_STREAM)
        connection.settimeout(CONNECT_SECONDS)
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)  # else the final dot waits 40 ms for an ACK
        try:
            connection.connect(_reachable(address, port))
        except (OSError, OverflowError) as error:
            connection.close()
            trouble = f"{address} port {port}: {getattr(error, 'strerror', None) or error}"
        else:
            return connection
    raise Lost(f"no server answers at {trouble}")


def _reachable(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """With the interface of a scoped address such as `fe80::1%eth0` as a number. Raises OSError when there is none."""
    host, _, zone = address.partition("%")
    return (host, port, 0, int(zone) if zone.isdigit() else _socket.if_nametoindex(zone)) if zone else (host, port)


def _endpoint(text: str) -> tuple[str, int]:
    """An address to connect to, for one to listen on: loopback, where it listens on all."""
    address, _, port = text.rpartition(":")
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.strip("[]"), address.strip("[]"))  # noqa: S104
    return address, int(port) if port.isascii() and port.isdigit() else 0
