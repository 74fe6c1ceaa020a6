"""One message's way through the log, or that of the messages with an address. Pure.

The log is read twice: first for the ids of the messages, then for their lines, some of which precede the line by which
a message was found. What is remembered is bounded.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from letterlock.cli.log.log_lines import LogLine
from letterlock.queue.ids import CHANCE_DIGITS, TIME_DIGITS

MAX_MESSAGES = 200  # chosen: more than anybody reads; the newest are kept
MAX_LINES = 20_000  # chosen: some megabytes of memory
_ID = rf"[0-9A-HJKMNP-TV-Z]{{{TIME_DIGITS + CHANCE_DIGITS}}}"
_ABOUT = re.compile(rf"({_ID}): (.*)", re.DOTALL)
IDS = re.compile(rf"\b{_ID}\b")
_MESSAGE_ID = re.compile(r"message-id=(.*)", re.DOTALL)
_SENDER = re.compile(r"(?:uid=\d+ )?from=<(.*?)>(?:,|$)")
_OUTCOME = re.compile(r"to=<(.*?)>, relay=(.*?), .*?dsn=([\d.]+), status=(\w+) ", re.DOTALL)
_NOTIFICATION = re.compile(rf"sender [a-z-]+ notification: ({_ID})")


@dataclass(slots=True)
class TracedMessage:
    """What the log has of one message. `outcomes` has each recipient's last status; `notice_of` what it is about."""

    id: str
    lines: list[LogLine] = field(default_factory=list)
    message_id: str | None = None
    sender: str | None = None
    outcomes: dict[str, str] = field(default_factory=dict)
    notice_of: str | None = None


def about(text: str) -> tuple[str, str] | None:
    """The id of the message that a line is about, and the rest of the line."""
    found = _ABOUT.match(text)
    return None if found is None else (found[1], found[2])


class LogSearch:
    """Collects the messages that are meant by a word: an id, a Message-ID, or an address of an envelope."""

    def __init__(self, word: str) -> None:
        self._word = word.strip()
        self._bare = self._word.removeprefix("<").removesuffix(">").casefold()
        self._found: dict[str, TracedMessage] = {}
        self._collected = 0
        self.forgotten = 0  # messages beyond MAX_MESSAGES
        self.truncated = False  # whether there were more than MAX_LINES

    @property
    def needle(self) -> str:
        """Any line by which a message is found has this, in whatever case."""
        return self._bare

    def find(self, line: LogLine) -> None:
        """First reading: see whether the line is of a message that is meant."""
        subject = about(line.text)
        if subject is None:
            return
        message_id, rest = subject
        if message_id in self._found:
            if notice := _NOTIFICATION.match(rest):
                self._add(notice[1], notice_of=message_id)
        elif self._is_meant(message_id, rest):
            self._add(message_id)

    def _is_meant(self, message_id: str, rest: str) -> bool:
        if message_id == self._word:
            return True
        if found := _MESSAGE_ID.match(rest):
            return found[1].strip().removeprefix("<").removesuffix(">").casefold() == self._bare
        named = _SENDER.match(rest) or _OUTCOME.match(rest)
        return named is not None and bool(self._bare) and named[1].casefold() == self._bare

    def _add(self, message_id: str, notice_of: str | None = None) -> None:
        self._found.setdefault(message_id, TracedMessage(message_id, notice_of=notice_of))
        if len(self._found) > MAX_MESSAGES:
            del self._found[next(iter(self._found))]
            self.forgotten += 1

    def is_about_found(self, ids: Iterable[str]) -> bool:
        """Second reading: whether one of the ids in a line is wanted."""
        return any(each in self._found for each in ids)

    def collect(self, line: LogLine) -> None:
        """Second reading: keep the line of a message that was found."""
        subject = about(line.text)
        if subject is None or (message := self._found.get(subject[0])) is None:
            return
        if self._collected >= MAX_LINES:
            self.truncated = True
            return
        self._collected += 1
        rest = subject[1]
        message.lines.append(LogLine(line.at, line.program, rest))
        if found := _MESSAGE_ID.match(rest):
            message.message_id = found[1]
        elif found := _SENDER.match(rest):
            message.sender = found[1]
        elif found := _OUTCOME.match(rest):
            message.outcomes[found[1]] = found[4]

    def messages(self) -> list[TracedMessage]:
        """All that was found, in the order in which they came, their lines in order of time."""
        for each in self._found.values():
            each.lines.sort(key=lambda line: line.at)
        return sorted((each for each in self._found.values() if each.lines), key=lambda each: each.id)
