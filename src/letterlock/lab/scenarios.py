"""What theory says: every attack against every protection. Written by hand, from the standards; nothing computes it."""

from dataclasses import dataclass
from enum import StrEnum

from letterlock.policy.codes import Code


class Attack(StrEnum):
    """What the attacker does."""

    STARTTLS_STRIPPED = "starttls-stripped"
    STARTTLS_REFUSED = "starttls-refused"
    SELF_SIGNED = "self-signed"
    MX_FORGED = "mx-forged"
    TLSA_REMOVED = "tlsa-removed"
    TLSA_LOOKUP_FAILED = "tlsa-lookup-failed"
    PLAINTEXT_INJECTED = "plaintext-injected"
    STS_HIDDEN = "mta-sts-hidden"
    STS_HIDDEN_FIRST = "mta-sts-hidden-at-first-contact"
    STS_FORGED = "mta-sts-forged"
    STS_REDIRECTED = "mta-sts-redirected"
    BOUGHT_CERTIFICATE = "bought-certificate"
    NONE = "none"


class SiteProtection(StrEnum):
    """What protects mail to a domain."""

    NONE = "none"
    REQUIRE_TLS = "require-tls"
    VERIFY = "verify"
    MTA_STS = "mta-sts"
    DANE_EE = "dane-ee"
    DANE_TA = "dane-ta"


class TrialOutcome(StrEnum):
    """What happened to a message."""

    AUTHENTICATED = "delivered-authenticated"
    ENCRYPTED = "delivered-encrypted"  # to any server that answered
    CLEAR = "delivered-clear"
    HELD = "held"  # in the queue, deferred with reasons, and nobody else has it
    INCONSISTENT = "inconsistent"  # what the server says is not what the mailboxes hold: never expected
    UNDECIDED = "undecided"  # no end in time: never expected


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must happen, whether the attacker can read the message then, and for which reason.

    `because` is a code of `letterlock.policy.reasons` that must be among the reasons: to hold a message for a wrong
    reason (a lookup that timed out, say) is no protection.
    """

    outcome: TrialOutcome
    because: str
    readable: bool = False


ATTACK_TITLES = {
    Attack.STARTTLS_STRIPPED: "STARTTLS removed",
    Attack.STARTTLS_REFUSED: "STARTTLS refused",
    Attack.SELF_SIGNED: "self-signed",
    Attack.MX_FORGED: "MX forged",
    Attack.TLSA_REMOVED: "TLSA removed",
    Attack.TLSA_LOOKUP_FAILED: "TLSA lookup fails",
    Attack.PLAINTEXT_INJECTED: "plaintext after 220",
    Attack.STS_HIDDEN: "MTA-STS hidden",
    Attack.STS_HIDDEN_FIRST: "MTA-STS never seen",
    Attack.STS_FORGED: "MTA-STS, MX forged",
    Attack.STS_REDIRECTED: "MTA-STS redirected",
    Attack.BOUGHT_CERTIFICATE: "bought certificate",
    Attack.NONE: "nobody attacks",
}

ATTACK_STORIES = {
    Attack.STARTTLS_STRIPPED: "on the path to the MX host: removes STARTTLS from the reply to EHLO, relays the rest",
    Attack.STARTTLS_REFUSED: "on the path to the MX host: answers 454 to STARTTLS, relays the rest",
    Attack.SELF_SIGNED: "on the path to the MX host: terminates TLS with its own certificate, relays to the real host",
    Attack.MX_FORGED: "in the DNS: forges the MX to the attacker's host, which has a valid certificate for its name",
    Attack.TLSA_REMOVED: "in the DNS: answers that there is no TLSA; on the path: as with the self-signed one",
    Attack.TLSA_LOOKUP_FAILED: "in the DNS: answers SERVFAIL for TLSA; on the path: as with the self-signed one",
    Attack.PLAINTEXT_INJECTED: "on the path to the MX host: sends replies in cleartext right after the 220 to STARTTLS",
    Attack.STS_HIDDEN: "in the DNS: answers that there is no _mta-sts record and no policy host; on the path: as with "
    "the self-signed one. The server has seen the policy before",
    Attack.STS_HIDDEN_FIRST: "the same, against a server that has never seen the policy",
    Attack.STS_FORGED: "in the DNS: forges the MX, a new policy id, and the address of the policy host, which "
    "serves a policy that names the attacker's host, with a self-signed certificate",
    Attack.STS_REDIRECTED: "in the DNS: forges the MX and a new policy id; the true policy host, with its valid "
    "certificate, is made to redirect to a policy that names the attacker's host",
    Attack.BOUGHT_CERTIFICATE: "on the path to the MX host: ends TLS with a certificate for the host that a public "
    "authority issued to the attacker",
    Attack.NONE: "everybody is honest",
}

_OPPORTUNISTIC = Code.RFC7435_3_ENCRYPTED
_UNSIGNED_NAME = Code.RFC7672_1_3_2_UNSIGNED_NAME


def _held(because: str) -> Expectation:
    return Expectation(TrialOutcome.HELD, because)


_TAKEN = Expectation(TrialOutcome.ENCRYPTED, _OPPORTUNISTIC)
_READ_CLEAR = Expectation(TrialOutcome.CLEAR, Code.RFC7435_3_CLEAR, readable=True)
_READ_CLEAR_REFUSED = Expectation(TrialOutcome.CLEAR, Code.RFC7435_3_CLEAR_REFUSED, readable=True)
_READ = Expectation(TrialOutcome.ENCRYPTED, _OPPORTUNISTIC, readable=True)
_UNTRUSTED = _held(Code.RULE_VERIFY_UNTRUSTED)
_STS_UNTRUSTED = _held(Code.RFC8461_4_2_UNTRUSTED)
_MISMATCH = _held(Code.RFC7672_3_2_DANE_MISMATCH)
_INJECTED = _held(Code.RFC3207_4_2_INJECTED)

# One row an attack; columns in the order of Protection. Why those that are READ cannot be helped:
# - opportunistic TLS falls to any active attacker (RFC 7435 section 3);
# - mandatory TLS with an unauthenticated peer falls to an attacker who terminates TLS (RFC 7672 section 1.3.1);
# - PKIX against a name from an unsigned MX falls to an attacker who forges the MX (RFC 7672 section 1.3.2).
# - who has never seen an MTA-STS policy cannot miss it (RFC 8461 section 10.2);
# - a certificate that a public authority gave to the wrong one is a valid one (RFC 8461 section 10.1).
_Row = tuple[Expectation, Expectation, Expectation, Expectation, Expectation, Expectation]
_THEORY: dict[Attack, _Row] = {
    Attack.STARTTLS_STRIPPED: (
        _READ_CLEAR,
        _held(Code.RULE_STARTTLS_REQUIRED),
        _held(Code.RULE_STARTTLS_REQUIRED),
        _held(Code.RFC8461_5_STARTTLS_REQUIRED),
        _held(Code.RFC7672_2_2_3_STARTTLS_REQUIRED),
        _held(Code.RFC7672_2_2_3_STARTTLS_REQUIRED),
    ),
    Attack.STARTTLS_REFUSED: (
        _READ_CLEAR_REFUSED,
        _held(Code.RULE_STARTTLS_REFUSED),
        _held(Code.RULE_STARTTLS_REFUSED),
        _held(Code.RFC8461_5_STARTTLS_REFUSED),
        _held(Code.RFC7672_2_2_3_STARTTLS_REFUSED),
        _held(Code.RFC7672_2_2_3_STARTTLS_REFUSED),
    ),
    Attack.SELF_SIGNED: (
        _READ,
        _READ,
        _UNTRUSTED,
        _STS_UNTRUSTED,
        _held(Code.RFC7672_3_2_DANE_MISMATCH),
        _held(Code.RFC7672_3_2_DANE_MISMATCH),
    ),
    Attack.MX_FORGED: (
        _READ,
        _READ,
        Expectation(TrialOutcome.ENCRYPTED, _UNSIGNED_NAME, readable=True),
        _held(Code.RFC8461_4_1_MX_MISMATCH),
        _held(Code.RFC7672_2_1_2_MX_BOGUS),
        _held(Code.RFC7672_2_1_2_MX_BOGUS),
    ),
    Attack.TLSA_REMOVED: (
        _READ,
        _READ,
        _UNTRUSTED,
        _STS_UNTRUSTED,
        _held(Code.RFC7672_2_1_2_TLSA_BOGUS),
        _held(Code.RFC7672_2_1_2_TLSA_BOGUS),
    ),
    Attack.TLSA_LOOKUP_FAILED: (
        _READ,
        _READ,
        _UNTRUSTED,
        _STS_UNTRUSTED,
        _held(Code.RFC7672_2_1_2_TLSA_LOOKUP_FAILED),
        _held(Code.RFC7672_2_1_2_TLSA_LOOKUP_FAILED),
    ),
    Attack.PLAINTEXT_INJECTED: (_INJECTED, _INJECTED, _INJECTED, _INJECTED, _INJECTED, _INJECTED),
    Attack.STS_HIDDEN: (_READ, _READ, _UNTRUSTED, _STS_UNTRUSTED, _MISMATCH, _MISMATCH),
    Attack.STS_HIDDEN_FIRST: (_READ, _READ, _UNTRUSTED, _READ, _MISMATCH, _MISMATCH),
    Attack.STS_FORGED: (
        _READ,
        _READ,
        Expectation(TrialOutcome.ENCRYPTED, _UNSIGNED_NAME, readable=True),
        _held(Code.RFC8461_4_1_MX_MISMATCH),
        _held(Code.RFC7672_2_1_2_MX_BOGUS),
        _held(Code.RFC7672_2_1_2_MX_BOGUS),
    ),
    Attack.STS_REDIRECTED: (  # RFC 8461 section 3.3: redirects are not followed, so the policy that is known holds
        _READ,
        _READ,
        Expectation(TrialOutcome.ENCRYPTED, _UNSIGNED_NAME, readable=True),
        _held(Code.RFC8461_4_1_MX_MISMATCH),
        _held(Code.RFC7672_2_1_2_MX_BOGUS),
        _held(Code.RFC7672_2_1_2_MX_BOGUS),
    ),
    Attack.BOUGHT_CERTIFICATE: (
        _READ,
        _READ,
        Expectation(TrialOutcome.ENCRYPTED, _UNSIGNED_NAME, readable=True),
        Expectation(TrialOutcome.AUTHENTICATED, Code.RFC8461_4_2_VERIFIED, readable=True),
        _MISMATCH,
        _MISMATCH,
    ),
    Attack.NONE: (
        _TAKEN,
        _TAKEN,
        Expectation(TrialOutcome.ENCRYPTED, _UNSIGNED_NAME),
        Expectation(TrialOutcome.AUTHENTICATED, Code.RFC8461_4_2_VERIFIED),
        Expectation(TrialOutcome.AUTHENTICATED, Code.RFC7672_3_1_1_DANE_EE),
        Expectation(TrialOutcome.AUTHENTICATED, Code.RFC7672_3_1_2_DANE_TA),
    ),
}


def expected(attack: Attack, protection: SiteProtection) -> Expectation:
    """What theory says of a cell."""
    return _THEORY[attack][list(SiteProtection).index(protection)]
