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
    """What must happen, and whether the attacker can read the message then."""

    outcome: Outcome
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

_AUTHENTICATED = Expectation(Outcome.AUTHENTICATED)
_ENCRYPTED = Expectation(Outcome.ENCRYPTED)
_HELD = Expectation(Outcome.HELD)
_READ_ENCRYPTED = Expectation(Outcome.ENCRYPTED, readable=True)
_READ_CLEAR = Expectation(Outcome.CLEAR, readable=True)

# One row an attack; columns in the order of Protection. Why the READ ones cannot be helped:
# - opportunistic TLS falls to any active attacker (RFC 7435 section 3);
# - mandatory TLS to an unauthenticated peer falls to whoever ends TLS himself (RFC 7672 section 1.3.1);
# - PKIX against a name from an unsigned MX falls to whoever forges the MX (RFC 7672 section 1.3.2).
_THEORY: dict[Attack, tuple[Expectation, Expectation, Expectation, Expectation, Expectation]] = {
    Attack.STARTTLS_STRIPPED: (_READ_CLEAR, _HELD, _HELD, _HELD, _HELD),
    Attack.STARTTLS_REFUSED: (_READ_CLEAR, _HELD, _HELD, _HELD, _HELD),
    Attack.SELF_SIGNED: (_READ_ENCRYPTED, _READ_ENCRYPTED, _HELD, _HELD, _HELD),
    Attack.MX_FORGED: (_READ_ENCRYPTED, _READ_ENCRYPTED, _READ_ENCRYPTED, _HELD, _HELD),
    Attack.TLSA_REMOVED: (_READ_ENCRYPTED, _READ_ENCRYPTED, _HELD, _HELD, _HELD),
    Attack.TLSA_LOOKUP_FAILED: (_READ_ENCRYPTED, _READ_ENCRYPTED, _HELD, _HELD, _HELD),
    Attack.PLAINTEXT_INJECTED: (_HELD, _HELD, _HELD, _HELD, _HELD),
    Attack.NONE: (_ENCRYPTED, _ENCRYPTED, _ENCRYPTED, _AUTHENTICATED, _AUTHENTICATED),
}


def expected(attack: Attack, protection: Protection) -> Expectation:
    """What theory says of a cell."""
    return _THEORY[attack][list(Protection).index(protection)]
