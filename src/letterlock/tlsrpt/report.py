"""TLS reports as data (RFC 8460 section 4.4), whether received or ours, and as JSON.

Policies and failures are tuples by name, because roll-ups of a day hash them for each session.
"""

import datetime as dt
import gzip
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class PolicyType(StrEnum):
    """The policies that a session can have been judged by (section 4.4, policy-type)."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


class AppliedPolicy(NamedTuple):
    """A policy as the sender found it.

    `type` is a PolicyType, or in reports of others whatever stands there. `domain` is what the policy was found for:
    the recipients' domain, or the TLSA base domain; "": unknown. `lines` are the records or the lines of the policy,
    `mx_hosts` the patterns of an MTA-STS policy.
    """

    type: str
    domain: str
    lines: tuple[str, ...] = ()
    mx_hosts: tuple[str, ...] = ()


class SessionFailure(NamedTuple):
    """What failed sessions had in common; "" is unknown everywhere. `result_type` may be one that no standard has."""

    result_type: str
    sending_ip: str = ""
    receiving_host: str = ""
    receiving_hello: str = ""
    receiving_ip: str = ""
    information: str = ""
    reason: str = ""


class CountedFailure(NamedTuple):
    """A number of failed sessions."""

    failure: SessionFailure
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResults:
    """How many sessions under one policy were successful, and how many failed (RFC 8460 section 4.4).

    `failures` need not add up to `failed`: some senders report details in part.
    """

    policy: AppliedPolicy
    successful: int
    failed: int
    failures: tuple[CountedFailure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsReport:
    """A report. Times are seconds since 1970; `end` is the last second.

    `oddities` says what was wrong with a received one, with text from outside.
    """

    organization: str
    contact: str
    report_id: str
    begin: int
    end: int
    policies: tuple[PolicyResults, ...]
    oddities: tuple[str, ...] = ()

    @property
    def successful(self) -> int:
        """Sessions that went well, over all policies."""
        return sum(each.successful for each in self.policies)

    @property
    def failed(self) -> int:
        """Sessions that failed, over all policies."""
        return sum(each.failed for each in self.policies)


def to_json(report: TlsReport) -> bytes:
    """The report as I-JSON (section 4.4), every mandatory member in it and none null."""
    document = {
        "organization-name": report.organization,
        "date-range": {"start-datetime": moment(report.begin), "end-datetime": moment(report.end)},
        "contact-info": report.contact,
        "report-id": report.report_id,
        "policies": [_results(each) for each in report.policies],
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def packed(report: TlsReport) -> bytes:
    """The JSON under gzip. The same report gives the same bytes."""
    return gzip.compress(to_json(report), mtime=0)


def moment(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339 has them, in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _results(results: PolicyResults) -> dict[str, Any]:
    return {
        "policy": _policy(results.policy),
        "summary": {
            "total-successful-session-count": results.successful,
            "total-failure-session-count": results.failed,
        },
        "failure-details": [_failure(each) for each in results.failures],
    }


def _policy(policy: AppliedPolicy) -> dict[str, Any]:
    found: dict[str, Any] = {"policy-type": str(policy.type)}
    if policy.lines:
        found["policy-string"] = list(policy.lines)
    found["policy-domain"] = policy.domain
    if policy.mx_hosts:
        found["mx-host"] = list(policy.mx_hosts)  # an array: erratum 6241 of RFC 8460
    return found


def _failure(counted: CountedFailure) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: value for name, value in zip(FAILURE_MEMBERS, counted.failure, strict=True) if value != ""
    }
    return values | {"failed-session-count": counted.sessions}


FAILURE_MEMBERS = (
    "result-type",
    "sending-mta-ip",
    "receiving-mx-hostname",
    "receiving-mx-helo",
    "receiving-ip",
    "additional-information",
    "failure-reason-code",
)
"""The names in JSON of the fields of a SessionFailure, in their order."""
