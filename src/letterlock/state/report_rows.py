"""Reports and their parts as rows of the database: JSON, the same text for equal values."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from letterlock.mailauth.dmarc.aggregate import (
    AggregateReport,
    PublishedPolicy,
    ReportedOverride,
    ReportRow,
    SenderResult,
    SignatureResult,
)
from letterlock.tlsrpt.report import (
    AppliedPolicy,
    CountedFailure,
    PolicyResults,
    SessionFailure,
    TlsReport,
)

MAX_DOCUMENT_OCTETS = 64 << 20  # a bound for what is unpacked; what was read before it was packed is smaller


class DamagedReport(Exception):
    """A row cannot be read."""


def policy_text(policy: AppliedPolicy) -> str:
    """A policy of TLS reports."""
    return _json(policy)


def policy_of(text: str) -> AppliedPolicy:
    """The same, back. Raises DamagedReport."""
    try:
        kind, domain, lines, hosts = json.loads(text)
        return AppliedPolicy(kind, domain, tuple(lines), tuple(hosts))
    except (ValueError, TypeError):
        raise DamagedReport("a policy") from None


def failure_text(failure: SessionFailure) -> str:
    """What failed sessions had in common."""
    return _json(failure)


def failure_of(text: str) -> SessionFailure:
    """The same, back. Raises DamagedReport."""
    try:
        return SessionFailure(*json.loads(text))
    except (ValueError, TypeError):
        raise DamagedReport("a failure") from None


def published_text(policy: PublishedPolicy) -> str:
    """A DMARC policy."""
    return _json(asdict(policy))


def published_of(text: str) -> PublishedPolicy:
    """The same, back. Raises DamagedReport."""
    try:
        return PublishedPolicy(**json.loads(text))
    except (ValueError, TypeError):
        raise DamagedReport("a DMARC policy") from None


def row_text(row: ReportRow) -> str:
    """A row of a DMARC report, without its count."""
    return _json({name: value for name, value in asdict(row).items() if name != "count"})


def row_of(text: str, count: int) -> ReportRow:
    """The same, back. Raises DamagedReport."""
    try:
        return _row(json.loads(text) | {"count": count})
    except (ValueError, TypeError, KeyError):
        raise DamagedReport("a row") from None


def packed_report(report: TlsReport | AggregateReport) -> bytes:
    """A received report whole."""
    return zlib.compress(_json(asdict(report)).encode())


def tls_report_of(document: bytes) -> TlsReport:
    """The same, back. Raises DamagedReport."""
    values = _unpacked(document)
    try:
        policies = tuple(_results(each) for each in values.pop("policies"))
        return TlsReport(**values | {"policies": policies, "oddities": tuple(values["oddities"])})
    except (ValueError, TypeError, KeyError):
        raise DamagedReport("a TLS report") from None


def aggregate_report_of(document: bytes) -> AggregateReport:
    """The same, back. Raises DamagedReport."""
    values = _unpacked(document)
    try:
        return AggregateReport(
            **values
            | {
                "policy": PublishedPolicy(**values["policy"]),
                "rows": tuple(_row(each) for each in values["rows"]),
                "errors": tuple(values["errors"]),
                "oddities": tuple(values["oddities"]),
            }
        )
    except (ValueError, TypeError, KeyError):
        raise DamagedReport("a DMARC report") from None


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _unpacked(document: bytes) -> dict[str, Any]:
    try:
        text = zlib.decompressobj().decompress(document, MAX_DOCUMENT_OCTETS)
        values = json.loads(text)
    except (ValueError, zlib.error):
        raise DamagedReport("a report") from None
    if not isinstance(values, dict):
        raise DamagedReport("a report")
    return values


def _results(values: dict[str, Any]) -> PolicyResults:
    kind, domain, lines, hosts = values["policy"]
    return PolicyResults(
        policy=AppliedPolicy(kind, domain, tuple(lines), tuple(hosts)),
        successful=values["successful"],
        failed=values["failed"],
        failures=tuple(CountedFailure(SessionFailure(*failure), count) for failure, count in values["failures"]),
    )


def _row(values: dict[str, Any]) -> ReportRow:
    return ReportRow(
        **values
        | {
            "overrides": _each(ReportedOverride, values["overrides"]),
            "signatures": _each(SignatureResult, values["signatures"]),
            "senders": _each(SenderResult, values["senders"]),
        }
    )


def _each(kind: type[Any], values: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    return tuple(kind(**each) for each in values)
