"""The words of the lab: attacks, protections, and what can happen to a message. `theory` says what should happen."""

from dataclasses import dataclass
from enum import StrEnum


class Attack(StrEnum):
    """What the attacker does."""

    # In the DNS, and then mostly on the path with a self-signed certificate.
    MX_FORGED = "mx-forged"
    MX_LOOKALIKE = "mx-lookalike"
    MX_REMOVED = "mx-removed"
    MX_LOOKUP_FAILED = "mx-lookup-failed"
    ALIAS_FORGED = "alias-forged"
    ADDRESS_FORGED = "address-forged"
    CNAME_FORGED = "cname-forged"
    TLSA_REMOVED = "tlsa-removed"
    NSEC_REPLAYED = "nsec-replayed"
    TLSA_FORGED = "tlsa-forged"
    TLSA_EXPIRED = "tlsa-expired"
    TLSA_LOOKUP_FAILED = "tlsa-lookup-failed"
    TLSA_TIMEOUT = "tlsa-timeout"
    RRSIG_REMOVED = "rrsig-removed"
    DS_REMOVED = "ds-removed"
    TLSA_UNUSABLE = "tlsa-unusable"
    TLSA_UNUSABLE_STRIPPED = "tlsa-unusable-stripped"
    # On the path to the MX host, before TLS.
    CONNECTION_CUT = "connection-cut"
    EHLO_REFUSED = "ehlo-refused"
    STARTTLS_STRIPPED = "starttls-stripped"
    STARTTLS_MASKED = "starttls-masked"
    STARTTLS_REFUSED = "starttls-refused"
    STARTTLS_REJECTED = "starttls-rejected"
    CUT_BEFORE_HANDSHAKE = "cut-before-handshake"
    PLAINTEXT_INJECTED = "plaintext-injected"
    COMMANDS_INJECTED = "commands-injected"
    # ... in the handshake, and after it.
    CUT_IN_HANDSHAKE = "cut-in-handshake"
    HANDSHAKE_REFUSED = "handshake-refused"
    OLD_TLS = "old-tls"
    CUT_AFTER_HANDSHAKE = "cut-after-handshake"
    SELF_SIGNED = "self-signed"
    EXPIRED = "expired"
    OTHER_NAME = "other-name"
    SESSION_RESUMED = "session-resumed"
    BOUGHT_CERTIFICATE = "bought-certificate"
    EXPIRED_GENUINE = "expired-genuine"
    # Against MTA-STS.
    STS_HIDDEN = "mta-sts-hidden"
    STS_TXT_BLOCKED = "mta-sts-txt-blocked"
    STS_HTTPS_BLOCKED = "mta-sts-https-blocked"
    STS_NEW_ID = "mta-sts-new-id"
    STS_FORGED = "mta-sts-forged"
    STS_WRONG_CERTIFICATE = "mta-sts-wrong-certificate"
    STS_REDIRECTED = "mta-sts-redirected"
    STS_DOWNGRADED = "mta-sts-downgraded"
    STS_MODE_NONE = "mta-sts-mode-none"
    STS_MX_MISMATCH = "mta-sts-mx-mismatch"
    STS_OTHER_POLICY = "mta-sts-other-policy"
    # At the port for implicit TLS, which the domains announce in signed DNS, or a route names.
    IMPLICIT_FILTERED = "implicit-filtered"
    IMPLICIT_CLOSED = "implicit-closed"
    IMPLICIT_SILENT = "implicit-silent"
    IMPLICIT_CLEAR = "implicit-clear"
    IMPLICIT_CUT = "implicit-cut"
    IMPLICIT_SELF_SIGNED = "implicit-self-signed"
    IMPLICIT_HIJACKED = "implicit-hijacked"
    IMPLICIT_BOUGHT = "implicit-bought"
    IMPLICIT_LOGIN = "implicit-login"
    IMPLICIT_SRV_FORGED = "implicit-srv-forged"
    IMPLICIT_TLSA_FORGED = "implicit-tlsa-forged"
    IMPLICIT_HIDDEN = "implicit-hidden"
    IMPLICIT_LEFT_OPEN = "implicit-left-open"
    IMPLICIT_BLOCKED_TOO = "implicit-blocked-too"
    # Several at once.
    DANE_HOST_CUT = "dane-host-cut"
    ADDRESS_HIJACKED = "address-hijacked"
    NONE = "none"


class SiteProtection(StrEnum):
    """What protects mail to a domain."""

    NONE = "none"
    REQUIRE_TLS = "require-tls"
    VERIFY = "verify"
    OWN_CA = "own-ca"
    STS_TESTING = "mta-sts-testing"
    STS_FIRST = "mta-sts-first"  # in force, and this server has never seen it
    MTA_STS = "mta-sts"  # in force, and remembered
    DANE_EE = "dane-ee"
    DANE_TA = "dane-ta"
    DANE_AND_STS = "dane-and-mta-sts"
    PARTIAL_DANE = "partial-dane"  # MTA-STS in force and remembered; DANE at the first of two MX hosts
    REQUIRETLS = "requiretls"
    MEMORY = "memory"  # of deliveries on several days, and mail is held by it


class TrialOutcome(StrEnum):
    """What happened to a message."""

    AUTHENTICATED = "delivered-authenticated"
    ENCRYPTED = "delivered-encrypted"  # to any server that answered
    CLEAR = "delivered-clear"
    HELD = "held"  # in the queue, deferred with reasons, and nobody else has it
    INCONSISTENT = "inconsistent"  # what the server says is not what the mailboxes hold: never expected
    UNDECIDED = "undecided"  # no end in time: never expected


class Exposure(StrEnum):
    """What the attacker gets of the message, from least to most."""

    NOTHING = "nothing"
    READ_IN_TLS = "read-in-tls"  # by an attacker who ends TLS, and by nobody else
    READ_CLEAR = "read-clear"  # by everybody on the path


@dataclass(frozen=True, slots=True)
class Expectation:
    """The best that theory allows, whether the attacker can read the message then, and for which reason.

    `because` is a code of `letterlock.policy.reasons` that must be among the reasons: to hold a message for a wrong
    reason (a lookup that timed out, say) is no protection. None: no session came about, and there was nothing to judge.
    `why` says, with the section of the standard, why nobody can do better.
    """

    outcome: TrialOutcome
    because: str | None
    why: str = ""
    readable: bool = False

    @property
    def exposure(self) -> Exposure:
        """What the attacker gets."""
        if not self.readable:
            return Exposure.NOTHING
        return Exposure.READ_CLEAR if self.outcome is TrialOutcome.CLEAR else Exposure.READ_IN_TLS


SHORT = frozenset(  # one of each kind, for `make demo`
    {
        Attack.MX_FORGED,
        Attack.ADDRESS_FORGED,
        Attack.TLSA_REMOVED,
        Attack.TLSA_LOOKUP_FAILED,
        Attack.RRSIG_REMOVED,
        Attack.TLSA_UNUSABLE,
        Attack.STARTTLS_STRIPPED,
        Attack.STARTTLS_REFUSED,
        Attack.PLAINTEXT_INJECTED,
        Attack.CUT_IN_HANDSHAKE,
        Attack.SELF_SIGNED,
        Attack.BOUGHT_CERTIFICATE,
        Attack.EXPIRED_GENUINE,
        Attack.STS_HIDDEN,
        Attack.STS_FORGED,
        Attack.STS_MODE_NONE,
        Attack.IMPLICIT_SELF_SIGNED,
        Attack.IMPLICIT_LEFT_OPEN,
        Attack.DANE_HOST_CUT,
        Attack.NONE,
    }
)
