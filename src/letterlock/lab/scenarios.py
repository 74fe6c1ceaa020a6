"""What theory says: every attack against every protection. Written by hand, from the standards; nothing computes it."""

from dataclasses import dataclass
from enum import StrEnum


class Attack(StrEnum):
    """What the attacker does."""

    STARTTLS_STRIPPED = "starttls-stripped"
    STARTTLS_REFUSED = "starttls-refused"
    SELF_SIGNED = "self-signed"
    MX_FORGED = "mx-forged"
    TLSA_REMOVED = "tlsa-removed"
    TLSA_LOOKUP_FAILED = "tlsa-lookup-failed"
    PLAINTEXT_INJECTED = "plaintext-injected"
    NONE = "none"


class Protection(StrEnum):
    """What protects mail to a domain."""

    NONE = "none"
    REQUIRE_TLS = "require-tls"
    VERIFY = "verify"
    DANE_EE = "dane-ee"
    DANE_TA = "dane-ta"


class Outcome(StrEnum):
    """What happened to a message."""

    AUTHENTICATED = "delivered-authenticated"
    ENCRYPTED = "delivered-encrypted"  # to whoever answered
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

    outcome: Outcome
    because: str
    readable: bool = False


ATTACK_TITLES = {
    Attack.STARTTLS_STRIPPED: "STARTTLS removed",
    Attack.STARTTLS_REFUSED: "STARTTLS refused (454)",
    Attack.SELF_SIGNED: "self-signed certificate",
    Attack.MX_FORGED: "MX forged, valid certificate",
    Attack.TLSA_REMOVED: "TLSA answer removed",
    Attack.TLSA_LOOKUP_FAILED: "TLSA lookup made to fail",
    Attack.PLAINTEXT_INJECTED: "plaintext injected after 220",
    Attack.NONE: "nobody attacks",
}

ATTACK_STORIES = {
    Attack.STARTTLS_STRIPPED: "on the path to the MX host: removes STARTTLS from the reply to EHLO, relays the rest",
    Attack.STARTTLS_REFUSED: "on the path to the MX host: answers 454 to STARTTLS, relays the rest",
    Attack.SELF_SIGNED: "on the path to the MX host: ends TLS with a certificate of his own, relays to the real host",
    Attack.MX_FORGED: "in the DNS: forges the MX to a host of his own, which has a valid certificate for its own name",
    Attack.TLSA_REMOVED: "in the DNS: answers that there is no TLSA; on the path: as with the self-signed one",
    Attack.TLSA_LOOKUP_FAILED: "in the DNS: answers SERVFAIL for TLSA; on the path: as with the self-signed one",
    Attack.PLAINTEXT_INJECTED: "on the path to the MX host: sends replies in clear right behind the 220 to STARTTLS",
    Attack.NONE: "everybody is honest",
}

_OPPORTUNISTIC = "rfc7435-3-encrypted"
_UNSIGNED_NAME = "rfc7672-1.3.2-unsigned-name"


def _held(because: str) -> Expectation:
    return Expectation(Outcome.HELD, because)


_TAKEN = Expectation(Outcome.ENCRYPTED, _OPPORTUNISTIC)
_READ_CLEAR = Expectation(Outcome.CLEAR, "rfc7435-3-clear", readable=True)
_READ_CLEAR_REFUSED = Expectation(Outcome.CLEAR, "rfc7435-3-clear-refused", readable=True)
_READ = Expectation(Outcome.ENCRYPTED, _OPPORTUNISTIC, readable=True)
_UNTRUSTED = _held("rule-verify-untrusted")
_INJECTED = _held("rfc3207-4.2-injected")

# One row an attack; columns in the order of Protection. Why those that are READ cannot be helped:
# - opportunistic TLS falls to any active attacker (RFC 7435 section 3);
# - mandatory TLS with an unauthenticated peer falls to whoever ends TLS himself (RFC 7672 section 1.3.1);
# - PKIX against a name from an unsigned MX falls to whoever forges the MX (RFC 7672 section 1.3.2).
_THEORY: dict[Attack, tuple[Expectation, Expectation, Expectation, Expectation, Expectation]] = {
    Attack.STARTTLS_STRIPPED: (
        _READ_CLEAR,
        _held("rule-starttls-required"),
        _held("rule-starttls-required"),
        _held("rfc7672-2.2.3-starttls-required"),
        _held("rfc7672-2.2.3-starttls-required"),
    ),
    Attack.STARTTLS_REFUSED: (
        _READ_CLEAR_REFUSED,
        _held("rule-starttls-refused"),
        _held("rule-starttls-refused"),
        _held("rfc7672-2.2.3-starttls-refused"),
        _held("rfc7672-2.2.3-starttls-refused"),
    ),
    Attack.SELF_SIGNED: (
        _READ,
        _READ,
        _UNTRUSTED,
        _held("rfc7672-3.2-dane-mismatch"),
        _held("rfc7672-3.2-dane-mismatch"),
    ),
    Attack.MX_FORGED: (
        _READ,
        _READ,
        Expectation(Outcome.ENCRYPTED, _UNSIGNED_NAME, readable=True),
        _held("rfc7672-2.1.2-mx-bogus"),
        _held("rfc7672-2.1.2-mx-bogus"),
    ),
    Attack.TLSA_REMOVED: (
        _READ,
        _READ,
        _UNTRUSTED,
        _held("rfc7672-2.1.2-tlsa-bogus"),
        _held("rfc7672-2.1.2-tlsa-bogus"),
    ),
    Attack.TLSA_LOOKUP_FAILED: (
        _READ,
        _READ,
        _UNTRUSTED,
        _held("rfc7672-2.1.2-tlsa-lookup-failed"),
        _held("rfc7672-2.1.2-tlsa-lookup-failed"),
    ),
    Attack.PLAINTEXT_INJECTED: (_INJECTED, _INJECTED, _INJECTED, _INJECTED, _INJECTED),
    Attack.NONE: (
        _TAKEN,
        _TAKEN,
        Expectation(Outcome.ENCRYPTED, _UNSIGNED_NAME),
        Expectation(Outcome.AUTHENTICATED, "rfc7672-3.1.1-dane-ee"),
        Expectation(Outcome.AUTHENTICATED, "rfc7672-3.1.2-dane-ta"),
    ),
}


def expected(attack: Attack, protection: Protection) -> Expectation:
    """What theory says of a cell."""
    return _THEORY[attack][list(Protection).index(protection)]
