"""DMARC (RFC 9989): does what SPF and DKIM authenticated speak for the author, and what does the author's domain want?

    signed = Identifier(Mechanism.DKIM, "example.org", Outcome.PASS)
    evidence = Evidence(authors=author_domains(message), identifiers=(signed,))
    verdict = await check(evidence, resolver)
    print(verdict.result, verdict.reason, disposition(verdict, FOLLOW).action)

`evaluate` is the same without asyncio: a generator that yields the DNS questions it has, is resumed with a mapping of
each to its `Answer` or `LookupFailure`, and returns the verdict.
"""

from letterlock.discover.authentication import answered
from letterlock.mail.unpacking import InvalidReport
from letterlock.mailauth.dmarc.actions import FOLLOW, OBSERVE, Action, Choice, Disposition, Override, disposition
from letterlock.mailauth.dmarc.aggregate import AggregateReport, PublishedPolicy, SenderResult, SignatureResult
from letterlock.mailauth.dmarc.aggregate import ReportRow as Row
from letterlock.mailauth.dmarc.author import NoAuthor, author_domains
from letterlock.mailauth.dmarc.evaluate import AuthMechanism as Mechanism
from letterlock.mailauth.dmarc.evaluate import DmarcVerdict as Verdict
from letterlock.mailauth.dmarc.evaluate import Evidence, Identifier, evaluate
from letterlock.mailauth.dmarc.evaluate import MechanismOutcome as Outcome
from letterlock.mailauth.dmarc.reasons import DmarcCode as Code
from letterlock.mailauth.dmarc.reasons import DmarcReason as Reason
from letterlock.mailauth.dmarc.reasons import DmarcResult as Result
from letterlock.mailauth.dmarc.record import (
    Alignment,
    Policy,
    PublicSuffix,
    dmarc_records,
    parse_record,
)
from letterlock.mailauth.dmarc.record import (
    DmarcRecord as Record,
)
from letterlock.mailauth.dmarc.record import (
    InvalidDmarcRecord as InvalidRecord,
)
from letterlock.mailauth.dmarc.report_reader import read_report
from letterlock.mailauth.dmarc.walk import Walk, walk
from letterlock.mailauth.dmarc.writing import (
    Observation,
    build,
    file_name,
    observation,
    packed,
    subject,
    to_xml,
)
from letterlock.mailauth.dmarc.writing import (
    ReportSource as Reporter,
)
from letterlock.ports import Resolver

__all__ = [
    "FOLLOW",
    "OBSERVE",
    "Action",
    "AggregateReport",
    "Alignment",
    "Choice",
    "Code",
    "Disposition",
    "Evidence",
    "Identifier",
    "InvalidRecord",
    "InvalidReport",
    "Mechanism",
    "NoAuthor",
    "Observation",
    "Outcome",
    "Override",
    "Policy",
    "PublicSuffix",
    "PublishedPolicy",
    "Reason",
    "Record",
    "Reporter",
    "Result",
    "Row",
    "SenderResult",
    "SignatureResult",
    "Verdict",
    "Walk",
    "author_domains",
    "build",
    "check",
    "disposition",
    "dmarc_records",
    "evaluate",
    "file_name",
    "observation",
    "packed",
    "parse_record",
    "read_report",
    "subject",
    "to_xml",
    "walk",
]


async def check(evidence: Evidence, resolver: Resolver) -> Verdict:
    """Check a message (RFC 9989 section 5.3) with a resolver, such as `letterlock.resolver.Resolver`.

    At most eight names are asked for each tree walk (section 4.10). Never raises for DNS: a lookup that failed gives
    temperror.
    """
    return await answered(evaluate(evidence), resolver)
