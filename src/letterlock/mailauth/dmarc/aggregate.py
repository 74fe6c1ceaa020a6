"""Aggregate reports as data (RFC 9990 section 3.1), whether received or ours."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportedOverride:
    """Why a message was not treated as the domain wants."""

    type: str
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureResult:
    """What DKIM found of one signature."""

    domain: str
    selector: str = ""
    result: str
    human_result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderResult:
    """What SPF found; `scope` is mfrom, or helo in older reports."""

    domain: str
    result: str
    scope: str = ""
    human_result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """A number of messages that had everything here in common.

    `dkim` and `spf` are pass or fail as DMARC counts them: authenticated and aligned.
    """

    source_ip: str
    count: int
    disposition: str
    dkim: str
    spf: str
    header_from: str
    envelope_from: str | None = None
    envelope_to: str | None = None
    overrides: tuple[ReportedOverride, ...] = ()
    signatures: tuple[SignatureResult, ...] = ()
    senders: tuple[SenderResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPolicy:
    """The policy that the reporter saw. Only reports by RFC 7489 have `pct`."""

    domain: str
    p: str = ""
    sp: str = ""
    np: str = ""
    adkim: str = ""
    aspf: str = ""
    fo: str = ""
    testing: str = ""
    discovery_method: str = ""
    pct: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateReport:
    """A report. `begin` and `end` are in seconds since 1970; `oddities` says what was wrong, with text from outside."""

    org_name: str
    email: str
    report_id: str
    begin: int
    end: int
    policy: PublishedPolicy
    rows: tuple[ReportRow, ...]
    extra_contact_info: str = ""
    generator: str = ""
    errors: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()

    @property
    def messages(self) -> int:
        """How many messages it is about."""
        return sum(row.count for row in self.rows)

    @property
    def failed(self) -> int:
        """How many of them did not pass."""
        return sum(row.count for row in self.rows if "pass" not in (row.dkim, row.spf))
