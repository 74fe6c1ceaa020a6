"""Results of DKIM and ARC, and every reason why a signature did not pass, with the section of its standard."""

from enum import StrEnum
from typing import NamedTuple


class DkimResult(StrEnum):
    """How a signature ended, in the words of Authentication-Results (RFC 8601 section 2.7.1)."""

    PASS = "pass"
    FAIL = "fail"
    NEUTRAL = "neutral"  # it could not be understood
    POLICY = "policy"  # it is beyond the limits of this verifier
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class DkimReason(StrEnum):
    """Why a signature did not pass. The values are stable; `explain` has the rest."""

    MALFORMED_HEADER = "malformed-header"
    SYNTAX = "syntax"
    TAG_MISSING = "tag-missing"
    VERSION = "version"
    ALGORITHM = "algorithm"
    SHA1 = "sha1"
    CANONICALIZATION = "canonicalization"
    QUERY_METHOD = "query-method"
    IDENTITY = "identity"
    FROM_NOT_SIGNED = "from-not-signed"
    FROM_ADDED = "from-added"
    FORBIDDEN_TAG = "forbidden-tag"
    SEAL_SIGNED = "seal-signed"
    TIMES = "times"
    EXPIRED = "expired"
    TOO_LARGE = "too-large"
    TOO_MANY_TAGS = "too-many-tags"
    TOO_MANY_NAMES = "too-many-names"
    TOO_MANY_SIGNATURES = "too-many-signatures"
    KEY_ABSENT = "key-absent"
    KEY_LOOKUP_FAILED = "key-lookup-failed"
    KEY_BOGUS = "key-bogus"
    KEY_SYNTAX = "key-syntax"
    KEY_REVOKED = "key-revoked"
    KEY_ALGORITHM = "key-algorithm"
    KEY_HASH = "key-hash"
    KEY_SERVICE = "key-service"
    KEY_STRICT = "key-strict"
    KEY_TOO_SHORT = "key-too-short"
    KEY_TOO_LARGE = "key-too-large"
    BODY_CHANGED = "body-changed"
    BODY_TOO_SHORT = "body-too-short"
    HEADER_CHANGED = "header-changed"
    ARC_SETS = "arc-sets"
    ARC_TOO_LONG = "arc-too-long"
    ARC_STATUS = "arc-status"
    ARC_FAILED_BEFORE = "arc-failed-before"
    ARC_SEAL_BROKEN = "arc-seal-broken"


class DkimExplanation(NamedTuple):
    """What a reason means: the result that it causes, the section that demands it, and a sentence for people."""

    result: DkimResult
    section: str
    sentence: str


_F, _N, _P = DkimResult.FAIL, DkimResult.NEUTRAL, DkimResult.PERMERROR

EXPLANATIONS = {
    DkimReason.MALFORMED_HEADER: DkimExplanation(
        _P, "RFC 6376 section 3.8", "the header has a line that is no field, where some readers see the body begin"
    ),
    DkimReason.SYNTAX: DkimExplanation(_N, "RFC 6376 section 3.2", "the signature field is not written by the grammar"),
    DkimReason.TAG_MISSING: DkimExplanation(_N, "RFC 6376 section 6.1.1", "the signature lacks a required tag"),
    DkimReason.VERSION: DkimExplanation(_N, "RFC 6376 section 3.5", "the signature is of another version than 1"),
    DkimReason.ALGORITHM: DkimExplanation(_N, "RFC 6376 section 3.3", "the signature's algorithm is unknown"),
    DkimReason.SHA1: DkimExplanation(
        _F, "RFC 8301 section 3.1", "the signature uses SHA-1, which proves nothing any more"
    ),
    DkimReason.CANONICALIZATION: DkimExplanation(
        _N, "RFC 6376 section 3.5", "the signature's canonicalization is unknown"
    ),
    DkimReason.QUERY_METHOD: DkimExplanation(_N, "RFC 6376 section 3.5", "the key is not published in DNS TXT records"),
    DkimReason.IDENTITY: DkimExplanation(
        _P, "RFC 6376 section 6.1.1", "the identity i= is not in the signing domain d="
    ),
    DkimReason.FROM_NOT_SIGNED: DkimExplanation(_P, "RFC 6376 section 6.1.1", "the signature does not cover From"),
    DkimReason.FROM_ADDED: DkimExplanation(
        _F, "RFC 6376 section 8.15", "the message has a From field that the signature does not cover"
    ),
    DkimReason.FORBIDDEN_TAG: DkimExplanation(_P, "RFC 8617 section 4.1.3", "the seal has an h= tag"),
    DkimReason.SEAL_SIGNED: DkimExplanation(_P, "RFC 8617 section 4.1.2", "the message signature covers a seal"),
    DkimReason.TIMES: DkimExplanation(_N, "RFC 6376 section 3.5", "the signature expires before it was made"),
    DkimReason.EXPIRED: DkimExplanation(_F, "RFC 6376 section 6.1.1", "the signature has expired"),
    DkimReason.TOO_LARGE: DkimExplanation(
        DkimResult.POLICY,
        "RFC 6376 section 8.4",
        "the signature field or key record is larger than this verifier reads",
    ),
    DkimReason.TOO_MANY_TAGS: DkimExplanation(
        DkimResult.POLICY, "RFC 6376 section 8.4", "the signature or key has more tags than this verifier reads"
    ),
    DkimReason.TOO_MANY_NAMES: DkimExplanation(
        DkimResult.POLICY, "RFC 6376 section 8.4", "the signature names more header fields than this verifier hashes"
    ),
    DkimReason.TOO_MANY_SIGNATURES: DkimExplanation(
        DkimResult.POLICY, "RFC 6376 section 6.1", "the message has more signatures than this verifier checks"
    ),
    DkimReason.KEY_ABSENT: DkimExplanation(
        _P, "RFC 6376 section 6.1.2", "the domain publishes no key under this selector"
    ),
    DkimReason.KEY_LOOKUP_FAILED: DkimExplanation(
        DkimResult.TEMPERROR,
        "RFC 6376 section 6.1.2",
        "the key could not be looked up; whether there is one is unknown",
    ),
    DkimReason.KEY_BOGUS: DkimExplanation(
        DkimResult.TEMPERROR, "RFC 4035 section 5.5", "the DNS answer with the key has a broken DNSSEC proof"
    ),
    DkimReason.KEY_SYNTAX: DkimExplanation(
        _P, "RFC 6376 section 6.1.2", "the key record is not written by the grammar"
    ),
    DkimReason.KEY_REVOKED: DkimExplanation(_P, "RFC 6376 section 3.6.1", "the domain has revoked the key"),
    DkimReason.KEY_ALGORITHM: DkimExplanation(_P, "RFC 6376 section 6.1.2", "the key is for another algorithm"),
    DkimReason.KEY_HASH: DkimExplanation(_P, "RFC 6376 section 3.6.1", "the key may not be used with SHA-256"),
    DkimReason.KEY_SERVICE: DkimExplanation(_P, "RFC 6376 section 3.6.1", "the key may not be used for email"),
    DkimReason.KEY_STRICT: DkimExplanation(
        _P, "RFC 6376 section 3.6.1", "the key does not allow identities i= in subdomains (t=s)"
    ),
    DkimReason.KEY_TOO_SHORT: DkimExplanation(_F, "RFC 8301 section 3.2", "the RSA key has fewer than 1024 bits"),
    DkimReason.KEY_TOO_LARGE: DkimExplanation(
        DkimResult.POLICY, "RFC 8301 section 3.2", "the RSA key is larger than this verifier computes with"
    ),
    DkimReason.BODY_CHANGED: DkimExplanation(_F, "RFC 6376 section 6.1.3", "the body was changed after it was signed"),
    DkimReason.BODY_TOO_SHORT: DkimExplanation(
        _P, "RFC 6376 section 3.5", "the body is shorter than the signature's l="
    ),
    DkimReason.HEADER_CHANGED: DkimExplanation(
        _F, "RFC 6376 section 6.1.3", "a signed header field was changed, added or removed, or another key signed it"
    ),
    DkimReason.ARC_SETS: DkimExplanation(
        _F, "RFC 8617 section 5.2", "the ARC sets are not numbered from 1 up with three fields each"
    ),
    DkimReason.ARC_TOO_LONG: DkimExplanation(_F, "RFC 8617 section 5.2", "the message has more than 50 ARC sets"),
    DkimReason.ARC_STATUS: DkimExplanation(
        _F, "RFC 8617 section 5.2", "a seal states another cv= than none for the first set and pass for later ones"
    ),
    DkimReason.ARC_FAILED_BEFORE: DkimExplanation(
        _F, "RFC 8617 section 5.2", "an earlier hop found that the chain is broken"
    ),
    DkimReason.ARC_SEAL_BROKEN: DkimExplanation(
        _F, "RFC 8617 section 5.2", "a field that the seal covers was changed, or another key made the seal"
    ),
}


class UnusableSignature(Exception):
    """A signature or key that cannot pass: the reason, and what was found. Never leaves this package."""

    def __init__(self, reason: DkimReason, found: str = "") -> None:
        super().__init__(reason.value, found)
        self.reason = reason
        self.found = found


def explain(reason: DkimReason) -> DkimExplanation:
    """The result, the section and the sentence of a reason."""
    return EXPLANATIONS[reason]
