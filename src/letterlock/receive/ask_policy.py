"""Asks a policy service, such as postgrey, by Postfix's policy delegation protocol (SMTPD_POLICY_README).

A request is lines of `name=value` and an empty line; so is the answer, whose `action` counts. Unlike a milter, a
service sees the envelope and not the content.
"""

import asyncio
import logging
import re
import secrets
from dataclasses import dataclass, field

from letterlock.mail.printable import printable
from letterlock.mail.replies import Reply
from letterlock.net.service_address import ServiceAddress
from letterlock.receive.filter_counts import FilterCounts
from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.when_away import AWAY, WhenAway
from letterlock.smtp.server_events import RecipientOffered

MAX_ANSWER_OCTETS = 4096  # real ones have a hundred
MAX_TEXT = 400  # of a reply: a line has 512 octets (RFC 5321 section 4.5.3.1.5)
MAX_PREPENDED = 100  # header fields of one message
_CODE = re.compile(r"([45]\d\d)(?:\s+|$)(.*)", re.DOTALL)
_ENHANCED = re.compile(r"[45]\.\d{1,3}\.\d{1,3}(?:\s|$)")
_FIELD = re.compile(r"[!-9;-~]+:[ -~]{0,900}")
_PASSES = frozenset({"DUNNO", "OK", "PERMIT", "DEFER_IF_REJECT"})
log = logging.getLogger("letterlock.receive")


class PolicyFailed(Exception):
    """The service cannot be used; `str()` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyService:
    """A service of the configuration. `seconds`: how long it may take to connect, and for each answer."""

    name: str
    address: ServiceAddress
    seconds: float = 100.0  # as Postfix's smtpd_policy_service_timeout
    when_away: WhenAway = "tempfail"


@dataclass(slots=True)
class _Open:
    """One session's connection to the service, and what the service decided on the message so far."""

    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    instance: str = ""
    fields: list[str] = field(default_factory=list)
    hold: str | None = None
    discard: bool = False


class AskPolicy:
    """The step of one service: asks about each recipient."""

    def __init__(self, service: PolicyService, counts: FilterCounts | None = None) -> None:
        self._service = service
        self._counts = counts or FilterCounts()

    async def recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """The reply that the service wants; None: go on."""
        opened = facts.kept.setdefault(self, _Open())
        if not isinstance(opened, _Open):
            raise TypeError("another step's state")
        if not facts.recipients:  # the first of a new message
            opened.instance = secrets.token_hex(8)
            opened.fields.clear()
            opened.hold, opened.discard = None, False
        try:
            action = await self._ask(opened, _request(facts, offer, opened.instance))
            held, discarded = opened.hold, opened.discard
            reply = self._act(opened, action)
        except (OSError, PolicyFailed) as error:
            _close(opened)  # but what it decided on the recipients before still holds for the message
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            log.warning("policy service %s: %s", self._service.name, printable(why))
            self._counts.failed("policy_service")
            return AWAY[self._service.when_away]
        self._counts.answered("policy_service", reply, discarded=opened.discard != discarded, held=opened.hold != held)
        return reply

    def message(self, facts: Facts, draft: Draft) -> None:
        """Do what the service wanted done with the whole message."""
        opened = facts.kept.get(self)
        if not isinstance(opened, _Open):
            return
        for each in opened.fields:
            draft.add_field(each.encode() + b"\r\n")
        if opened.hold is not None:
            draft.quarantined = opened.hold
        if opened.discard:
            draft.recipients, draft.discarded_by = (), f"policy service {self._service.name}"

    def ended(self, facts: Facts) -> None:
        """The session is over."""
        opened = facts.kept.pop(self, None)
        if isinstance(opened, _Open):
            _close(opened)

    async def _ask(self, opened: _Open, request: bytes) -> str:
        """The action; one more try where the service closed a connection that it had kept."""
        kept = opened.streams is not None
        try:
            return await self._exchange(opened, request)
        except (ConnectionError, asyncio.IncompleteReadError):
            _close(opened)
            if not kept:
                raise PolicyFailed("it closed the connection without an answer") from None
        try:
            return await self._exchange(opened, request)
        except asyncio.IncompleteReadError:
            raise PolicyFailed("it closed the connection without an answer") from None

    async def _exchange(self, opened: _Open, request: bytes) -> str:
        async with asyncio.timeout(self._service.seconds):
            if opened.streams is None:
                opened.streams = await self._service.address.connect()
            reader, writer = opened.streams
            writer.write(request)
            await writer.drain()
            try:
                answer = await reader.readuntil(b"\n\n")
            except asyncio.LimitOverrunError:
                raise PolicyFailed("its answer is too long") from None
        if len(answer) > MAX_ANSWER_OCTETS:
            raise PolicyFailed("its answer is too long")
        for line in answer.decode("utf-8", "replace").splitlines():
            name, equals, value = line.partition("=")
            if equals and name.strip().lower() == "action":
                return value.strip()
        raise PolicyFailed("its answer has no action")

    def _act(self, opened: _Open, action: str) -> Reply | None:
        word, _, text = action.partition(" ")
        text = text.strip()
        match word.upper():
            case word if word in _PASSES or not word:
                return None
            case "INFO" | "WARN":
                log.info("policy service %s: %s", self._service.name, printable(text))
                return None
            case "REJECT":
                return _reply(554, "5.7.1", text or "Access denied")
            case "DEFER" | "DEFER_IF_PERMIT":
                return _reply(450, "4.7.1", text or "Try again later")
            case "PREPEND" if _FIELD.fullmatch(text) and len(opened.fields) < MAX_PREPENDED:
                opened.fields.append(text)
                return None
            case "HOLD":
                opened.hold = f"policy service {self._service.name}: {printable(text) or 'hold'}"
                return None
            case "DISCARD":
                opened.discard = True
                return None
        if found := _CODE.fullmatch(action):
            return _reply(int(found[1]), f"{found[1][0]}.7.1", found[2].strip() or "Not accepted")
        raise PolicyFailed(f"it wants {action[:80]!r}, which is not supported")


def _close(opened: _Open) -> None:
    if opened.streams is not None:
        opened.streams[1].close()
        opened.streams = None


def _reply(code: int, status: str, text: str) -> Reply:
    """With the service's own enhanced status code if it fits."""
    plain = "".join(each if " " <= each <= "~" else "?" for each in text)[:MAX_TEXT]
    fits = _ENHANCED.match(plain) is not None and plain[0] == str(code)[0]
    return Reply(code, (plain if fits else f"{status} {plain}",))


def _request(facts: Facts, offer: RecipientOffered, instance: str) -> bytes:
    tls = facts.tls
    values = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "SMTP" if facts.protocol == "SMTP" else "ESMTP",
        "client_address": facts.client,
        "client_name": "unknown",
        "reverse_client_name": "unknown",
        "server_address": facts.met_at or "",
        "helo_name": facts.hello,
        "sender": "" if offer.reverse_path is None else str(offer.reverse_path),
        "recipient": str(offer.recipient),
        "recipient_count": "0",  # as Postfix has it before DATA
        "queue_id": "",
        "instance": instance,
        "size": "0",
        "sasl_method": facts.mechanism or "",
        "sasl_username": facts.user or "",
        "sasl_sender": "",
        "encryption_protocol": "" if tls is None else tls.version,
        "encryption_cipher": "" if tls is None else tls.cipher,
        "encryption_keysize": "0",
        "ccert_subject": "",
        "ccert_issuer": "",
        "ccert_fingerprint": "",
        "etrn_domain": "",
        "stress": "",
    }
    lines = (f"{name}={_plain(value)}\n" for name, value in values.items())
    return "".join(lines).encode("utf-8", "surrogateescape") + b"\n"


def _plain(value: str) -> str:
    """A value without line ends and NUL: none can have them by SMTP's grammar, and here they would add attributes."""
    return value.replace("\n", " ").replace("\r", " ").replace("\0", "")
