"""SPF (RFC 7208): may this client send mail with this identity?

    verdict = await check(mail_from_request("192.0.2.7", "ann@example.org", "out.example.org"), resolver)
    print(verdict.result, verdict.reason)

`evaluate` is the same without asyncio: a generator that yields the DNS questions it has, is resumed with a mapping of
each to its `Answer` or `LookupFailure`, and returns the verdict.
"""

from letterlock.discover.authentication import answered
from letterlock.mailauth.asking import Asked, question
from letterlock.mailauth.spf.evaluate import evaluate
from letterlock.mailauth.spf.reasons import SpfCode as Code
from letterlock.mailauth.spf.reasons import SpfReason as Reason
from letterlock.mailauth.spf.reasons import SpfResult as Result
from letterlock.mailauth.spf.record import InvalidSpfRecord as InvalidRecord
from letterlock.mailauth.spf.record import Kind, Mechanism, parse_record, spf_records
from letterlock.mailauth.spf.record import SpfRecord as Record
from letterlock.mailauth.spf.request import Identity, Request, client_address, helo_request, mail_from_request
from letterlock.mailauth.spf.verdict import Match
from letterlock.mailauth.spf.verdict import SpfVerdict as Verdict
from letterlock.ports import Resolver

__all__ = [
    "Asked",
    "Code",
    "Identity",
    "InvalidRecord",
    "Kind",
    "Match",
    "Mechanism",
    "Reason",
    "Record",
    "Request",
    "Result",
    "Verdict",
    "check",
    "client_address",
    "evaluate",
    "helo_request",
    "mail_from_request",
    "parse_record",
    "question",
    "spf_records",
]


async def check(request: Request, resolver: Resolver) -> Verdict:
    """Check one identity (RFC 7208 section 4) with a resolver, such as `letterlock.resolver.Resolver`.

    At most ten terms may cause lookups, and two of these may find nothing (section 4.6.4); more give permerror, and a
    lookup that failed gives temperror. Never raises for DNS.
    """
    return await answered(evaluate(request), resolver)
