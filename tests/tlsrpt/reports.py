"""Reports and session results for tests."""

from letterlock.tlsrpt.datagram import PolicyOutcome, SessionResult
from letterlock.tlsrpt.report import (
    AppliedPolicy,
    CountedFailure,
    PolicyResults,
    PolicyType,
    SessionFailure,
    TlsReport,
)

DAY = 20_600  # since 1970; 2026-05-27
STS = AppliedPolicy(
    PolicyType.STS,
    "receiver.example",
    ("version: STSv1", "mode: enforce", "mx: *.receiver.example", "max_age: 604800"),
    ("*.receiver.example",),
)
TLSA = AppliedPolicy(PolicyType.TLSA, "mx.receiver.example", ("3 1 1 " + "ab" * 32,))
NONE = AppliedPolicy(PolicyType.NONE, "receiver.example")
EXPIRED = SessionFailure(
    "certificate-expired", "192.0.2.1", "mx.receiver.example", "mx", "198.51.100.1", "", "rfc8461-4.2-expired"
)
STRIPPED = SessionFailure("starttls-not-supported", receiving_ip="198.51.100.1")
SUCCESS = SessionResult("receiver.example", (PolicyOutcome(STS, succeeded=True), PolicyOutcome(TLSA, succeeded=True)))
FAILURE = SessionResult(
    "receiver.example", (PolicyOutcome(STS, succeeded=False, failures=(EXPIRED,)), PolicyOutcome(TLSA, succeeded=True))
)
REPORT = TlsReport(
    organization="Sender Ünlimited",
    contact="postmaster@sender.example",
    report_id="2026-05-27.receiver.example",
    begin=DAY * 86_400,
    end=DAY * 86_400 + 86_399,
    policies=(
        PolicyResults(
            policy=STS, successful=7, failed=4, failures=(CountedFailure(EXPIRED, 3), CountedFailure(STRIPPED, 1))
        ),
        PolicyResults(policy=TLSA, successful=11, failed=0),
        PolicyResults(policy=NONE, successful=1, failed=0),
    ),
)
