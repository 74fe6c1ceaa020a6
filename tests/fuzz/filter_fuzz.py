"""Fuzz what filters and policy services answer. `python -m tests.fuzz.filter_fuzz --cases N --seed S`.

Frames come out as they were put in, however they are cut. An answer is read, or refused as BadFrame, and what was read
can be used as it is: replies in one line each, fields without line ends of their own, addresses that are addresses.
And the whole steps, with a filter or a service that is broken or hostile: the client gets a documented reply, and what
is queued is still a message, with CRLF line ends, our own Received field, and the body that came or that was wanted.
"""

import asyncio
import functools
import logging
import random
import re
import struct
from collections import Counter
from collections.abc import Callable

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import CheckedContent
from letterlock.mail.envelope import BodyType, TlsDemand
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import NO_WISHES
from letterlock.milter.answers import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    DeleteRecipient,
    FilterAnswer,
    read_answer,
)
from letterlock.milter.frames import (
    ALL_ACTIONS,
    ALL_STEPS,
    MAX_FRAME_OCTETS,
    Agreed,
    BadFrame,
    FilterAction,
    FilterCommand,
    FilterStep,
    FrameReader,
    frame,
    read_options,
)
from letterlock.net.service_address import ServiceAddress
from letterlock.receive.ask_milter import AskMilter, Milter
from letterlock.receive.ask_policy import AskPolicy, PolicyService
from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.when_away import AWAY, WhenAway
from letterlock.smtp.content import has_bare_line_ends
from letterlock.smtp.server_events import RecipientOffered, SenderOffered
from tests.fuzz.address_fuzz import require_reply, require_sound
from tests.fuzz.kinds import Case, command, damaged, require_words
from tests.fuzz.kinds import run as run_kinds

SENDER, RECIPIENT = Mailbox("ann", "example.org"), Mailbox("bob", "example.net")
RECEIVED = b"Received: from x by mx.example.org; Thu, 26 Nov 2026 12:00:00 +0000\r\n"
MESSAGE = b"From: ann@example.org\r\nSubject: one\r\n two\r\nX-Spam: no\r\n\r\nline\r\n.dot\r\n"
INDEX = struct.Struct("!I")
CHANGES = (
    *(
        (b"h", b"X-New\0value\0"),
        (b"h", b"X-New\0one\n two\0"),
        (b"h", b"X-New\0one\ntwo\0"),
        (b"h", b"X New\0v\0"),
        (b"h", b"\0v\0"),
    ),
    *(
        (b"h", b"X-New\0" + b"\xc3\xa4" * 40 + b"\0"),
        (b"h", b"X-New\0a\r\n b\0"),
        (b"h", b"X-New\0a\r\n\r\nbody\0"),
        (b"h", b"X\0"),
    ),
    *((b"i", INDEX.pack(0) + b"X-First\0v\0"), (b"i", INDEX.pack(1 << 31) + b"X-Last\0v\0"), (b"i", b"\0")),
    *(
        (b"m", INDEX.pack(1) + b"Subject\0changed\0"),
        (b"m", INDEX.pack(1) + b"SUBJECT\0\0"),
        (b"m", INDEX.pack(0) + b"Subject\0v\0"),
    ),
    *((b"m", INDEX.pack(9) + b"Subject\0more\0"), (b"m", INDEX.pack(1) + b"Received\0forged\0")),
    *(
        (b"b", b"a new body\n"),
        (b"b", b"bare\rreturn and no end"),
        (b"b", b"\0"),
        (b"b", b""),
        (b"b", b".\r\n" * 4),
        (b"b", b"\xff" * 1200),
    ),
    *(
        (b"+", b"<c@example.com>\0"),
        (b"+", b"c@example.com\0"),
        (b"+", b"<>\0"),
        (b"+", b"<a b@x>\0"),
        (b"2", b"<c@example.com>\0NOTIFY=NEVER\0"),
    ),
    *(
        (b"-", b"<bob@example.net>\0"),
        (b"-", b"<\xff>\0"),
        (b"e", b"<>\0"),
        (b"e", b"<eve@example.org>\0SIZE=1\0"),
        (b"e", b"x\0"),
    ),
    *((b"q", b"held\0"), (b"q", b"a\r\nb\0"), (b"q", b"\xff\0")),
)
VERDICTS = (
    *(
        (b"c", b""),
        (b"a", b""),
        (b"r", b""),
        (b"t", b""),
        (b"d", b""),
        (b"s", b""),
        (b"f", b""),
        (b"4", b""),
        (b"p", b""),
    ),
    *(
        (b"y", b"550 5.7.1 no\0"),
        (b"y", b"550-5.7.1 no\r\n550 5.7.1 no\0"),
        (b"y", b"550-a\r\n451 b\0"),
        (b"y", b"250 ok\0"),
    ),
    *(
        (b"y", b"421 4.7.0 go\0"),
        (b"y", b"550 100%% spam\0"),
        (b"y", b"550 a\rb\0"),
        (b"y", b"\0"),
        (b"y", b"550\0"),
        (b"y", b"550 " + b"x" * 3000 + b"\0"),
    ),
    *((b"y", b"550 \x1b[2J\0"), (b"y", b"550 \xc3\xa4\0"), (b"\xff", b""), (b"Z", b"x"), (b"O", b"")),
)
OFFERS = (
    struct.pack("!III", 6, ALL_ACTIONS, 0),
    struct.pack("!III", 6, ALL_ACTIONS, ALL_STEPS),
    struct.pack("!III", 2, 0x3F, 0x7F),
    struct.pack("!III", 7, 0, 0),
    struct.pack("!III", 1, 0, 0),
    struct.pack("!III", 6, 1 << 31, 0),
    struct.pack("!III", 6, ALL_ACTIONS, FilterStep.NO_BODY | FilterStep.NO_REPLY_HEADER),
    struct.pack("!III", 6, ALL_ACTIONS, 0) + INDEX.pack(2) + b"i {mail_addr}\0",
    struct.pack("!III", 6, ALL_ACTIONS, 0) + INDEX.pack(99) + b"i\0",
    struct.pack("!III", 6, ALL_ACTIONS, 0) + b"\0\0",
)
ACTIONS = (
    *(
        "action=DUNNO",
        "action=OK",
        "action=reject",
        "action=REJECT 5.7.1 not you",
        "action=defer_if_permit later",
        "action=",
    ),
    *(
        "action=PREPEND X-Greylist: delayed",
        "action=PREPEND X: a\rb",
        "action=prepend no field",
        "action=HOLD",
        "action=DISCARD x",
    ),
    *(
        "action=450 4.7.1 wait",
        "action=550",
        "action=250 ok",
        "action=999 x",
        "action=550 \x1b[2J\u00e4",
        "action=550 2.0.0 fine",
    ),
    *(
        "action=FILTER smtp:x",
        "action=" + "x" * 5000,
        "x=y",
        "",
        "ACTION = dunno",
        "action",
        "action=warn \r\n",
        "action=reject " + "y" * 900,
    ),
)
WHEN_AWAY: tuple[WhenAway, ...] = ("tempfail", "accept", "reject", "shutdown")


def frames_case(chance: random.Random) -> str:
    """Frames, cut; perhaps damaged."""
    sent = [
        (chance.choice("cCbq"), chance.randbytes(chance.choice((0, 1, 5, 300)))) for _ in range(chance.randrange(1, 5))
    ]
    octets = b"".join(frame(letter, data) for letter, data in sent)
    spoiled = chance.random() < 0.4
    octets = damaged(octets, chance) if spoiled else octets
    reader, found, step = FrameReader(), list[tuple[str, bytes]](), chance.randrange(1, 40)
    for at in range(0, len(octets), step):
        reader.feed(octets[at : at + step])
        try:
            while (one := reader.next_frame()) is not None:
                assert len(one[1]) < MAX_FRAME_OCTETS
                found.append(one)
        except BadFrame:
            assert spoiled
            return "refused"
    assert spoiled or found == sent
    return "read"


def options_case(chance: random.Random) -> str:
    """A filter's answer to our offer."""
    data = chance.choice(OFFERS)
    data = damaged(data, chance) if chance.random() < 0.5 else data
    try:
        agreed = read_options(chance.choice("OOOOc"), data)
    except BadFrame as error:
        require_words(error)
        return "refused"
    assert 2 <= agreed.version <= 6
    assert agreed.actions in ALL_ACTIONS
    assert agreed.steps in ALL_STEPS
    assert all(isinstance(stage, FilterCommand) for stage in agreed.macros)
    return "agreed"


def _answer(chance: random.Random) -> tuple[str, bytes]:
    letter, data = chance.choice(CHANGES if chance.random() < 0.6 else VERDICTS)
    return letter.decode("latin-1"), damaged(data, chance) if chance.random() < 0.4 else data


def answer_case(chance: random.Random) -> str:
    """One answer."""
    letter, data = _answer(chance)
    agreed = Agreed(6, chance.choice((ALL_ACTIONS, FilterAction(chance.randrange(0x200)))), FilterStep(0), {})
    at_end = chance.random() < 0.9
    try:
        read = read_answer(letter, data, agreed, at_end=at_end)
    except BadFrame as error:
        require_words(error)
        return "refused"
    match read:
        case FilterAnswer(_, Reply() as reply):
            require_reply(reply)
        case AddHeader(name, value) | ChangeHeader(name, value):
            assert re.fullmatch(rb"[!-9;-~]+", name)
            assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\r\n(?![ \t])|\0", value)
        case AddRecipient(recipient) | DeleteRecipient(recipient):
            require_sound(recipient)
        case ChangeSender(Mailbox() as path):
            require_sound(path)
    assert at_end or isinstance(read, FilterAnswer) or letter == "p"
    return type(read).__name__


# --- the whole steps ---


class _Writer(asyncio.StreamWriter):
    """Hands what is written to a function: no socket."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self._heard, self._closed = heard, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closed:
            self._heard(bytes(data))

    async def drain(self) -> None:
        """Nothing waits."""

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    def __del__(self) -> None:
        """There is no transport to look after."""


class _Hostile(ServiceAddress):
    """A filter that answers by chance: mostly as it should, else with anything."""

    chance: random.Random

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, frames, gone = asyncio.StreamReader(), FrameReader(), asyncio.Event()

        def heard(data: bytes) -> None:
            frames.feed(data)
            while not gone.is_set() and (found := frames.next_frame()) is not None:
                if (said := self._said(found[0])) is None:
                    gone.set()
                    reader.feed_eof()
                else:
                    reader.feed_data(said)

        return reader, _Writer(heard)

    def _said(self, letter: str) -> bytes | None:
        chance = self.chance
        if letter in "DAQ":
            return b""
        if letter == "O":
            return frame("O", OFFERS[0] if chance.random() < 0.8 else chance.choice(OFFERS))
        if letter == "E":
            changes = [_answer(chance) for _ in range(chance.randrange(4))]
            verdict = chance.choice(("c", "c", "a", "r", "t", "d"))
            said = b"".join(_framed(*each) for each in changes) + frame(verdict)
        else:
            said = frame("c") if chance.random() < 0.95 else _framed(*_answer(chance))
        if chance.random() < 0.03:
            return None
        return damaged(said, chance) + frame("t") * 3 if chance.random() < 0.05 else said


def _framed(letter: str, data: bytes) -> bytes:
    return INDEX.pack(len(data) + 1) + letter.encode("latin-1") + data


def _draft() -> Draft:
    return Draft(
        id="ID1",
        received_at=1_800_000_000.0,
        reverse_path=SENDER,
        recipients=(RECIPIENT,),
        body_type=BodyType.SEVEN_BIT,
        tls_demand=TlsDemand.NONE,
        wishes=NO_WISHES,
        smtputf8=False,
        content=CheckedContent(MESSAGE),
        fields=RECEIVED,
    )


def milter_case(chance: random.Random) -> str:
    """A message, and perhaps a second one, through the step."""
    address = _Hostile()
    object.__setattr__(address, "chance", chance)
    away = chance.choice(WHEN_AWAY)
    step = AskMilter(Milter(name="fuzz", address=address, seconds=0.01, when_away=away), "mx.example.org", 10_000)
    facts = Facts(
        client="192.0.2.1", client_label="x[192.0.2.1]", hello="x", local_uid=chance.choice((None, None, 1000))
    )
    return _runner().run(_through(step, facts, chance))


async def _through(step: AskMilter | AskPolicy, facts: Facts, chance: random.Random) -> str:
    ended = "queued"
    for _ in range(chance.choice((1, 1, 2))):
        draft = _draft()
        facts.recipients = ()
        reply = await step.sender(facts, SenderOffered(SENDER, None)) if isinstance(step, AskMilter) else None
        reply = reply or await step.recipient(facts, RecipientOffered(SENDER, RECIPIENT))
        if reply is None and isinstance(step, AskMilter):
            reply = await step.message(facts, draft)
        elif isinstance(step, AskPolicy) and reply is None:
            step.message(facts, draft)
        if reply is not None:
            require_reply(reply)
            assert reply.lines
            ended = str(reply.code)
            if reply.code == 421:
                break
        else:
            require_message(draft)
            ended = "queued" if draft.recipients else "discarded"
    step.ended(facts)
    assert not facts.kept
    return ended


def require_message(draft: Draft) -> None:
    """Still a message, with what is ours."""
    envelope, body = draft.finish("x[192.0.2.1]", 1.0)
    whole = b"".join(body.pieces) if not isinstance(body, CheckedContent) else bytes(body)
    assert not has_bare_line_ends(whole)
    assert b"\0" not in whole
    assert whole.endswith(b"\r\n")
    assert RECEIVED in whole
    assert draft.body_type is BodyType.EIGHT_BIT_MIME or whole.isascii()
    head, _, _ = whole.partition(b"\r\n\r\n")
    assert re.fullmatch(rb"(?:[!-9;-~]+[ \t]*:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*(?:\r\n)?)+", head), head
    for each in (*envelope.recipients, *filter(None, (envelope.reverse_path,))):
        require_sound(each)


class _Service(ServiceAddress):
    """A policy service that answers by chance."""

    chance: random.Random

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, gone = asyncio.StreamReader(), asyncio.Event()

        def heard(data: bytes) -> None:
            assert data.endswith(b"\n\n")
            assert data.count(b"\n\n") == 1
            said = "\n".join(self.chance.choices(ACTIONS, k=self.chance.choice((1, 1, 2)))).encode() + b"\n\n"
            if self.chance.random() < 0.2:
                said = damaged(said, self.chance)
            if gone.is_set():
                return
            if self.chance.random() < 0.05 or b"\n\n" not in said:
                gone.set()
                reader.feed_eof()
            else:
                reader.feed_data(said)

        return reader, _Writer(heard)


def policy_case(chance: random.Random) -> str:
    """A recipient and a message through the step of a policy service."""
    address = _Service()
    object.__setattr__(address, "chance", chance)
    step = AskPolicy(PolicyService(name="fuzz", address=address, seconds=0.01, when_away=chance.choice(WHEN_AWAY)))
    facts = Facts(client="192.0.2.1", client_label="x[192.0.2.1]", hello=chance.choice(("x", "a\nb=c", "\udcff")))
    return _runner().run(_through(step, facts, chance))


@functools.cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


assert set(AWAY) == set(WHEN_AWAY)
KINDS: dict[str, tuple[int, Case]] = {
    "frames": (2, frames_case),
    "options": (1, options_case),
    "answer": (5, answer_case),
    "milter": (3, milter_case),
    "policy": (2, policy_case),
}


def run(cases: int, seed: int) -> Counter[str]:
    """Play so many cases, without the log lines of filters that fail."""
    log = logging.getLogger("letterlock.receive")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        return run_kinds(KINDS, cases, seed)
    finally:
        log.setLevel(level)


if __name__ == "__main__":
    logging.disable()
    command(__doc__, KINDS)
