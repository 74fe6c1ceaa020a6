"""A message as a receiver would authenticate it: DKIM, ARC, SPF and DMARC, one after the other.

`authenticate` asks the resolver; what it returns is data for `check-mail` to show.
"""

import asyncio
from dataclasses import dataclass

import dns.rdatatype

from letterlock.discover.authentication import answered
from letterlock.mailauth.arc.verify import ChainVerdict
from letterlock.mailauth.arc.verify import examine as examine_chain
from letterlock.mailauth.dkim.reasons import Result as DkimResult
from letterlock.mailauth.dkim.verify import Verdict as DkimVerdict
from letterlock.mailauth.dkim.verify import examine
from letterlock.mailauth.dmarc.actions import FOLLOW, Choice, Disposition, disposition
from letterlock.mailauth.dmarc.author import NoAuthor, author_domains
from letterlock.mailauth.dmarc.evaluate import Evidence, Identifier, Mechanism, Outcome
from letterlock.mailauth.dmarc.evaluate import Verdict as DmarcVerdict
from letterlock.mailauth.dmarc.evaluate import evaluate as evaluate_dmarc
from letterlock.mailauth.message import Message
from letterlock.mailauth.reporting import arc_result, dkim_results, dmarc_result, spf_result
from letterlock.mailauth.results import AuthenticationResults
from letterlock.mailauth.spf.evaluate import evaluate as evaluate_spf
from letterlock.mailauth.spf.reasons import Result as SpfResult
from letterlock.mailauth.spf.request import Request
from letterlock.mailauth.spf.verdict import Verdict as SpfVerdict
from letterlock.ports import Resolver
from letterlock.resolver.answer import Answer, LookupFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class MailVerdict:
    """Everything that was found. `spf` is empty when no client is known; else it has HELO first, if that was given."""

    dkim: tuple[DkimVerdict, ...]
    arc: ChainVerdict
    spf: tuple[SpfVerdict, ...]
    dmarc: DmarcVerdict
    disposition: Disposition

    def results(self, authserv_id: str) -> AuthenticationResults:
        """The same as an Authentication-Results field has it."""
        spf = tuple(spf_result(each) for each in self.spf)
        chain = (arc_result(self.arc),)
        methods = (*spf, *dkim_results(self.dkim), dmarc_result(self.dmarc), *chain)
        return AuthenticationResults(authserv_id=authserv_id, results=methods)


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


def evidence(message: Message, dkim: tuple[DkimVerdict, ...], spf: tuple[SpfVerdict, ...]) -> Evidence:
    """What DMARC judges: the authors, the signing domains, and the domain of MAIL FROM (RFC 9989 section 4.4)."""
    signed = [
        Identifier(Mechanism.DKIM, each.signature.domain, _dkim_outcome(each.result))
        for each in dkim
        if each.signature is not None
    ]
    sent = [Identifier(Mechanism.SPF, each.request.domain.lower(), _spf_outcome(each.result)) for each in spf[-1:]]
    try:
        return Evidence(authors=author_domains(message), identifiers=(*signed, *sent))
    except NoAuthor as error:
        return Evidence(authors=(), identifiers=(*signed, *sent), fault=str(error))


def _dkim_outcome(result: DkimResult) -> Outcome:
    return {DkimResult.PASS: Outcome.PASS, DkimResult.TEMPERROR: Outcome.UNKNOWN}.get(result, Outcome.FAIL)


def _spf_outcome(result: SpfResult) -> Outcome:
    return {SpfResult.PASS: Outcome.PASS, SpfResult.TEMPERROR: Outcome.UNKNOWN}.get(result, Outcome.FAIL)
