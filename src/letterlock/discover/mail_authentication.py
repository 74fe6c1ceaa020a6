"""A message as a receiver would authenticate it: DKIM, ARC, SPF and DMARC, one after the other.

`authenticate` asks the resolver; what it returns is data, for `check-mail` to show and for a listener to act on.
"""

import asyncio

import dns.rdatatype

from letterlock.discover.authentication import answered
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
from letterlock.resolver.answer import Answer, LookupFailure


async def authenticate(
    message: Message, requests: tuple[Request, ...], resolver: Resolver, now: float, choice: Choice = FOLLOW
) -> MailVerdict:
    """Check a message. `requests` are the SPF checks, the one for MAIL FROM last. Never raises for DNS."""
    signatures, chain = examine(message), examine_chain(message)
    names = tuple(dict.fromkeys((*signatures.key_names, *chain.key_names)))
    keys, spf = await asyncio.gather(_keys(names, resolver), _spf(requests, resolver))
    dkim = signatures.judge(keys, now)
    dmarc = await answered(evaluate_dmarc(evidence(message, dkim, spf)), resolver)
    return MailVerdict(
        dkim=dkim, arc=chain.judge(keys, now), spf=spf, dmarc=dmarc, disposition=disposition(dmarc, choice)
    )


async def _keys(names: tuple[str, ...], resolver: Resolver) -> dict[str, Answer | LookupFailure]:
    answers = await asyncio.gather(*(resolver.resolve(name, dns.rdatatype.TXT) for name in names))
    return dict(zip(names, answers, strict=True))


async def _spf(requests: tuple[Request, ...], resolver: Resolver) -> tuple[SpfVerdict, ...]:
    return tuple(await asyncio.gather(*(answered(evaluate_spf(each), resolver) for each in requests)))
