"""TLS reports (RFC 8460): where a domain wants them, and reports themselves, written and read.

    report = read_tls_report(data)          # JSON, gzip, zip, or a mail with one of these
    for results in report.policies:
        print(results.policy.type, results.policy.domain, results.successful, results.failed)

`find_addresses` reads the announcement, the TXT record at `_smtp._tls.<domain>`. `parse_datagram` and
`compose_datagram` are the protocol by which Postfix 3.10 hands its results to a collector.
"""

from letterlock.mail.unpacking import InvalidReport
from letterlock.tlsrpt.datagram import (
    InvalidDatagram,
    PolicyOutcome,
    SessionResult,
    compose_datagram,
    parse_datagram,
)
from letterlock.tlsrpt.record import InvalidTLSRPTRecord, NoTLSRPTRecord, ReportAddresses, find_addresses
from letterlock.tlsrpt.report import (
    AppliedPolicy,
    CountedFailure,
    PolicyResults,
    PolicyType,
    SessionFailure,
    TlsReport,
    packed,
    to_json,
)
from letterlock.tlsrpt.tls_report_reader import read_tls_report

__all__ = [
    "AppliedPolicy",
    "CountedFailure",
    "InvalidDatagram",
    "InvalidReport",
    "InvalidTLSRPTRecord",
    "NoTLSRPTRecord",
    "PolicyOutcome",
    "PolicyResults",
    "PolicyType",
    "ReportAddresses",
    "SessionFailure",
    "SessionResult",
    "TlsReport",
    "compose_datagram",
    "find_addresses",
    "packed",
    "parse_datagram",
    "read_tls_report",
    "to_json",
]
