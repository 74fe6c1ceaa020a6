"""Fuzz the local sender's side. `python -m tests.fuzz.local_fuzz --cases N --seed S`.

Addresses go from a header through SMTP, the queue and a notification and stay the same; folded lines unfold to what
they were; a command line is understood or refused; a damaged file of commands is one message or none, and never one for
somebody else; and of a drop directory full of hostile things, with kills at any step, each whole message is accepted
once and nothing else ever is.
"""

import argparse
import asyncio
import contextlib
import email
import logging
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from letterlock.dsn import Fate, Report, ToldRecipient, compose
from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.envelope import Envelope
from letterlock.receive.batch import BadBatch, read_batch
from letterlock.sendmail.address_lists import readable_addresses
from letterlock.sendmail.arguments import parse
from letterlock.sendmail.exits import USAGE, Failure
from letterlock.sendmail.folding import MAX_LINE_OCTETS, break_lines, fold_field
from letterlock.sendmail.transfer import SubmittedEnvelope as Letter
from letterlock.smtp.commands import BadCommand, parse_rcpt
from letterlock.smtp.server_events import ServerLimits
from letterlock.store.envelopes import read_whole_envelope, write_envelope
from tests.receive.test_drop import Drop, Killed

NOW = 1_800_000_000.0
LIMITS = ServerLimits(max_message_octets=10_000)
LOCAL = ["a", "B", ".", "..", "+", "=", "'", '"', "\\", " ", "@", "ü", "😀", "<", ">", "(", ",", "%", "\r\n", "\0"]
DOMAINS = ["x.test", "X.test", "bücher.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "-.-", "a" * 64 + ".test", ""]
WORDS = ["a", "ü" * 200, "x" * 700, " ", "  ", "\t", ",", ";", "<a@b.c>", '"', "(", ")", "=?UTF-8?B?w7w=?=", "><", "\\"]
OPTIONS = [
    "-t",
    "-f",
    "-oi",
    "-bs",
    "-b",
    "-N",
    "never",
    "-V",
    "x y",
    "-R",
    "full",
    "--",
    "-",
    "",
    "--help",
    "-Q",
    "-q",
    "a@b",
]


def address_case(chance: random.Random) -> int:
    """An address all the way; whether it is one."""
    local = "".join(chance.choice(LOCAL) for _ in range(chance.randrange(6)))
    given = f"{local}@{chance.choice(DOMAINS)}"
    with contextlib.suppress(InvalidAddress):
        assert parse_mailbox(str(parse_mailbox(given))) == parse_mailbox(given)
    found, _ = readable_addresses(f"Ann <{given}>")
    if len(found) != 1 or not found[0]:
        return 0
    assert found[0].isprintable()
    try:
        recipient = parse_rcpt(f"TO:<{found[0]}>".encode(), smtputf8=True).recipient
    except BadCommand:
        return 0
    assert recipient is not None
    _through_queue_and_notification(recipient)
    return 1


def _through_queue_and_notification(recipient: Mailbox) -> None:
    envelope = Envelope(
        id="M1", reverse_path=recipient, recipients=(recipient,), size=1, accepted_at=1, expires_at=2, smtputf8=True
    )
    assert read_whole_envelope(write_envelope(envelope)) == envelope
    told = ToldRecipient(recipient=recipient, status="5.1.1", text="no")
    report = Report(sender=recipient, fate=Fate.FAILED, accepted_at=NOW, recipients=(told,), smtputf8=True)
    whole = compose(report, b"", hostname="mx.example", message_id="D1", now=NOW).decode()
    [final] = re.findall(r"^Final-Recipient: [a-z0-9-]+; (.*)\r$", whole, re.MULTILINE)
    assert parse_mailbox(final) == recipient
    to = email.message_from_string(whole)["To"]
    assert [parse_mailbox(each) for each in readable_addresses(str(to))[0]] == [recipient] or not str(to).isascii()


def folding_case(chance: random.Random) -> int:
    """A line, folded as a field and broken as a body; whether it had to be."""
    text = "".join(chance.choice(WORDS) for _ in range(chance.randrange(30)))
    broken = break_lines(text.encode())
    assert max(map(len, broken.split(b"\n"))) <= MAX_LINE_OCTETS
    assert re.sub(r"[ \t\n]", "", broken.decode()) == re.sub(r"[ \t]", "", text)
    name = chance.choice([b"to", b"subject", b"references", b"x-other"])
    line = name + b": " + text.encode()
    try:
        folded = fold_field(name, line)
    except Failure:
        return 0
    assert all(len(part) <= MAX_LINE_OCTETS for part in folded.split(b"\n"))
    assert re.sub(r"[ \t\n]", "", folded.decode()) == re.sub(r"[ \t]", "", line.decode())
    assert all(part[:1] in b" \t" for part in folded.split(b"\n")[1:])
    return b"\n" in folded


def arguments_case(chance: random.Random) -> int:
    """A command line; whether it is understood."""
    words = [_word(chance) for _ in range(chance.randrange(7))]
    try:
        arguments = parse(words)
    except Failure as failure:
        if failure.status != USAGE or not str(failure).isprintable():
            raise AssertionError(f"{words}: {failure.status} {failure}") from failure
        return 0
    assert set(arguments.recipients) <= set(words)
    return 1


def _word(chance: random.Random) -> str:
    if chance.random() < 0.7:
        return chance.choice(OPTIONS)
    return "-" + "".join(chr(chance.randrange(1, 0x250)) for _ in range(chance.randrange(4)))


def batch_case(chance: random.Random) -> int:
    """A damaged file of commands; whether it is a message all the same."""
    names = ["bob@x.test", "cat@y.test"]
    octets = bytearray(
        Letter("ann@x.test", names, body_type="7BIT").batch(names, b"Subject: s\r\n\r\nhi\r\n", "h.test")
    )
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(octets))
        octets[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    try:
        found = read_batch(bytes(octets), "h.test", LIMITS)
    except BadBatch:
        return 0
    assert max(len(found.recipients), len(found.refused)) <= len(names)
    return found.message is not None


HOSTILE: list[Callable[[Path], object]] = [
    lambda path: path.symlink_to("/etc/passwd"),
    os.mkfifo,
    lambda path: path.mkdir(),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(os.urandom(300)),
    lambda path: (path.parent / "refused" / path.name).hardlink_to(_written(path)),
]


def _written(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def drop_case(chance: random.Random) -> int:
    """A drop directory; how many messages came through."""
    folder = Path(tempfile.mkdtemp(prefix="letterlock-fuzz-"))
    try:
        return asyncio.run(_drop_case(chance, Drop(folder / "drop")))
    finally:
        shutil.rmtree(folder)


async def _drop_case(chance: random.Random, drop: Drop) -> int:
    wanted = [f"u{number}@x.test" for number in range(chance.randrange(1, 6))]
    for name in wanted:
        drop.leave(name)
        if chance.random() < 0.5:
            chance.choice(HOSTILE)(drop.path / f"new-{chance.randbytes(16).hex()}")
    for _ in range(chance.randrange(4)):
        await _until_killed(chance, drop)
        drop.directory.close()
        drop.start()
    for _ in range(3):
        await drop.collect()
    drop.directory.close()
    got = Counter(str(each) for envelope, _ in drop.store.accepted for each in envelope.recipients)
    assert got == Counter(wanted)
    assert not [name for name in drop.names if name.startswith("taken/")]
    return len(wanted)


async def _until_killed(chance: random.Random, drop: Drop) -> None:
    """One look that ends at a call chosen by chance, before or after it was done."""
    target, name = chance.choice(
        [(drop.directory, "take"), (drop.directory, "open"), (drop.directory, "finish"), (drop.delivery, "take")]
    )
    real, left, after = getattr(target, name), chance.randrange(4), chance.random() < 0.5

    def may_kill(*arguments: object) -> object:
        nonlocal left
        left -= 1
        if left < 0 and not after:
            raise Killed
        result = real(*arguments)
        if left < 0:
            raise Killed
        return result

    setattr(target, name, may_kill)
    with contextlib.suppress(Killed):
        await drop.collect()
    setattr(target, name, real)


KINDS = {
    "address": address_case,
    "folding": folding_case,
    "arguments": arguments_case,
    "batch": batch_case,
    "drop": drop_case,
}
WEIGHTS = [10, 4, 10, 10, 1]


def fuzz(cases: int, seed: int) -> Counter[str]:
    """Play that many cases; how many of each kind came to something. Raises AssertionError, with the case's seed."""
    chance, good = random.Random(seed), Counter[str]()
    for _ in range(cases):
        [kind] = chance.choices(list(KINDS), WEIGHTS)
        own = chance.getrandbits(64)
        try:
            good[kind] += KINDS[kind](random.Random(own))
        except Exception as fault:
            fault.add_note(f"the case: {kind}, seed {own}")
            raise
    return good


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable()
    print(f"{given.cases} cases, {dict(fuzz(given.cases, given.seed))}, no fault")


if __name__ == "__main__":
    main()
