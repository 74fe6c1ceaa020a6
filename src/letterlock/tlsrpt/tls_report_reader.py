"""Read a TLS report as it is sent in practice (RFC 8460 section 4.4).

Nothing is guessed: what is missing stays unknown, what can be understood in one way only is taken so, and each
deviation is named in `oddities`. Only what is no report at all is refused. Memory is bounded before JSON is parsed.
"""

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from letterlock.mail.names import InvalidName, normalise
from letterlock.mail.unpacking import InvalidReport, ReportFormat, unpack
from letterlock.tlsrpt.report import (
    FAILURE_MEMBERS,
    AppliedPolicy,
    CountedFailure,
    PolicyResults,
    PolicyType,
    SessionFailure,
    TlsReport,
)

MAX_JSON_OCTETS = 20 << 20  # as mox and Stalwart accept; the largest known reports have 2 MB
MAX_MARKS = 1_000_000  # braces, brackets and commas; 20 MB of failures have half of that. Each is an object: 100 MB
MAX_FAILURES = 50_000  # of a whole report: a failure takes 300 bytes of JSON
MAX_POLICIES = 10_000  # chosen: the largest providers report some hundred
MAX_LINES = 600  # of a policy: 500 MX patterns are allowed, and three other lines
MAX_TEXT_CHARACTERS = 1_000  # of one value
MAX_COUNT = 10**12  # more sessions than any sender has in a day, and far from where a database's integers end
MAX_ODDITIES = 20  # chosen: what a reader takes in
_SHOWN_CHARACTERS = 60  # chosen: of a value, in a line of text
_COUNT_TEXT = re.compile(r"[0-9]{1,20}")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SUBJECT_DOMAIN = re.compile(r"Report[- ]Domain:\s*([A-Za-z0-9._-]{1,253})", re.IGNORECASE)
_HEADER_DOMAIN = re.compile(rb"(?im)^TLS-Report-Domain:[ \t]*([A-Za-z0-9._-]{1,253})[ \t\r]*$")
_SUBJECT_FIELD = re.compile(rb"(?im)^Subject:((?:[^\r\n]|\r?\n[ \t])*)")
_FILE_NAME = re.compile(r"[^!]+!([A-Za-z0-9._-]{1,253})!\d{1,15}!\d{1,15}(?:!|\.json)")
_HEADER_OCTETS = 1 << 16  # chosen: a report has a dozen header fields
_JSON_STARTS = (b"{", b"[")


def _begins(data: bytes) -> bool:
    return data.startswith(_JSON_STARTS)


JSON = ReportFormat(name="JSON", suffix=".json", max_octets=MAX_JSON_OCTETS, begins=_begins)


def read_tls_report(data: bytes, *, file_name: str = "") -> TlsReport:
    """Read a report: JSON, gzip, zip, or a mail with one of these. Raises InvalidReport.

    Where a policy names no domain, it is that of the mail (TLS-Report-Domain, Subject) or of the file name.
    """
    document = _parsed(unpack(data, JSON))
    return _Reader(_domain_outside(data, file_name)).report(document)


def _parsed(text: bytes) -> Any:
    if sum(text.count(mark) for mark in (b"{", b"[", b",")) > MAX_MARKS:
        raise InvalidReport("it has more elements than a report can have")
    try:
        return json.loads(text.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise InvalidReport("it is not JSON") from None


def _domain_outside(data: bytes, file_name: str) -> str:
    """The domain that the mail or the file name says the report is about; "" when neither does."""
    named = _FILE_NAME.match(file_name)
    if data[:1] in _JSON_STARTS or data.startswith((b"\x1f\x8b", b"PK", _BYTE_ORDER_MARK)):
        return named[1].lower() if named else ""
    end = re.search(rb"\r?\n\r?\n", data[:_HEADER_OCTETS])
    header = data[: end.start() if end else _HEADER_OCTETS]
    field = _HEADER_DOMAIN.search(header)
    if field:
        return field[1].decode().lower()
    subject = _SUBJECT_FIELD.search(header)
    found = _SUBJECT_DOMAIN.search(subject[1].decode("ascii", "replace")) if subject else None
    return found[1].lower() if found else named[1].lower() if named else ""


class _Reader:
    def __init__(self, domain_outside: str) -> None:
        self._domain = domain_outside
        self._oddities: list[str] = []
        self._failures = 0

    def report(self, document: Any) -> TlsReport:
        """The whole report. Raises InvalidReport."""
        if not isinstance(document, dict):
            raise InvalidReport("it is JSON, but no report: it has no members")
        policies = document.get("policies")
        if not isinstance(policies, list):
            raise InvalidReport("it has no list of policies" if policies is None else "its policies are not a list")
        if len(policies) > MAX_POLICIES:
            raise InvalidReport(f"it has more than {MAX_POLICIES} policies")
        dates = _mapping(document.get("date-range"))
        begin, end = self._moment(dates, "start-datetime"), self._moment(dates, "end-datetime")
        if begin > end:
            self._odd("the period ends before it begins")
        found = tuple(self._results(_mapping(each)) for each in policies)
        return TlsReport(
            organization=self._required(document, "organization-name"),
            contact=_text(document.get("contact-info")),
            report_id=self._required(document, "report-id"),
            begin=begin,
            end=max(begin, end),
            policies=found,
            oddities=tuple(self._oddities),
        )

    def _odd(self, oddity: str) -> None:
        if len(self._oddities) < MAX_ODDITIES and oddity not in self._oddities:
            self._oddities.append(oddity)

    def _required(self, document: Mapping[str, Any], name: str) -> str:
        text = _text(document.get(name))
        if not text:
            self._odd(f"{name} is missing")
        return text

    def _moment(self, dates: Mapping[str, Any], name: str) -> int:
        text = _text(dates.get(name))
        try:
            found = dt.datetime.fromisoformat(text)
            if found.tzinfo is None:
                self._odd("a time has no zone; it counts as UTC")
                found = found.replace(tzinfo=dt.UTC)
            return max(0, int(found.timestamp()))
        except (ValueError, OverflowError):
            self._odd(f"{name} is missing or malformed")
            return 0

    def _results(self, entry: Mapping[str, Any]) -> PolicyResults:
        summary = _mapping(entry.get("summary"))
        return PolicyResults(
            policy=self._policy(_mapping(entry.get("policy"))),
            successful=self._count(summary.get("total-successful-session-count")),
            failed=self._count(summary.get("total-failure-session-count")),
            failures=tuple(self._failed(entry.get("failure-details"))),
        )

    def _policy(self, policy: Mapping[str, Any]) -> AppliedPolicy:
        kind = _text(policy.get("policy-type")).lower()
        if kind not in tuple(PolicyType):
            self._odd(f"unknown policy-type {kind[:_SHOWN_CHARACTERS]!r}")
        return AppliedPolicy(
            type=kind,
            domain=self._policy_domain(policy),
            lines=self._lines(policy, "policy-string"),
            mx_hosts=self._lines(policy, "mx-host"),
        )

    def _policy_domain(self, policy: Mapping[str, Any]) -> str:
        text = _text(policy.get("policy-domain"))
        if not text:
            self._odd("a policy names no domain" + (", it is that of the mail or the file" if self._domain else ""))
            return self._domain
        try:
            return normalise(text)
        except InvalidName:
            self._odd(f"a policy is for {text[:_SHOWN_CHARACTERS]!r}, which is no domain")
            return text.lower()

    def _lines(self, policy: Mapping[str, Any], name: str) -> tuple[str, ...]:
        value = policy.get(name)
        if isinstance(value, str):
            if name == "policy-string":
                self._odd("policy-string is one text, not a list of lines")
            value = value.splitlines()
        return tuple(_text(each) for each in _sequence(value)[:MAX_LINES] if _text(each))

    def _count(self, value: Any) -> int:
        """A number of sessions. Raises InvalidReport for text that is none."""
        if isinstance(value, str):
            if _COUNT_TEXT.fullmatch(value) is None:
                raise InvalidReport("a count is not a number")
            self._odd("counts are text")
            value = int(value)
        if value is None or isinstance(value, bool) or not isinstance(value, int | float):
            self._odd("a count is missing")
            return 0
        if not 0 <= value <= MAX_COUNT:  # also what is no number, which compares as False
            self._odd(f"a count is out of range, and held at {MAX_COUNT if value > 0 else 0}")
            return MAX_COUNT if value > 0 else 0
        return int(value)

    def _failed(self, value: Any) -> Iterable[CountedFailure]:
        for entry in _sequence(value):
            self._failures += 1
            if self._failures > MAX_FAILURES:
                raise InvalidReport(f"it has more than {MAX_FAILURES} failures")
            details = _mapping(entry)
            failure = SessionFailure(*(_text(details.get(name)) for name in FAILURE_MEMBERS))
            if not failure.result_type:
                self._odd("a failure has no result-type")
            yield CountedFailure(failure, self._count(details.get("failed-session-count")))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    """A text; null is the same as absent, and so is everything else that is none."""
    if not isinstance(value, str):
        return ""
    return value[:MAX_TEXT_CHARACTERS].encode("utf-8", "replace").decode().strip()
