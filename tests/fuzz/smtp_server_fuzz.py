"""Fuzz the SMTP server: hostile sessions in random pieces. `python -m tests.fuzz.smtp_server_fuzz --cases N --seed S`.

Of any octets nothing may come but replies: no exception, no memory without bound, no message whose content has a bare
CR or LF. And how the octets were cut makes no difference, but for commands after which a client must wait.
"""

import argparse
import random
from dataclasses import dataclass

from letterlock.smtp.content import has_bare_line_ends
from letterlock.smtp.server_events import End, Ended, ServerLimits, StartTlsRequested
from letterlock.smtp.server_table import State
from letterlock.smtp.server_transaction import RECIPIENT_OCTETS
from tests.bodies import octets_of
from tests.smtp.server_driver import Driver

LIMITS = ServerLimits(max_message_octets=2000, max_command_octets=512, max_recipients=100)
MAX_ENVELOPE_OCTETS = LIMITS.max_recipients * (RECIPIENT_OCTETS + LIMITS.max_command_octets)
MAX_PIECE = 700
PHRASES = (
    *(b"EHLO a.example\r\n", b"HELO [192.0.2.1]\r\n", b"MAIL FROM:<a@example.org>\r\n", b"MAIL FROM:<> SIZE=3000\r\n"),
    *(
        b"RCPT TO:<b@example.net>\r\n",
        b'RCPT TO:<"q \\" >"@example.net>\r\n',
        b"DATA\r\n",
        b"RSET\r\n",
        b"STARTTLS\r\n",
    ),
    *(
        b"QUIT\r\n",
        b"NOOP\r\n",
        b"\r\n.\r\n",
        b".\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b".",
        b"..",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
    ),
    *(
        b"Received: x\r\n" * 60,
        b"\0",
        b"\xff\xc3\xa4",
        b"x" * 600,
        b"y" * 998 + b"\r\n",
        b"BDAT 3\r\n",
        b"BDAT 40 LAST\r\n",
        b"BDAT 0 LAST\r\n",
        "MAIL FROM:<ä@bücher.example> SMTPUTF8\r\nRCPT TO:<ö@example.net> ORCPT=utf-8;ö@x\r\n".encode(),
        b"GET / HTTP/1.0\r\n",
    ),
)
OPENING = b"EHLO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
NOT_SYNCHRONIZED, INJECTED = b"\r\n554 5.5.0 ", b"\r\n421 4.7.0 Octets"
Outcome = tuple[bytes, tuple[bytes, ...], State]


@dataclass(frozen=True)
class Case:
    """What a client sends, in the groups between which it waits for replies."""

    groups: tuple[bytes, ...]


def make_case(chance: random.Random) -> Case:
    """A session: often well begun, then anything."""
    groups = OPENING.splitlines(keepends=True) if chance.random() < 0.7 else []
    for _ in range(chance.randrange(12)):
        group = b"".join(chance.choice(PHRASES) for _ in range(chance.randrange(1, 6)))
        groups.append(_mutate(group, chance) if chance.random() < 0.3 else group)
    return Case(tuple(groups))


def _mutate(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.randrange(4)) + data[at + chance.randrange(3) :]


def play(case: Case, chance: random.Random | None) -> Outcome:
    """Run a case, each group cut at random places (None: whole), and check what must always hold."""
    driver = Driver(starttls=True, limits=LIMITS)
    said = [driver.greeting]
    for group in case.groups:
        for piece in _cut(group, chance):
            said.append(driver.send(piece))
            if driver.events and isinstance(driver.events[-1], StartTlsRequested):
                driver.server.tls_established()
                driver.events.append(Ended(End.LOST))
                break  # what else the client sent in cleartext does not exist
            envelope = driver.server._mail.envelope_octets
            assert envelope <= MAX_ENVELOPE_OCTETS
            assert driver.server.held_octets - envelope <= LIMITS.max_message_octets * 4 // 3 + 8 + MAX_PIECE
    _check_messages(driver)
    output = b"".join(said)
    assert all(line[:3].isdigit() and line[3:4] in b" -" for line in output.splitlines())
    return output, tuple(octets_of(message.content) for message in driver.messages), driver.server.state


def _cut(group: bytes, chance: random.Random | None) -> list[bytes]:
    step = MAX_PIECE if chance is None else chance.randrange(1, MAX_PIECE)
    return [group[start : start + step] for start in range(0, len(group), step)]


def _check_messages(driver: Driver) -> None:
    for message in driver.messages:
        content = octets_of(message.content)
        assert not has_bare_line_ends(content)
        assert len(message.content) == len(content) <= LIMITS.max_message_octets
        assert content.endswith(b"\r\n") or not content
        assert 1 <= len(message.recipients) <= LIMITS.max_recipients


def fuzz(cases: int, seed: int) -> int:
    """Play that many cases; how many messages got through. Raises AssertionError, with the case, on a fault."""
    chance, messages = random.Random(seed), 0
    for _ in range(cases):
        case = make_case(chance)
        try:
            whole, cut = play(case, None), play(case, chance)
            assert whole == cut or NOT_SYNCHRONIZED in whole[0] + cut[0] or INJECTED in whole[0] + cut[0]
            messages += len(whole[1])
        except Exception as fault:
            fault.add_note(f"the case: {case}")
            raise
    return messages


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"{given.cases} cases, {fuzz(given.cases, given.seed)} messages, no fault")


if __name__ == "__main__":
    main()
