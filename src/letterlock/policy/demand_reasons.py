"""The reasons of those who may demand more than DANE does: MTA-STS, the operator's rules, and the message itself."""

from letterlock.policy.codes import Code
from letterlock.policy.explanation import NOTHING, OUR_RULE, UNDER_ATTACK, Finding, ResultType, row

_STS_HOST = "the operator of the domain must fix the host or the MTA-STS policy; delivery is tried again until then"
_CANNOT_PROTECT = (
    "send it without REQUIRETLS if it may be read in transit, or ask the operator for TLS that can be verified"
)

_STS = (
    row(
        Code.RFC8461_5_ENFORCE,
        "RFC 8461 section 5",
        "2.0.0",
        "the MTA-STS policy {id} of {domain} demands TLS with a certificate for the host",
        NOTHING,
    ),
    row(
        Code.RFC8461_5_TESTING,
        "RFC 8461 section 5",
        "2.0.0",
        "the MTA-STS policy {id} of {domain} is in testing mode: its demands are checked but not enforced",
        "the operator of the domain should change to mode enforce once its reports are clean",
    ),
    row(
        Code.RFC8461_5_WOULD_HOLD,
        "RFC 8461 section 5",
        "2.0.0",
        "{what} would have held this mail if it were enforced: {reason}",
        _STS_HOST,
        ResultType.VALIDATION_FAILURE,
        finding=Finding.POLICY_WOULD_HOLD,
    ),
    row(
        Code.RFC8461_5_WOULD_PASS,
        "RFC 8461 section 5",
        "2.0.0",
        "{what} would have let this mail pass if it were enforced",
        NOTHING,
        finding=Finding.AUDITED,
    ),
    row(
        Code.RFC8461_5_NONE,
        "RFC 8461 section 5",
        "2.0.0",
        "the MTA-STS policy {id} of {domain} has mode none and demands nothing",
        NOTHING,
    ),
    row(
        Code.RFC8461_10_2_VANISHED,
        "RFC 8461 section 10.2",
        "4.7.5",
        "unsigned DNS says that {domain} accepts no mail ({what}), but its MTA-STS policy {id} says otherwise: the "
        "answer may be forged",
        "compare with DNS from another network; the operator of the domain can sign it with DNSSEC",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.RFC8461_10_2_BLOCKED,
        "RFC 8461 section 10.2",
        "2.0.0",
        "the remembered MTA-STS policy of {domain} is used because it cannot be confirmed at the moment: {detail}",
        "this is what an attacker who blocks the lookup looks like, and also a mistake: compare with another network",
        ResultType.STS_POLICY_FETCH_ERROR,
    ),
    row(
        Code.RFC8461_3_3_UNREACHABLE,
        "RFC 8461 section 3.3",
        "2.0.0",
        "could not determine whether {domain} has an MTA-STS policy, and none is remembered: {detail}",
        "the operator of the domain must fix the TXT record or the policy host; an attacker can cause this too",
        ResultType.STS_POLICY_FETCH_ERROR,
    ),
    row(
        Code.RFC8461_4_1_MX_MISMATCH,
        "RFC 8461 section 4.1",
        "4.7.5",
        "the MTA-STS policy {id} of {domain} does not name this host; it names {patterns}",
        "an attacker who forges the MX record causes this; otherwise the operator of the domain must add the host to "
        "the policy",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.RFC8461_5_STARTTLS_REQUIRED,
        "RFC 8461 section 5",
        "4.7.5",
        "STARTTLS was not offered although the MTA-STS policy demands it; an attacker on the path may have removed it",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
        finding=Finding.STARTTLS_MISSING,
    ),
    row(
        Code.RFC8461_5_STARTTLS_REFUSED,
        "RFC 8461 section 5",
        "4.7.5",
        "STARTTLS was refused ({reply}) although the MTA-STS policy demands it",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
        finding=Finding.STARTTLS_MISSING,
    ),
    row(
        Code.RFC8461_5_HANDSHAKE_FAILED,
        "RFC 8461 section 5",
        "4.7.5",
        "the TLS handshake that the MTA-STS policy demands failed: {detail}",
        _STS_HOST,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.RFC8461_4_2_UNTRUSTED,
        "RFC 8461 section 4.2",
        "4.7.5",
        "the certificate does not satisfy the MTA-STS policy: {detail}",
        _STS_HOST,
        ResultType.CERTIFICATE_NOT_TRUSTED,
        finding=Finding.PUBLIC_CHAIN,
    ),
    row(
        Code.RFC8461_4_2_EXPIRED,
        "RFC 8461 section 4.2",
        "4.7.5",
        "the MTA-STS policy demands a valid certificate: {detail}",
        "the operator of the host must renew the certificate",
        ResultType.CERTIFICATE_EXPIRED,
        finding=Finding.PUBLIC_CHAIN,
    ),
    row(
        Code.RFC8461_4_2_WRONG_NAME,
        "RFC 8461 section 4.2",
        "4.7.5",
        "the MTA-STS policy demands a certificate for the host: {detail}",
        _STS_HOST,
        ResultType.CERTIFICATE_HOST_MISMATCH,
        finding=Finding.PUBLIC_CHAIN,
    ),
    row(
        Code.RFC8461_4_2_VERIFIED,
        "RFC 8461 section 4.2",
        "2.0.0",
        "verified by WebPKI, as the MTA-STS policy demands: {match}",
        NOTHING,
    ),
)

_RULES = (
    row(
        Code.RULE_ROUTE,
        "operator's rule",
        "2.0.0",
        "the route {source} sends mail for {domain} to {next_hop}",
        "change or remove the route if the mail should go elsewhere; `letterlock check --config` shows where it goes",
        finding=Finding.ROUTED,
    ),
    row(
        Code.RULE_ROUTE_NOWHERE,
        "operator's rule",
        "4.3.5",
        "the next hop of the route accepts no mail: the route is wrong, or the relay host is",
        "correct the next_hop of the route, or ask the operator of the relay host to fix its DNS; the mail waits",
    ),
    row(
        Code.RULE_TLS_VERSION,
        "operator's rule",
        "4.7.5",
        "the session has {version}, and the rule {source} demands at least {minimum}",
        OUR_RULE,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.RULE_FINGERPRINT,
        "operator's rule",
        "2.0.0",
        "the rule {source} demands a certificate or key with one of {count} fingerprints",
        OUR_RULE,
    ),
    row(
        Code.RULE_FINGERPRINT_MISMATCH,
        "operator's rule",
        "4.7.5",
        "neither the certificate nor its key has a fingerprint that the rule names: {detail}",
        "if the server changed its key, get the new fingerprint from its operator through another channel",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.RULE_FINGERPRINT_MATCHES,
        "operator's rule",
        "2.0.0",
        "the server has a fingerprint that the rule names",
        NOTHING,
    ),
    row(
        Code.RULE_EXCEPTION,
        "operator's rule",
        "2.0.0",
        "the exception {source} lets mail pass with less than is demanded, until {until}: {why}",
        "remove the exception as soon as its reason is gone",
    ),
    row(
        Code.RULE_AUDIT_WOULD_HOLD,
        "operator's rule",
        "2.0.0",
        "{what} would have held this mail if it were not in audit mode: {reason}",
        "fix this before you enforce the rule",
        finding=Finding.AUDITED,
    ),
    row(
        Code.RULE_AUDIT_WOULD_PASS,
        "operator's rule",
        "2.0.0",
        "{what}, in audit mode, would have let this mail pass",
        "enforce the rule once nothing would be held any more",
        finding=Finding.AUDITED,
    ),
)

_MESSAGE = (
    row(
        Code.RFC8689_4_2_1_REQUIRETLS,
        "RFC 8689 section 4.2.1",
        "2.0.0",
        "the sender demands TLS with a verified certificate at every hop (REQUIRETLS)",
        NOTHING,
        finding=Finding.SENDERS_DEMAND,
    ),
    row(
        Code.RFC8689_4_2_1_UNSIGNED_MX,
        "RFC 8689 section 4.2.1",
        "4.7.10",
        "REQUIRETLS: nothing proves that this is a host of the domain: the MX record is not signed, and no MTA-STS "
        "policy names it",
        _CANNOT_PROTECT,
        finding=Finding.SENDERS_DEMAND,
    ),
    row(
        Code.RFC8689_4_2_1_NO_TLS,
        "RFC 8689 section 4.2.1",
        "4.7.10",
        "REQUIRETLS: there is no TLS session with the server: {detail}",
        _CANNOT_PROTECT,
        ResultType.STARTTLS_NOT_SUPPORTED,
        finding=Finding.SENDERS_DEMAND,
    ),
    row(
        Code.RFC8689_4_2_1_NOT_VERIFIED,
        "RFC 8689 section 4.2.1",
        "4.7.10",
        "REQUIRETLS: the certificate proves nothing: {detail}",
        _CANNOT_PROTECT,
        ResultType.CERTIFICATE_NOT_TRUSTED,
        finding=Finding.SENDERS_DEMAND,
    ),
    row(
        Code.RFC8689_4_2_1_VERIFIED,
        "RFC 8689 section 4.2.1",
        "2.0.0",
        "REQUIRETLS: verified by WebPKI: {match}",
        NOTHING,
        finding=Finding.SENDERS_DEMAND,
    ),
    row(
        Code.RFC8689_4_2_1_NOT_OFFERED,
        "RFC 8689 section 4.2.1",
        "5.7.30",
        "REQUIRETLS: the server, which is proven to be the right one, does not support it",
        _CANNOT_PROTECT,
        finding=Finding.SENDERS_DEMAND,
    ),
    row(
        Code.RFC8689_4_2_2_TLS_REQUIRED_NO,
        "RFC 8689 section 4.2.2",
        "2.0.0",
        "the message has the header TLS-Required: No: its sender prefers delivery to protection",
        "the sender chose this; the header is meant for reports about broken TLS",
        finding=Finding.SENDERS_DEMAND,
    ),
)

DEMANDS = (*_STS, *_RULES, *_MESSAGE)
