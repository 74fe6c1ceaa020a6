"""A message as a receiver would authenticate it: DKIM, ARC, SPF and DMARC, one after the other.

`authenticate` asks the resolver; what it returns is data, for `check-mail` to show and for a listener to act on.
"""

import asyncio

import dns.name
import dns.rdatatype

from letterlock.discover.authentication import answered
from letterlock.dkim import answers_for, judged_aside
from letterlock.mailauth.arc.verify import examine as examine_chain
from letterlock.mailauth.dkim.verify import examine
from letterlock.mailauth.dmarc.actions import FOLLOW, Choice, disposition
from letterlock.mailauth.dmarc.evaluate import evaluate as evaluate_dmarc
from letterlock.mailauth.mail_verdict import MailVerdict, evidence
from letterlock.mailauth.message import Message
from letterlock.mailauth.spf.evaluate import evaluate as evaluate_spf
from letterlock.mailauth.spf.request import Request
from letterlock.mailauth.spf.verdict import SpfVerdict
from letterlock.ports import Resolver
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Question


class MailJudge:
    """Authenticates messages with one resolver: what a listener is handed."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def __call__(
        self, message: Message, requests: tuple[Request, ...], now: float, choice: Choice, *, seconds: float
    ) -> MailVerdict:
        """The verdict; lookups that are not answered within so many seconds have failed."""
        resolver = _ResolverUntil(self._resolver, asyncio.get_running_loop().time() + seconds)
        return await authenticate(message, requests, resolver, now, choice)


class _ResolverUntil:
    """A resolver whose lookups fail from a moment on (event loop's time): a message's checks have one time limit."""

    def __init__(self, resolver: Resolver, deadline: float) -> None:
        self._resolver = resolver
        self._deadline = deadline

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        """An answer, or a failure. Raises ValueError for what is no name."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._resolver.resolve(name, rdtype)
        except TimeoutError:
            question = Question(dns.name.from_text(name), rdtype)
            return LookupFailure(question=question, kind=FailureKind.TIMEOUT, detail="the time for this message is up")


async def authenticate(
    message: Message, requests: tuple[Request, ...], resolver: Resolver, now: float, choice: Choice = FOLLOW
) -> MailVerdict:
    """Check a message. `requests` are the SPF checks, the one for MAIL FROM last. Never raises for DNS."""
    signatures, chain = examine(message), examine_chain(message)
    names = tuple(dict.fromkeys((*signatures.key_names, *chain.key_names)))
    keys, spf = await asyncio.gather(answers_for(resolver, names), _spf(requests, resolver))
    dkim, arc = await judged_aside(
        message,
        lambda: (signatures.judge(keys, now), chain.judge(keys, now)),
        signatures=len(signatures.findings) + len(chain.sets),
    )
    dmarc = await answered(evaluate_dmarc(evidence(message, dkim, spf)), resolver)
    return MailVerdict(dkim=dkim, arc=arc, spf=spf, dmarc=dmarc, disposition=disposition(dmarc, choice))


async def _spf(requests: tuple[Request, ...], resolver: Resolver) -> tuple[SpfVerdict, ...]:
    return tuple(await asyncio.gather(*(answered(evaluate_spf(each), resolver) for each in requests)))
