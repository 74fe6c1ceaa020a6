"""What reports of others say about mail to us: who could not deliver securely, since when, why, and what to do.

Failures are explained by the same reasons that `check` gives; the advice is for us, whose servers they are about. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from letterlock.mailauth.dmarc.aggregate import AggregateReport, ReportRow
from letterlock.mailauth.dmarc.reasons import EXPLANATIONS, DmarcCode
from letterlock.policy.codes import Code
from letterlock.policy.reasons import ResultType, explain
from letterlock.tlsrpt.report import PolicyType, SessionFailure, TlsReport

_KINDS = (PolicyType.TLSA, PolicyType.STS, PolicyType.NONE)
_CODES = {
    ResultType.STARTTLS_NOT_SUPPORTED: (
        Code.RFC7672_2_2_3_STARTTLS_REQUIRED, Code.RFC8461_5_STARTTLS_REQUIRED, Code.RFC7435_3_CLEAR,
    ),
    ResultType.CERTIFICATE_HOST_MISMATCH: (
        Code.RFC7672_3_2_2_DANE_WRONG_NAME, Code.RFC8461_4_2_WRONG_NAME, Code.RULE_VERIFY_WRONG_NAME,
    ),
    ResultType.CERTIFICATE_EXPIRED: (
        Code.RFC7672_3_1_2_DANE_EXPIRED, Code.RFC8461_4_2_EXPIRED, Code.RULE_VERIFY_EXPIRED,
    ),
    ResultType.CERTIFICATE_NOT_TRUSTED: (
        Code.RFC7672_3_1_2_DANE_UNTRUSTED, Code.RFC8461_4_2_UNTRUSTED, Code.RULE_VERIFY_UNTRUSTED,
    ),
    ResultType.VALIDATION_FAILURE: (
        Code.RFC7672_3_2_DANE_MISMATCH, Code.RFC8461_5_HANDSHAKE_FAILED, Code.RFC7435_3_HANDSHAKE_FAILED,
    ),
    ResultType.TLSA_INVALID: (Code.RFC7672_2_2_UNUSABLE,) * 3,
    ResultType.DNSSEC_INVALID: (Code.RFC7672_2_1_2_TLSA_BOGUS,) * 3,
    ResultType.DANE_REQUIRED: (Code.RFC7672_6_NO_USABLE_TLSA,) * 3,
    ResultType.STS_POLICY_FETCH_ERROR: (Code.RFC8461_3_3_UNREACHABLE,) * 3,
    ResultType.STS_POLICY_INVALID: (Code.RFC8461_3_3_UNREACHABLE,) * 3,
    ResultType.STS_WEBPKI_INVALID: (Code.RFC8461_3_3_UNREACHABLE,) * 3,
}  # fmt: skip
"""What a result type stands for, under TLSA records, under an MTA-STS policy, and without either."""
_ADVICE = {
    ResultType.STARTTLS_NOT_SUPPORTED: "offer STARTTLS at every MX host; if you do, something on the path of these "
    "senders removes it: compare their networks",
    ResultType.CERTIFICATE_HOST_MISMATCH: "get a certificate that names this MX host",
    ResultType.CERTIFICATE_EXPIRED: "renew the certificate, and reload the mail server",
    ResultType.CERTIFICATE_NOT_TRUSTED: "serve the whole chain, from an authority that senders trust or that a TLSA "
    "record names",
    ResultType.VALIDATION_FAILURE: "compare the server's certificate with what you publish: `letterlock check`",
    ResultType.TLSA_INVALID: "publish TLSA records that mail can use, such as 3 1 1",
    ResultType.DNSSEC_INVALID: "repair the signatures of the zone: `letterlock resolve` shows where the chain breaks",
    ResultType.DANE_REQUIRED: "these senders want DANE: sign the zone and publish TLSA records",
    ResultType.STS_POLICY_FETCH_ERROR: "serve the policy at https://mta-sts.DOMAIN/.well-known/mta-sts.txt, without a "
    "redirect: `letterlock sts serve`",
    ResultType.STS_POLICY_INVALID: "correct the policy file: `letterlock check` shows what is wrong",
    ResultType.STS_WEBPKI_INVALID: "renew the certificate of the policy host, mta-sts.DOMAIN",
}
_OTHER = "ask the sender what this result means"
_DMARC_ADVICE = (
    "if this server sends for you, sign its mail with DKIM for the domain or add it to SPF; else somebody forges you"
)


@dataclass(slots=True, kw_only=True)
class ReportedProblem:
    """One kind of failure at one host, or mail from one address. Times are seconds since 1970.

    `number` are sessions or messages; `code` and `section` are of the reason, where there is one.
    """

    kind: str
    domain: str
    subject: str
    result: str
    code: str | None
    section: str | None
    why: str
    advice: str
    number: int = 0
    since: int = 0
    until: int = 0
    reporters: set[str] = field(default_factory=set)

    def add(self, number: int, begin: int, end: int, reporter: str) -> None:
        """Count what another report says."""
        self.since = min(self.since or begin, begin)
        self.until = max(self.until, end)
        self.number += number
        self.reporters.add(reporter)


@dataclass(slots=True, kw_only=True)
class DomainSummary:
    """What all reports say of one domain and kind (tls, dmarc): how many sessions or messages were good or bad."""

    kind: str
    domain: str
    good: int = 0
    bad: int = 0
    reports: int = 0
    problems: dict[tuple[str, str], ReportedProblem] = field(default_factory=dict)

    @property
    def ordered(self) -> list[ReportedProblem]:
        """The problems, the most frequent first."""
        return sorted(self.problems.values(), key=lambda each: (-each.number, each.subject))


def summarise(reports: Iterable[TlsReport | AggregateReport], domain: str = "") -> list[DomainSummary]:
    """The summaries of all domains, or of one."""
    found: dict[tuple[str, str], DomainSummary] = {}
    for report in reports:
        if isinstance(report, TlsReport):
            _add_tls(found, report)
        else:
            _add_dmarc(found, report)
    return [each for _, each in sorted(found.items()) if domain in ("", each.domain)]


def _add_tls(found: dict[tuple[str, str], DomainSummary], report: TlsReport) -> None:
    for results in report.policies:
        name, kind = results.policy.domain or "(unknown)", results.policy.type
        summary = found.setdefault(("tls", name), DomainSummary(kind="tls", domain=name))
        summary.reports += 1
        summary.good += results.successful
        summary.bad += results.failed
        for failure, sessions in results.failures:
            host = failure.receiving_host or failure.receiving_ip or "(unknown host)"
            key = host, f"{kind} {failure.result_type}"
            problem = summary.problems.get(key) or _tls_problem(name, kind, host, failure)
            summary.problems[key] = problem
            problem.add(sessions, report.begin, report.end, report.organization)


def _tls_problem(domain: str, kind: str, host: str, failure: SessionFailure) -> ReportedProblem:
    code, result = _code(kind, failure), failure.result_type
    meant = None if code is None else explain(code)
    known = result in tuple(ResultType)
    return ReportedProblem(
        kind="tls",
        domain=domain,
        subject=host,
        result=f"{kind} {result}",
        code=code,
        section=meant.section if meant else None,
        why=_WHY[ResultType(result)] if known else f"{result}, a result that no standard has",
        advice=(_ADVICE[ResultType(result)] if known else _OTHER).replace("DOMAIN", domain),
    )


def _code(kind: str, failure: SessionFailure) -> str | None:
    """Our reason for a failure: the one that another Letterlock names, or the one that its result type stands for."""
    if failure.reason in tuple(Code):
        return failure.reason
    if failure.result_type not in tuple(ResultType):
        return None
    codes = _CODES[ResultType(failure.result_type)]
    return codes[_KINDS.index(PolicyType(kind)) if kind in tuple(PolicyType) else -1].value


_WHY = {
    ResultType.STARTTLS_NOT_SUPPORTED: "the sender was not offered STARTTLS",
    ResultType.CERTIFICATE_HOST_MISMATCH: "the certificate is for another name",
    ResultType.CERTIFICATE_EXPIRED: "the certificate has expired",
    ResultType.CERTIFICATE_NOT_TRUSTED: "the sender does not trust the certificate",
    ResultType.VALIDATION_FAILURE: "the TLS handshake or the check of the certificate failed",
    ResultType.TLSA_INVALID: "no TLSA record is usable",
    ResultType.DNSSEC_INVALID: "the DNSSEC proof is broken",
    ResultType.DANE_REQUIRED: "the sender demands DANE, and there are no TLSA records for it",
    ResultType.STS_POLICY_FETCH_ERROR: "the MTA-STS policy could not be fetched",
    ResultType.STS_POLICY_INVALID: "the MTA-STS policy is invalid",
    ResultType.STS_WEBPKI_INVALID: "the policy host has no valid certificate",
}


def _add_dmarc(found: dict[tuple[str, str], DomainSummary], report: AggregateReport) -> None:
    name = report.policy.domain
    summary = found.setdefault(("dmarc", name), DomainSummary(kind="dmarc", domain=name))
    summary.reports += 1
    summary.good += report.messages - report.failed
    summary.bad += report.failed
    for row in report.rows:
        if "pass" in (row.dkim, row.spf):
            continue
        code = _dmarc_code(row)
        key = row.source_ip, code.value
        if key not in summary.problems:
            summary.problems[key] = ReportedProblem(
                kind="dmarc",
                domain=name,
                subject=row.source_ip,
                result="dmarc fail",
                code=code.value,
                section=EXPLANATIONS[code].section,
                why=_DMARC_WHY[code],
                advice=_DMARC_ADVICE,
            )
        summary.problems[key].add(row.count, report.begin, report.end, report.org_name)


def _dmarc_code(row: ReportRow) -> DmarcCode:
    """Why a row failed, as our own verdicts name it."""
    results = [*(each.result for each in row.signatures), *(each.result for each in row.senders)]
    return DmarcCode.NOT_ALIGNED if "pass" in results else DmarcCode.NOT_AUTHENTICATED


_DMARC_WHY = {
    DmarcCode.NOT_ALIGNED: "what DKIM or SPF authenticated is another domain than the author's",
    DmarcCode.NOT_AUTHENTICATED: "neither DKIM nor SPF authenticated any domain",
}
