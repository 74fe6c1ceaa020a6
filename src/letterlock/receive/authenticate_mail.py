"""Authenticates mail from elsewhere: DKIM, ARC, SPF and DMARC, and what the operator chose to do about it.

The check itself is handed in (`JudgeMail`): it asks the resolver and returns a verdict, whatever the DNS does.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from letterlock.keys import Key
from letterlock.mail.replies import Reply
from letterlock.mailauth.dmarc.actions import Action, Choice
from letterlock.mailauth.mail_verdict import AuthenticatedMail, MailVerdict
from letterlock.mailauth.message import Message, OversizedHeader
from letterlock.mailauth.receiving import Decision, ReceivingPolicy, decide
from letterlock.mailauth.results import render, without_forged
from letterlock.mailauth.spf.request import Request, helo_request, mail_from_request
from letterlock.queue.observing import NOBODY, Observers
from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.sign_dkim import MAX_OCTETS_AT_ONCE
from letterlock.shares import DIVIDED

# Accepted as it is, it could hide fields that claim to be our results, and an author whom nobody looked at.
OVERSIZED = Reply(552, ("5.3.4 The header section is too large",))


@dataclass(frozen=True, slots=True, kw_only=True)
class MailAuthenticationOptions:
    """What is done with mail that is not authentic, and how much work that may be. `authserv_id` None: the hostname.

    `trusted_sealers` are the domains whose ARC seals are believed.
    """

    authserv_id: str | None = None
    trusted_sealers: frozenset[str] = frozenset()
    dmarc_reject: Annotated[
        Literal["accept", "quarantine", "reject"],
        Key(
            "mail_authentication.dmarc_reject",
            "How mail is treated that fails DMARC when the domain of its author publishes p=reject. `accept` records "
            "the result in Authentication-Results; `quarantine` accepts the message and keeps it in the queue until "
            "`letterlock queue release`; `reject` answers 550. Mail through lists often fails: "
            "RFC 9989 section 7.4 forbids to reject by that policy alone.",
        ),
    ] = "accept"
    dmarc_quarantine: Annotated[
        Literal["accept", "quarantine", "reject"],
        Key("mail_authentication.dmarc_quarantine", "The same for domains that publish p=quarantine."),
    ] = "accept"
    dmarc_temperror: Annotated[
        Literal["accept", "defer"],
        Key(
            "mail_authentication.dmarc_temperror",
            "How mail is treated when DMARC cannot be checked, because a lookup failed or a DNSSEC proof is broken: "
            "`defer` answers 451.",
        ),
    ] = "accept"
    no_author: Annotated[
        Literal["accept", "quarantine", "reject"],
        Key(
            "mail_authentication.no_author",
            "How mail is treated whose From has no domain, or authors of several domains: DMARC cannot be checked.",
        ),
    ] = "accept"
    spf_fail: Annotated[
        Literal["accept", "quarantine", "reject"],
        Key(
            "mail_authentication.spf_fail",
            "How mail is treated when SPF fails for MAIL FROM and DMARC does not pass. Forwarded mail often fails.",
        ),
    ] = "accept"
    spf_temperror: Annotated[
        Literal["accept", "defer"],
        Key(
            "mail_authentication.spf_temperror",
            "The same when SPF cannot be checked for MAIL FROM and DMARC does not pass.",
        ),
    ] = "accept"
    seconds: Annotated[
        float,
        Key(
            "mail_authentication.timeout_seconds",
            "How long the lookups for one message may take while its client waits. Those that take longer have failed.",
            least=1,
            most=300,  # RFC 5321 section 4.5.3.2.6: a client waits ten minutes for the reply to its message
        ),
    ] = 20  # as long as RFC 7208 section 4.6.4 gives an SPF check at least
    max_concurrent: Annotated[
        int,
        DIVIDED,
        Key(
            "mail_authentication.max_concurrent",
            "Most messages that one listener authenticates at once; others wait.",
            least=1,
            most=10_000,
        ),
    ] = 100  # chosen: each may have twenty lookups under way, and the resolver has room for 1,300 queries

    @property
    def policy(self) -> ReceivingPolicy:
        """The same as data for the decision."""
        choice = Choice(
            quarantine=Action(self.dmarc_quarantine),
            reject=Action(self.dmarc_reject),
            temperror=Action(self.dmarc_temperror),
            permerror=Action(self.no_author),
        )
        return ReceivingPolicy(
            dmarc=choice,
            spf_fail=Action(self.spf_fail),
            spf_temperror=Action(self.spf_temperror),
            trusted_sealers=self.trusted_sealers,
        )


class JudgeMail(Protocol):
    """Authenticates a message; SPF by `requests`, the one for MAIL FROM last. Lookups end after so many seconds."""

    async def __call__(
        self, message: Message, requests: tuple[Request, ...], now: float, choice: Choice, *, seconds: float
    ) -> MailVerdict:
        """The verdict. Raises nothing for what a message or the DNS contains."""


class AuthenticateMail:
    """Checks mail of clients that may not relay, writes Authentication-Results, and does what the operator chose.

    Fields that claim to be ours are removed first. The verdict stays in the draft, for the steps that follow.
    """

    def __init__(
        self, judge: JudgeMail, hostname: str, options: MailAuthenticationOptions, observers: Observers = NOBODY
    ) -> None:
        self._judge = judge
        self._hostname = hostname
        self._authserv_id = options.authserv_id or hostname
        self._options = options
        self._policy = options.policy
        self._observers = observers
        self._slots = asyncio.Semaphore(options.max_concurrent)

    async def message(self, facts: Facts, draft: Draft) -> Reply | None:
        """The reply that refuses a message that is not authentic, or None."""
        if facts.may_relay:  # mail of our own, which nobody has signed yet
            return None
        try:
            message = draft.parsed()
        except OversizedHeader:  # what cannot be judged is refused, not let through
            return OVERSIZED
        requests = _requests(facts, draft, self._hostname)
        async with self._slots:
            verdict = await self._judge(
                message, requests, draft.received_at, self._policy.dmarc, seconds=self._options.seconds
            )
        decision = decide(verdict, self._policy)
        self._show(facts, draft, verdict, decision)
        if decision.reply is None:
            await self._mark(draft, verdict, decision)
        return decision.reply

    def _show(self, facts: Facts, draft: Draft, verdict: MailVerdict, decision: Decision) -> None:
        if self._observers:
            mail = AuthenticatedMail(
                id=draft.id,
                received_at=draft.received_at,
                client=facts.client,
                verdict=verdict,
                done=decision.done,
            )
            self._observers.authenticated(mail)

    async def _mark(self, draft: Draft, verdict: MailVerdict, decision: Decision) -> None:
        own = self._authserv_id, self._hostname
        if len(draft.content) <= MAX_OCTETS_AT_ONCE:
            remove_forged(draft, own)
        else:  # 10,000 fields that claim something take a tenth of a second
            await asyncio.to_thread(remove_forged, draft, own)
        draft.add_field(render(verdict.results(self._authserv_id)) + b"\r\n")
        draft.verdict = verdict
        if decision.done.action is Action.QUARANTINE:
            draft.quarantined = decision.why


class RemoveForgedResults:
    """Removes Authentication-Results that claim to be ours from what users submit (RFC 8601 section 5).

    Otherwise somebody who may submit mail could write results that other users of this server would trust.
    """

    def __init__(self, *own: str) -> None:
        self._own = own

    def message(self, _facts: Facts, draft: Draft) -> Reply | None:
        """Change the draft's header section."""
        try:
            remove_forged(draft, self._own)
        except OversizedHeader:  # as above: a forged field might be in it
            return OVERSIZED
        return None


def remove_forged(draft: Draft, own: tuple[str, ...]) -> None:
    """Take the fields away that claim one of these authserv-ids. Raises OversizedHeader."""
    content, removed = without_forged(draft.content, own)
    if removed:
        draft.content = type(draft.content)(content)


def _requests(facts: Facts, draft: Draft, hostname: str) -> tuple[Request, ...]:
    """What SPF checks: the name in HELO, then MAIL FROM (RFC 7208 sections 2.3 and 2.4)."""
    sender = "" if draft.reverse_path is None else str(draft.reverse_path)
    return (
        helo_request(facts.client, facts.hello, receiver=hostname, now=draft.received_at),
        mail_from_request(facts.client, sender, facts.hello, receiver=hostname, now=draft.received_at),
    )
