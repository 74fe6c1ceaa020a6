"""MTA-STS (RFC 8461): what a domain says about TLS to its MX hosts, over DNS and HTTPS, without DNSSEC.

A TXT record at `_mta-sts.<domain>` announces a policy and its id (`record`); the policy itself is a
small text at `https://mta-sts.<domain>/.well-known/mta-sts.txt`, vouched for by WebPKI (`policy`). Who has fetched it
once remembers it until it expires, and that memory is the whole protection: an attacker who blocks the TXT record or
the HTTPS fetch gains nothing while a policy is remembered, and becomes visible (section 10.2). `freshness` is that
memory as two pure functions: what to do next, and what follows from a fetch. `sts_evidence` is the result.

Everything here is pure: records, bodies, times and random fractions are arguments. `letterlock.policy` decides what a
policy means for a host; it never overrides DANE (section 2). A record that breaks the grammar counts as none (section
3.1). A policy counts if all mandatory fields are valid; other mistakes in it are skipped and reported, because its
publisher wants to be protected. Neither ever shortens the life of a policy that is remembered.
"""

from letterlock.mtasts.fetching import Fetched, FetchFailed, FetchFailure, PolicyFetch
from letterlock.mtasts.freshness import (
    RETRY_SECONDS,
    Change,
    Conclusion,
    Fetch,
    KnownPolicy,
    PastFailure,
    after_fetch,
    next_step,
)
from letterlock.mtasts.policy import MAX_POLICY_OCTETS, InvalidPolicy, Mode, StsPolicy, matches, parse_policy
from letterlock.mtasts.record import InvalidSTSRecord, NoSTSRecord, StsRecord, TxtFailed, TxtResult, find_id
from letterlock.mtasts.sts_evidence import Absent, Known, PolicyTrouble, PolicyUnavailable, StsEvidence

__all__ = [
    "MAX_POLICY_OCTETS",
    "RETRY_SECONDS",
    "Absent",
    "Change",
    "Conclusion",
    "Fetch",
    "FetchFailed",
    "FetchFailure",
    "Fetched",
    "InvalidPolicy",
    "InvalidSTSRecord",
    "Known",
    "KnownPolicy",
    "Mode",
    "NoSTSRecord",
    "PastFailure",
    "PolicyFetch",
    "PolicyTrouble",
    "PolicyUnavailable",
    "StsEvidence",
    "StsPolicy",
    "StsRecord",
    "TxtFailed",
    "TxtResult",
    "after_fetch",
    "find_id",
    "matches",
    "next_step",
    "parse_policy",
]
