"""Asks a filter (milter) about senders, recipients and messages, and makes the changes that it wants."""

import asyncio
import logging
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from typing import Any

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import CheckedContent
from letterlock.mail.envelope import BodyType
from letterlock.mail.printable import printable
from letterlock.mail.replies import Reply
from letterlock.milter.answers import (
    AddHeader,
    AddRecipient,
    Change,
    ChangeHeader,
    ChangeSender,
    DeleteRecipient,
    FilterAnswer,
    Quarantine,
    ReplaceBody,
    Verdict,
)
from letterlock.milter.frames import CHUNK_OCTETS, BadFrame, FilterCommand, connect, frame, header, path, strings
from letterlock.milter.header_edits import HeaderSection, read_fields
from letterlock.net.service_address import ServiceAddress
from letterlock.receive.filter_counts import FilterCounts
from letterlock.receive.milter_link import MAX_PROGRESS_SECONDS, MilterFailed, MilterLink
from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.when_away import AWAY, WhenAway
from letterlock.smtp.server_events import RecipientOffered, SenderOffered

REJECTED = Reply(550, ("5.7.1 Rejected by a filter",))
PUT_OFF = Reply(451, ("4.7.1 Try again later",))
CLOSING = Reply(421, ("4.7.0 Closing, try again later",))
_MAILER = "smtp"
log = logging.getLogger("letterlock.receive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Milter:
    """A filter of the configuration. `seconds`: how long it may take to connect, and for each answer."""

    name: str
    address: ServiceAddress
    seconds: float = 30.0  # as Postfix (milter_command_timeout)
    when_away: WhenAway = "tempfail"


@dataclass(slots=True)
class _Talk:
    """One session's conversation with the filter."""

    link: MilterLink
    hello: str | None = None  # the last one that the filter was sent
    ends_with: FilterAnswer | None = None  # a verdict on the client, which holds for the whole session
    begun: bool = False  # the filter was sent MAIL, and not the end of that message
    decided: FilterAnswer | None = None  # on the message: ACCEPT, or DISCARD


class AskMilter:
    """The step of one filter. `hostname` is ours; `max_body_octets` bounds a new body."""

    def __init__(self, milter: Milter, hostname: str, max_body_octets: int, counts: FilterCounts | None = None) -> None:
        self._milter = milter
        self._counts = counts or FilterCounts()
        self._hostname = hostname
        self._max_body_octets = max_body_octets

    async def sender(self, facts: Facts, offer: SenderOffered) -> Reply | None:
        """Connect to the filter, if need be, and ask about the sender."""
        return await self._guarded(facts, self._sender(facts, offer.reverse_path))

    async def recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """Ask about a recipient; a local user's message has a step of its own for all at once."""
        if facts.local_uid is not None:
            return None
        return await self._guarded(facts, self._next_recipient(facts, offer))

    async def message(self, facts: Facts, draft: Draft) -> Reply | None:
        """Show the message, and change it as the filter says."""
        try:
            return await self._guarded(facts, self._message(facts, draft), draft)
        finally:
            if facts.local_uid is not None:  # no session: this was all
                self.ended(facts)

    def ended(self, facts: Facts) -> None:
        """The session is over."""
        talk = facts.kept.pop(self, None)
        if isinstance(talk, _Talk):
            talk.link.close()

    async def _guarded(
        self, facts: Facts, asked: Coroutine[Any, Any, Reply | None], draft: Draft | None = None
    ) -> Reply | None:
        had = draft is None or bool(draft.recipients), draft and draft.quarantined
        try:
            reply = await asked
        except (MilterFailed, BadFrame) as error:
            log.warning("milter %s: %s", self._milter.name, printable(str(error)))
            self._counts.failed("milter")
            self.ended(facts)
            return AWAY[self._milter.when_away]
        discarded = draft is not None and had[0] and not draft.recipients
        if draft is not None and discarded:
            draft.discarded_by = f"milter {self._milter.name}"
        held = draft is not None and draft.quarantined != had[1]
        self._counts.answered("milter", reply, discarded=discarded, held=held)
        return reply

    # --- the session -------------------------------------------------------------------------------------------------

    async def _met(self, facts: Facts) -> _Talk:
        """The session's conversation with the filter, which has been sent the client and its greeting."""
        talk = facts.kept.get(self)
        if not isinstance(talk, _Talk):
            milter = self._milter
            link = await MilterLink.open(milter.address, seconds=milter.seconds, max_body_octets=self._max_body_octets)
            talk = facts.kept[self] = _Talk(link)
            request = connect(f"[{facts.client}]", facts.client, 0)
            talk.ends_with = _lasting(await link.ask(FilterCommand.CONNECT, request, self._macros(facts)))
        if talk.ends_with is None and talk.hello != facts.hello:
            talk.hello = facts.hello
            request = frame(FilterCommand.HELO, strings((facts.hello,)))
            talk.ends_with = _lasting(await talk.link.ask(FilterCommand.HELO, request, _tls_macros(facts)))
        return talk

    def _macros(self, facts: Facts) -> dict[str, str]:
        return {
            "j": self._hostname,
            "{daemon_name}": self._hostname,
            "{daemon_addr}": facts.met_at or "",
            "v": "Letterlock",
            "_": f"unknown [{facts.client}]",
            "{client_addr}": facts.client,
            "{client_name}": f"[{facts.client}]",
            "{client_ptr}": "unknown",
        }

    async def _sender(self, facts: Facts, reverse_path: Mailbox | None) -> Reply | None:
        talk = await self._met(facts)
        if talk.ends_with is not None:
            return _reply(talk.ends_with)
        if talk.begun:
            await talk.link.send(frame(FilterCommand.ABORT))
        talk.begun, talk.decided = True, None
        address = "" if reverse_path is None else str(reverse_path)
        values = _tls_macros(facts) | {
            "{auth_type}": facts.mechanism or "",
            "{auth_authen}": facts.user or "",
            "{mail_addr}": address,
            "{mail_host}": "" if reverse_path is None else reverse_path.domain,
            "{mail_mailer}": _MAILER,
        }
        return self._judged(talk, await talk.link.ask(FilterCommand.MAIL, path(FilterCommand.MAIL, address), values))

    async def _next_recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """Ask about a recipient; a filter that failed since MAIL, and is back, gets the envelope so far first."""
        if not (await self._met(facts)).begun:
            refused = await self._begin(facts, offer.reverse_path, facts.recipients)
            if refused is not None:
                return refused
        return await self._recipient(facts, offer.recipient)

    async def _recipient(self, facts: Facts, recipient: Mailbox) -> Reply | None:
        talk = await self._met(facts)
        if talk.ends_with is not None or talk.decided is not None:
            return None if talk.ends_with is None else _reply(talk.ends_with)
        values = {"{rcpt_addr}": str(recipient), "{rcpt_host}": recipient.domain, "{rcpt_mailer}": _MAILER}
        return self._judged(
            talk, await talk.link.ask(FilterCommand.RCPT, path(FilterCommand.RCPT, str(recipient)), values)
        )

    def _judged(self, talk: _Talk, answer: FilterAnswer) -> Reply | None:
        """The reply to a command; what decides on the whole message is remembered."""
        if answer.verdict in (Verdict.ACCEPT, Verdict.DISCARD):
            talk.decided = answer
        return _reply(answer)

    # --- the message -------------------------------------------------------------------------------------------------

    async def _message(self, facts: Facts, draft: Draft) -> Reply | None:
        talk = await self._met(facts)
        if not talk.begun:  # a local user's message, or the filter failed meanwhile and mail is accepted without it
            refused = await self._begin(facts, draft.reverse_path, draft.recipients)
            if refused is not None:
                return refused
        if talk.ends_with is not None:
            return None
        if talk.decided is None:
            try:
                async with asyncio.timeout(MAX_PROGRESS_SECONDS):  # of all its answers: no client waits longer
                    talk.decided = await self._shown(talk, draft)
            except TimeoutError:
                raise MilterFailed(f"no verdict within {MAX_PROGRESS_SECONDS:g} seconds") from None
        if talk.decided.verdict is Verdict.DISCARD:
            draft.recipients = ()
        return _reply(talk.decided)

    async def _begin(self, facts: Facts, reverse_path: Mailbox | None, recipients: Collection[Mailbox]) -> Reply | None:
        """Tell of an envelope whose recipients were accepted; the reply if the filter refuses any of it."""
        refused = await self._sender(facts, reverse_path)
        for recipient in recipients:
            refused = refused or await self._recipient(facts, recipient)
        return refused

    async def _shown(self, talk: _Talk, draft: Draft) -> FilterAnswer:
        """Send the message; the verdict on it, after its changes were made. Raises MilterFailed, BadFrame."""
        link, values = talk.link, {"i": draft.id}
        message = _Parts(draft)
        answer = await link.ask(FilterCommand.DATA, frame(FilterCommand.DATA), values)
        for each in message.section.shown():
            if answer.verdict is not Verdict.CONTINUE:
                return answer
            answer = await link.ask(FilterCommand.HEADER, header(each.name, each.value, link.agreed), values)
        if answer.verdict is Verdict.CONTINUE:
            answer = await link.ask(FilterCommand.END_OF_HEADERS, frame(FilterCommand.END_OF_HEADERS), values)
        async for block in draft.body_blocks(message.body_at):
            for at in range(0, len(block), CHUNK_OCTETS):
                if answer.verdict is Verdict.CONTINUE:
                    chunk = frame(FilterCommand.BODY, block[at : at + CHUNK_OCTETS])
                    answer = await link.ask(FilterCommand.BODY, chunk, values)
        if answer.verdict not in (Verdict.CONTINUE, Verdict.SKIP):
            return answer
        changes, answer = await link.end(values)
        talk.begun = False
        if answer.verdict in (Verdict.CONTINUE, Verdict.ACCEPT):
            message.change(changes, self._milter.name)
        return answer


class _Parts:
    """A draft as a filter sees it: our own Received field is hidden, as Postfix and sendmail hide theirs."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        ours, _ = read_fields(draft.fields)
        theirs, end = read_fields(draft.content)
        for each in ours:
            each.hidden = each.name == b"Received"
        self.section = HeaderSection(ours + theirs)
        self._rest = end  # the empty line, or what is no header field
        self.body_at = end + 2 if draft.content[end : end + 2] == b"\r\n" else end

    def change(self, changes: list[Change], name: str) -> None:
        """Make the changes of the filter of this name, all or none. Raises BadFrame."""
        draft, section = self._draft, self.section
        for change in changes:  # first what may fail: nothing of it is in the draft yet
            if isinstance(change, AddHeader):
                section.add(change)
            elif isinstance(change, ChangeHeader):
                section.change(change)
        parts = [each.part for each in changes if isinstance(each, ReplaceBody)]
        rest = b"\r\n" + _canonical(b"".join(parts)) if parts else draft.content[self._rest :]
        for change in changes:
            match change:
                case AddRecipient(recipient):
                    draft.recipients = tuple(dict.fromkeys((*draft.recipients, recipient)))
                case DeleteRecipient(recipient):
                    draft.recipients = tuple(each for each in draft.recipients if each != recipient)
                case ChangeSender(reverse_path):
                    draft.reverse_path = reverse_path
                case Quarantine(why):
                    draft.quarantined = printable(why) or f"milter {name}"
        if parts or section.changed:
            draft.content, draft.fields = CheckedContent(bytes(section) + rest), b""
            if parts:
                draft.rest = None
            if not draft.content.isascii():
                draft.body_type = BodyType.EIGHT_BIT_MIME


def _canonical(body: bytes) -> bytes:
    """A body with CRLF line ends only, and one at its end. Raises BadFrame for NUL, which no message may have."""
    if b"\0" in body:
        raise BadFrame("the new body has NUL octets")
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if lines and not lines.endswith(b"\n"):
        lines += b"\n"
    return lines.replace(b"\n", b"\r\n")


def _lasting(answer: FilterAnswer) -> FilterAnswer | None:
    """A verdict on the client itself, which holds until the session ends; None: go on. Raises MilterFailed."""
    if answer.verdict is Verdict.DISCARD:  # Postfix, too: there is no message yet, and a client cannot be discarded
        raise MilterFailed("it discards before there is a message")
    return None if answer.verdict in (Verdict.CONTINUE, Verdict.SKIP) else answer


def _reply(answer: FilterAnswer) -> Reply | None:
    match answer.verdict:
        case Verdict.REJECT:
            return REJECTED
        case Verdict.TEMPFAIL:
            return PUT_OFF
        case Verdict.SHUTDOWN:
            return CLOSING
        case Verdict.REPLY:
            return answer.reply
    return None


def _tls_macros(facts: Facts) -> dict[str, str]:
    tls = facts.tls
    if tls is None:
        return {}
    return {"{tls_version}": tls.version, "{cipher}": tls.cipher}
