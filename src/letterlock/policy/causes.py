"""Who can bring a reason about, by its code: what `letterlock explain` prints as "caused by".

An attacker is named where one on the path, or one who forges DNS, can make the session or lookup fail, or can force
unprotected mail into cleartext. Only our own operator can cause a reason about one of our rules or anchors.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from letterlock.policy.codes import Code


class Cause(StrEnum):
    """Whose deed, mistake or choice it can be, as people read it."""

    ATTACKER = "an attacker"
    ADDRESS = "a mistaken address"
    SENDER = "the sender's choice"
    DOMAIN = "a fault or omission of the domain's operator"
    HOST = "a fault or omission of the host's operator"
    ZONE = "a fault or omission of the zone's operator"
    RELAY = "a fault or omission of the relay's operator"
    OPERATOR = "a fault or omission of its operator"
    SERVER = "a fault of the server"
    CONFIGURATION = "your own configuration"
    NAMED_REASON = "anyone who can cause the reason that it names"
    NOBODY = "nobody: this is as intended"


# No cause: it is not known from the code alone.
CAUSES: Mapping[Code, tuple[Cause, ...]] = MappingProxyType(
    {
        Code.RFC5321_5_1_IMPLICIT_MX: (Cause.NOBODY,),
        Code.RFC5321_2_3_5_MX_IS_ADDRESS: (Cause.DOMAIN,),
        Code.RFC5321_4_1_3_LITERAL: (Cause.NOBODY,),
        Code.RFC5321_5_1_MX_UNUSABLE: (Cause.DOMAIN,),
        Code.RFC5321_5_1_OWN_HOST: (),
        Code.RFC5321_5_1_LOOPS_BACK: (),
        Code.RFC5321_5_1_OWN_ADDRESS: (),
        Code.RFC7505_3_NULL_MX: (Cause.ADDRESS,),
        Code.RFC5321_5_1_NO_SUCH_DOMAIN: (Cause.ADDRESS,),
        Code.RULE_VANISHED: (Cause.ATTACKER, Cause.SERVER, Cause.CONFIGURATION),
        Code.RFC7672_2_1_2_NO_RESOLVER: (),
        Code.RFC7672_2_1_2_MX_LOOKUP_FAILED: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC7672_2_1_2_MX_BOGUS: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC7672_6_INSECURE_MX: (Cause.CONFIGURATION,),
        Code.RFC7672_2_1_2_ADDRESS_LOOKUP_FAILED: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC7672_2_1_2_ADDRESS_BOGUS: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC7672_2_1_1_INDETERMINATE: (Cause.CONFIGURATION,),
        Code.RFC5321_5_1_NO_ADDRESS: (Cause.DOMAIN,),
        Code.RFC5321_5_1_NO_HOST_HAS_AN_ADDRESS: (Cause.ADDRESS,),
        Code.RFC7672_2_1_2_TLSA_LOOKUP_FAILED: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC7672_2_1_2_TLSA_BOGUS: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC7672_2_2_USABLE: (Cause.NOBODY,),
        Code.RFC7672_2_2_UNUSABLE: (Cause.HOST,),
        Code.RFC7672_2_2_NO_TLSA: (Cause.HOST,),
        Code.RFC7672_2_2_INSECURE_TLSA: (Cause.ZONE,),
        Code.RFC7672_2_2_2_INSECURE_ADDRESS: (Cause.ZONE,),
        Code.RFC7672_2_2_LITERAL: (),
        Code.RFC7672_2_2_1_INSECURE_MX: (Cause.DOMAIN,),
        Code.RULE_REQUIRE_TLS: (Cause.CONFIGURATION,),
        Code.RULE_VERIFY: (Cause.CONFIGURATION,),
        Code.RULE_VERIFY_NO_NAME: (Cause.CONFIGURATION,),
        Code.RFC7672_6_NO_USABLE_TLSA: (Cause.CONFIGURATION,),
        Code.RFC7435_3_OPPORTUNISTIC: (Cause.DOMAIN, Cause.CONFIGURATION),
        Code.RFC7672_2_2_CLEARTEXT_FALLBACK: (Cause.ATTACKER, Cause.HOST),
        Code.RFC8461_5_ENFORCE: (Cause.NOBODY,),
        Code.RFC8461_5_TESTING: (Cause.DOMAIN,),
        Code.RFC8461_5_WOULD_HOLD: (Cause.NAMED_REASON,),
        Code.RFC8461_5_WOULD_PASS: (Cause.NOBODY,),
        Code.RFC8461_5_NONE: (Cause.NOBODY,),
        Code.RFC8461_10_2_VANISHED: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC8461_10_2_BLOCKED: (Cause.ATTACKER, Cause.SERVER),
        Code.RFC8461_3_3_UNREACHABLE: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC8461_4_1_MX_MISMATCH: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC8461_5_STARTTLS_REQUIRED: (Cause.ATTACKER, Cause.SERVER),
        Code.RFC8461_5_STARTTLS_REFUSED: (Cause.ATTACKER, Cause.SERVER),
        Code.RFC8461_5_HANDSHAKE_FAILED: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC8461_4_2_UNTRUSTED: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC8461_4_2_EXPIRED: (Cause.ATTACKER, Cause.HOST),
        Code.RFC8461_4_2_WRONG_NAME: (Cause.ATTACKER, Cause.DOMAIN),
        Code.RFC8461_4_2_VERIFIED: (Cause.NOBODY,),
        Code.RULE_ROUTE: (Cause.CONFIGURATION,),
        Code.RULE_ROUTE_NOWHERE: (Cause.RELAY, Cause.CONFIGURATION),
        Code.RULE_TLS_VERSION: (Cause.ATTACKER, Cause.SERVER, Cause.CONFIGURATION),
        Code.RULE_FINGERPRINT: (Cause.CONFIGURATION,),
        Code.RULE_FINGERPRINT_MISMATCH: (Cause.ATTACKER, Cause.SERVER, Cause.CONFIGURATION),
        Code.RULE_FINGERPRINT_MATCHES: (Cause.NOBODY,),
        Code.RULE_EXCEPTION: (Cause.CONFIGURATION,),
        Code.RULE_AUDIT_WOULD_HOLD: (Cause.NAMED_REASON,),
        Code.RULE_AUDIT_WOULD_PASS: (Cause.CONFIGURATION,),
        Code.RFC8689_4_2_1_REQUIRETLS: (Cause.NOBODY,),
        Code.RFC8689_4_2_1_UNSIGNED_MX: (Cause.OPERATOR,),
        Code.RFC8689_4_2_1_NO_TLS: (Cause.ATTACKER, Cause.OPERATOR),
        Code.RFC8689_4_2_1_NOT_VERIFIED: (Cause.ATTACKER, Cause.OPERATOR),
        Code.RFC8689_4_2_1_VERIFIED: (Cause.NOBODY,),
        Code.RFC8689_4_2_1_NOT_OFFERED: (Cause.OPERATOR,),
        Code.RFC8689_4_2_2_TLS_REQUIRED_NO: (Cause.SENDER,),
        Code.MEMORY_DEMANDS_TLS: (Cause.NOBODY,),
        Code.MEMORY_DEMANDS_CERTIFICATE: (Cause.NOBODY,),
        Code.MEMORY_NEW_HOST: (Cause.ATTACKER, Cause.DOMAIN),
        Code.MEMORY_DNSSEC_GONE: (Cause.ATTACKER, Cause.DOMAIN),
        Code.MEMORY_MTA_STS_GONE: (Cause.ATTACKER, Cause.DOMAIN),
        Code.MEMORY_DANE_GONE: (Cause.ATTACKER, Cause.HOST),
        Code.MEMORY_NO_STARTTLS: (Cause.ATTACKER, Cause.HOST),
        Code.MEMORY_STARTTLS_REFUSED: (Cause.ATTACKER, Cause.HOST),
        Code.MEMORY_HANDSHAKE_FAILED: (Cause.ATTACKER, Cause.HOST),
        Code.MEMORY_OTHER_CERTIFICATE: (Cause.ATTACKER, Cause.HOST),
        Code.MEMORY_SAME_KEY: (Cause.NOBODY,),
        Code.MEMORY_VERIFIED: (Cause.NOBODY,),
        Code.MEMORY_WOULD_HOLD: (Cause.NAMED_REASON,),
        Code.MEMORY_VANISHED: (Cause.ATTACKER, Cause.DOMAIN),
        Code.MEMORY_UNREADABLE: (Cause.SERVER,),
        Code.RFC3207_4_2_INJECTED: (Cause.ATTACKER, Cause.HOST),
        Code.RFC7672_2_2_3_STARTTLS_REQUIRED: (Cause.ATTACKER, Cause.SERVER),
        Code.RFC7672_2_2_3_STARTTLS_REFUSED: (Cause.ATTACKER, Cause.SERVER),
        Code.RFC7672_2_2_HANDSHAKE_FAILED: (Cause.ATTACKER, Cause.SERVER),
        Code.RULE_STARTTLS_REQUIRED: (Cause.ATTACKER, Cause.SERVER),
        Code.RULE_STARTTLS_REFUSED: (Cause.ATTACKER, Cause.SERVER),
        Code.RULE_HANDSHAKE_FAILED: (Cause.ATTACKER, Cause.SERVER),
        Code.RFC7435_3_HANDSHAKE_FAILED: (Cause.ATTACKER, Cause.HOST),
        Code.RFC7672_3_2_DANE_MISMATCH: (Cause.ATTACKER, Cause.HOST),
        Code.RFC7672_3_1_2_DANE_UNTRUSTED: (Cause.ATTACKER, Cause.HOST),
        Code.RFC7672_3_1_2_DANE_EXPIRED: (Cause.ATTACKER, Cause.HOST),
        Code.RFC7672_3_2_2_DANE_WRONG_NAME: (Cause.ATTACKER, Cause.HOST),
        Code.RULE_VERIFY_UNTRUSTED: (Cause.ATTACKER, Cause.SERVER, Cause.CONFIGURATION),
        Code.RULE_VERIFY_EXPIRED: (Cause.ATTACKER, Cause.HOST),
        Code.RULE_VERIFY_WRONG_NAME: (Cause.ATTACKER, Cause.SERVER, Cause.CONFIGURATION),
        Code.RFC7672_3_1_1_DANE_EE: (Cause.NOBODY,),
        Code.RFC7672_3_1_2_DANE_TA: (Cause.NOBODY,),
        Code.RFC7672_2_2_1_DANE_UNSIGNED_MX: (Cause.DOMAIN,),
        Code.RULE_VERIFIED: (Cause.NOBODY,),
        Code.RFC7672_1_3_2_UNSIGNED_NAME: (Cause.DOMAIN, Cause.CONFIGURATION),
        Code.RFC7435_3_ENCRYPTED: (Cause.DOMAIN, Cause.CONFIGURATION),
        Code.RFC7435_3_CLEAR: (Cause.ATTACKER, Cause.HOST, Cause.CONFIGURATION),
        Code.RFC7435_3_CLEAR_REFUSED: (Cause.ATTACKER, Cause.HOST, Cause.CONFIGURATION),
        Code.INTERNAL_ERROR: (),
        Code.QUEUE_UNREADABLE: (),
    }
)
