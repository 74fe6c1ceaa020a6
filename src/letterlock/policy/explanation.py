"""What one reason code means: standard, status, sentence, what to do, and what a TLS report calls it."""

from dataclasses import dataclass
from enum import StrEnum

from letterlock.policy.codes import Code


class ResultType(StrEnum):
    """The result types of TLS reports (RFC 8460 section 4.3) that a delivery can end in."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


class Finding(StrEnum):
    """The kind of fact behind a reason, for other code that needs it: advice, notifications, the log."""

    STARTTLS_MISSING = "starttls-missing"  # though DANE or MTA-STS demands it
    IN_CLEAR = "in-clear"
    CLEAR_ALLOWED = "clear-allowed"
    DANE_MISMATCH = "dane-mismatch"
    DANE_CHAIN = "dane-chain"  # the chain to an authority that a TLSA record names is not in order
    PUBLIC_CHAIN = "public-chain"  # the chain that an MTA-STS policy demands is not in order
    POLICY_WOULD_HOLD = "policy-would-hold"  # an MTA-STS policy in testing
    AUDITED = "audited"  # anything else about demands that are not enforced
    SENDERS_DEMAND = "senders-demand"
    ROUTED = "routed"  # the operator chose the way


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What one code means.

    `section` names the standard. `status` is an enhanced status code (RFC 3463). `sentence` has `{placeholders}` for
    the facts of a reason. `advice` is for the operator who can act on it. `result_type` None means: not reported.
    """

    code: Code
    section: str
    status: str
    sentence: str
    advice: str
    result_type: ResultType | None
    finding: Finding | None = None


NOTHING = "nothing: this is as intended"
THEIR_DNS = "the operator of the domain must fix its DNSSEC or its name servers; delivery is tried again until then"
OUR_RULE = "review the rule in the configuration; change it only if its demand was wrong"
UNDER_ATTACK = (
    "if the server is known to offer TLS, something on the path removes it: compare with another network; "
    "delivery is tried again"
)


def row(
    code: Code,
    section: str,
    status: str,
    sentence: str,
    advice: str,
    result_type: ResultType | None = None,
    *,
    finding: Finding | None = None,
) -> Explanation:
    """One row of the table of reasons; the parameters are those of Explanation, in the order in which they are read."""
    return Explanation(
        code=code,
        section=section,
        status=status,
        sentence=sentence,
        advice=advice,
        result_type=result_type,
        finding=finding,
    )
