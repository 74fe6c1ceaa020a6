"""A domain's MTA-STS policy as evidence for the decision."""

from dataclasses import dataclass
from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.mtasts.fetching import FetchFailure
from letterlock.mtasts.policy import StsPolicy


class PolicyTrouble(StrEnum):
    """Why a remembered policy is used that could not be confirmed now (RFC 8461 sections 5.1 and 10.2).

    An attacker can cause every one of them, and so can a mistake at the domain.
    """

    TXT_MISSING = "txt-missing"  # the TXT record has gone, though the policy was not withdrawn by mode none (8.3)
    TXT_INVALID = "txt-invalid"  # the TXT record is against the grammar, or there are several
    TXT_FAILED = "txt-failed"  # the TXT lookup failed
    REFRESH_FAILED = "refresh-failed"  # the id is the same, and the policy cannot be fetched any more
    UPDATE_FAILED = "update-failed"  # the id is a new one, and its policy cannot be fetched


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A policy that holds. Times are seconds since 1970.

    `from_cache`: not fetched for this very question. `trouble` is a sentence for people on what could not be confirmed,
    `sign` the same as a code, `since` when it began. `suspicious`: what an attacker on the path would look like
    (section 10.2); never with mode none, which protects nothing.
    """

    policy: StsPolicy
    id: str
    fetched_at: float
    expires_at: float
    from_cache: bool
    trouble: str | None = None
    suspicious: bool = False
    sign: PolicyTrouble | None = None
    since: float | None = None


@frozen_dataclass(frozen=True, slots=True)
class Absent:
    """The domain announces no policy, and none is remembered.

    `detail`, for people: a TXT record that is invalid, or nearly one.
    """

    detail: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyUnavailable:
    """Could not find out, and no policy is remembered: delivery goes on as without MTA-STS (section 3.3).

    `kind` is None when it was the TXT lookup that failed.
    """

    detail: str
    kind: FetchFailure | None = None


StsEvidence = Known | Absent | PolicyUnavailable
