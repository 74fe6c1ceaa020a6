"""A server that reads what came together and answers it in one write, as servers with PIPELINING do (RFC 2920)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from letterlock.ports import Stream

SILENCE = b"(nothing)"
CLOSE = b""


@dataclass
class GroupServer:
    """`answers` replace what a command of a session's transaction gets, as "MAIL 2"; "." is the end of its content.

    CLOSE ends the connection behind what was said before, SILENCE gives no answer. `answers` hold for the first session
    only; the later ones go well.
    """

    answers: Mapping[str, bytes] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("PIPELINING", "SIZE 100000", "8BITMIME")
    heard: list[bytes] = field(default_factory=list)  # each read of the first session
    messages: list[tuple[int, str]] = field(default_factory=list)  # session, and subject
    sessions: int = 0

    async def __call__(self, stream: Stream) -> None:
        """Serve one connection."""
        self.sessions += 1
        await stream.write(b"220 mx\r\n")
        await _GroupSession(self, self.sessions, stream).run()

    @property
    def groups(self) -> list[bytes]:
        """What was read behind the greeting, as the first words of its lines."""
        return [b" ".join(line.partition(b" ")[0] for line in read.splitlines()) for read in self.heard[1:]]


class _GroupSession:
    def __init__(self, server: GroupServer, number: int, stream: Stream) -> None:
        self.server = server
        self.number = number
        self.stream = stream
        self.buffer = b""
        self.transaction = 0
        self.accepted = 0
        self.in_content = False
        self.said: list[bytes] = []
        self.over = False

    async def run(self) -> None:
        while not self.over and (data := await self.stream.read(65536)):
            if self.number == 1:
                self.server.heard.append(data)
            self.buffer += data
            while self._take():
                pass
            if self.said:
                await self.stream.write(b"".join(self.said))
                self.said.clear()

    def _take(self) -> bool:
        end = b"\r\n.\r\n" if self.in_content else b"\r\n"
        found, ended, rest = self.buffer.partition(end)
        if not ended or self.over:
            return False
        self.buffer = rest
        if self.in_content:
            self.in_content = False
            self._say(".", b"250 2.0.0 queued\r\n", found)
        else:
            self._command(found.decode())
        return True

    def _command(self, line: str) -> None:
        word, _, argument = line.partition(" ")
        match word:
            case "EHLO":
                lines = ["mx", *self.server.extensions]
                offers = [f"250{'-' if each is not lines[-1] else ' '}{each}\r\n" for each in lines]
                self.said.append("".join(offers).encode())
            case "MAIL":
                self.transaction += 1
                self.accepted = 0
                self._say("MAIL", b"250 2.1.0 Ok\r\n")
            case "RCPT":
                self._say("RCPT", b"250 2.1.5 Ok\r\n")
            case "DATA":
                self._say("DATA", b"354 go\r\n" if self.accepted else b"503 5.5.1 no recipients\r\n")
            case "BDAT":
                octets = int(argument.split()[0])
                content, self.buffer = self.buffer[:octets], self.buffer[octets:]
                self._say(".", b"250 2.0.0 queued\r\n", content)
            case "QUIT":
                self.said.append(b"221 bye\r\n")
                self.over = True
            case _:
                self.said.append(b"250 2.0.0 Ok\r\n")

    def _say(self, word: str, usual: bytes, content: bytes = b"") -> None:
        scripted = self.server.answers if self.number == 1 else {}
        answer = scripted.get(f"{word} {self.transaction}", usual)
        if word == "RCPT" and answer.startswith(b"25"):
            self.accepted += 1
        if word == "." and b"250 " in answer and content:
            subject = content.partition(b"Subject: ")[2].partition(b"\r\n")[0]
            self.server.messages.append((self.number, subject.decode()))
        if answer == CLOSE or answer.startswith(b"421"):
            self.over = True
        if answer != SILENCE:
            self.said.append(answer)
        self.in_content = word == "DATA" and answer.startswith(b"354")
        if self.in_content:
            self.buffer = b"\r\n" + self.buffer  # so that an empty content has an end, too
