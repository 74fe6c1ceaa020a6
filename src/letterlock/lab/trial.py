"""One cell of the table: a message with a secret, sent through the server under test while one attack is on.

Three witnesses are heard, and must agree: the mailboxes of the honest servers, the loot of the attackers, and the
record of the server under test. What the server claims never counts for more than what came over the wire.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass

from letterlock.lab.arsenal import ARSENAL
from letterlock.lab.box import Box, running_box
from letterlock.lab.raw_smtp import listening, say_nothing
from letterlock.lab.scenarios import Attack, Expectation, SiteProtection, TrialOutcome
from letterlock.lab.subject import NotAccepted, ObservedState, OperatorRecord, Subject, recipient_of, running_subject
from letterlock.lab.theory import expected
from letterlock.lab.transcript import Transcript
from letterlock.lab.world import ATTACKER_DOMAIN, DOMAINS
from letterlock.policy.decision import Level

MAX_BOXES = 4  # chosen: each has a dozen servers, and most of a trial is waiting
CELL_SECONDS = 60.0  # chosen: a guard; a cell takes about one
_DELIVERED = {
    Level.AUTHENTICATED: TrialOutcome.AUTHENTICATED,
    Level.ENCRYPTED: TrialOutcome.ENCRYPTED,
    Level.CLEAR: TrialOutcome.CLEAR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What theory said, what happened, and why; `reasons` are the server's own."""

    attack: Attack
    protection: SiteProtection
    expected: Expectation
    outcome: TrialOutcome
    readable: bool
    reasons: tuple[dict[str, str], ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether everything is as theory says: what happened, who could read it, and why."""
        as_told = self.outcome is self.expected.outcome and self.readable == self.expected.readable
        because = self.expected.because
        return as_told and (because is None or any(reason["code"] == because for reason in self.reasons))

    @property
    def worse(self) -> bool:
        """Whether somebody could read what theory says nobody can."""
        return self.readable and not self.expected.readable


async def run_cells(attacks: Iterable[Attack], protections: Iterable[SiteProtection]) -> AsyncIterator[Cell]:
    """Run every attack against every protection; the cells, as they are done.

    Each attack has a box and a server of its own, each protection a domain of its own.
    """
    slots = asyncio.Semaphore(MAX_BOXES)
    chosen = tuple(protections)

    async def one(attack: Attack) -> list[Cell]:
        async with slots:
            async with running_box(attack) as box, running_subject(box) as subject:
                cells = await asyncio.gather(*(_run_cell(box, subject, each) for each in chosen))
            return [await _confirmed(cell) for cell in cells]

    tasks = [asyncio.create_task(one(attack)) for attack in attacks]
    try:
        for done in asyncio.as_completed(tasks):
            for cell in await done:
                yield cell
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _confirmed(cell: Cell) -> Cell:
    """The cell, or what it is by itself: on a busy machine a lookup can be late, and mail waits that theory delivers.

    A cell that is worse than theory counts as it is, always.
    """
    return cell if cell.passed or cell.worse else (await replay(cell.attack, cell.protection))[0]


async def replay(attack: Attack, protection: SiteProtection) -> tuple[Cell, Transcript]:
    """Run one cell, and keep what the attacker saw of it."""
    transcript = Transcript(domains=(DOMAINS[protection], ATTACKER_DOMAIN), paused=True)
    async with running_box(attack, transcript=transcript) as box, running_subject(box) as subject:
        transcript.paused = False
        cell = await _run_cell(box, subject, protection)
        transcript.paused = True
    return cell, transcript


async def _run_cell(box: Box, subject: Subject, protection: SiteProtection) -> Cell:
    started = time.monotonic()
    secret = secrets.token_hex(16)
    await _submitted_through_attacker(box, subject, protection, secret)
    if ARSENAL[box.attack].twice:
        await _send(subject, box, protection, secrets.token_hex(16))
    record, queued = await _send(subject, box, protection, secret)
    return Cell(
        attack=box.attack,
        protection=protection,
        expected=expected(box.attack, protection),
        outcome=classify(record, queued=queued, encrypted=box.seen_encrypted(protection, secret.encode())),
        readable=box.stolen(protection, secret.encode()),
        reasons=record.reasons if record else (),
        seconds=time.monotonic() - started,
    )


async def _submitted_through_attacker(box: Box, subject: Subject, protection: SiteProtection, secret: str) -> None:
    """A client hands the message over through the attacker, if that is part of the attack; it need not be accepted.

    A server that obeys what was injected sends the attacker a copy, and the cell shows it.
    """
    make = ARSENAL[box.attack].towards_us
    if make is None:
        return
    with socket.socket() as bound:
        bound.bind((box.subject_address, 0))
        async with listening(bound, make(*subject.place, say_nothing).talk):
            with suppress(NotAccepted):  # the attacker got in the way: what was read is what counts
                await subject.submit(recipient_of(box, protection), secret, tls=True, through=bound.getsockname())


async def _send(
    subject: Subject, box: Box, protection: SiteProtection, secret: str
) -> tuple[OperatorRecord | None, bool]:
    """Send a message; the record of its first attempt, if there is one in time, and whether it waits in the queue."""
    recipient = recipient_of(box, protection)
    message_id = await subject.submit(recipient, secret, requiretls=protection is SiteProtection.REQUIRETLS)
    record = await subject.record_of(message_id, recipient, timeout_seconds=CELL_SECONDS)
    if record is None:  # undecided, whatever the queue says; and the attempt may go on for long
        return None, True
    return record, await subject.is_queued(message_id, recipient)


def classify(record: OperatorRecord | None, *, queued: bool, encrypted: bool | None) -> TrialOutcome:
    """The outcome, from the server's record and queue, and from how the message arrived (None: nobody got it)."""
    if record is None:
        return TrialOutcome.UNDECIDED
    if record.state is ObservedState.DEFERRED and queued and encrypted is None:
        return TrialOutcome.HELD
    if record.state is ObservedState.DELIVERED and not queued and encrypted is not None and record.level is not None:
        outcome = _DELIVERED[record.level]
        return outcome if encrypted == (outcome is not TrialOutcome.CLEAR) else TrialOutcome.INCONSISTENT
    return TrialOutcome.INCONSISTENT
