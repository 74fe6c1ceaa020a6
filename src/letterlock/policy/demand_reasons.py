"""The reasons of those who may demand more than DANE does: MTA-STS, the operator's rules, and the message itself."""

from letterlock.policy.explanation import NOTHING, OUR_RULE, UNDER_ATTACK, ResultType, row

_STS_HOST = "the operator of the domain must mend the host or the MTA-STS policy; the mail is tried again until then"
_CANNOT_PROTECT = (
    "send it without REQUIRETLS if it may be read on the way, or ask the operator for TLS that can be verified"
)

_STS = (
    row(
        "rfc8461-5-enforce",
        "RFC 8461 section 5",
        "2.0.0",
        "the MTA-STS policy {id} of {domain} demands TLS with a certificate for the host",
        NOTHING,
    ),
    row(
        "rfc8461-5-testing",
        "RFC 8461 section 5",
        "2.0.0",
        "the MTA-STS policy {id} of {domain} is in testing: what it demands is looked at, and not enforced",
        "the operator of the domain should change to mode enforce once its reports are clean",
    ),
    row(
        "rfc8461-5-would-hold",
        "RFC 8461 section 5",
        "2.0.0",
        "would have been held under {what}, were it enforced: {reason}",
        _STS_HOST,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rfc8461-5-would-pass",
        "RFC 8461 section 5",
        "2.0.0",
        "would have passed under {what}, were it enforced",
        NOTHING,
    ),
    row(
        "rfc8461-5-none",
        "RFC 8461 section 5",
        "2.0.0",
        "the MTA-STS policy {id} of {domain} has mode none, and demands nothing",
        NOTHING,
    ),
    row(
        "rfc8461-10.2-vanished",
        "RFC 8461 section 10.2",
        "4.7.5",
        "unsigned DNS has it that nobody takes mail for {domain} ({what}), and its MTA-STS policy {id} says otherwise: "
        "the answer may be forged",
        "compare with DNS from another network; the operator of the domain can sign it with DNSSEC",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rfc8461-10.2-blocked",
        "RFC 8461 section 10.2",
        "2.0.0",
        "the remembered MTA-STS policy of {domain} is used, because it cannot be confirmed now: {detail}",
        "an attacker who blocks the lookup looks like this, and so does a mistake: compare from another network",
        ResultType.STS_POLICY_FETCH_ERROR,
    ),
    row(
        "rfc8461-3.3-unreachable",
        "RFC 8461 section 3.3",
        "2.0.0",
        "whether {domain} has an MTA-STS policy could not be found out, and none is remembered: {detail}",
        "the operator of the domain must mend the TXT record or the policy host; an attacker can cause this too",
        ResultType.STS_POLICY_FETCH_ERROR,
    ),
    row(
        "rfc8461-4.1-mx-mismatch",
        "RFC 8461 section 4.1",
        "4.7.5",
        "the MTA-STS policy {id} of {domain} does not name this host; it names {patterns}",
        "whoever forges the MX record causes this; else the operator of the domain must add the host to the policy",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rfc8461-5-starttls-required",
        "RFC 8461 section 5",
        "4.7.5",
        "STARTTLS was not offered though the MTA-STS policy demands it; an attacker on the path may have removed it",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        "rfc8461-5-starttls-refused",
        "RFC 8461 section 5",
        "4.7.5",
        "STARTTLS was refused ({reply}) though the MTA-STS policy demands it",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        "rfc8461-5-handshake-failed",
        "RFC 8461 section 5",
        "4.7.5",
        "the TLS handshake that the MTA-STS policy demands failed: {detail}",
        _STS_HOST,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rfc8461-4.2-untrusted",
        "RFC 8461 section 4.2",
        "4.7.5",
        "the certificate is not one that the MTA-STS policy lets pass: {detail}",
        _STS_HOST,
        ResultType.CERTIFICATE_NOT_TRUSTED,
    ),
    row(
        "rfc8461-4.2-expired",
        "RFC 8461 section 4.2",
        "4.7.5",
        "the MTA-STS policy demands a valid certificate: {detail}",
        "the operator of the host must renew the certificate",
        ResultType.CERTIFICATE_EXPIRED,
    ),
    row(
        "rfc8461-4.2-wrong-name",
        "RFC 8461 section 4.2",
        "4.7.5",
        "the MTA-STS policy demands a certificate for the host: {detail}",
        _STS_HOST,
        ResultType.CERTIFICATE_HOST_MISMATCH,
    ),
    row(
        "rfc8461-4.2-verified",
        "RFC 8461 section 4.2",
        "2.0.0",
        "verified by WebPKI, as the MTA-STS policy demands: {match}",
        NOTHING,
    ),
)

_RULES = (
    row(
        "rule-route",
        "operator's rule",
        "2.0.0",
        "the route {source} sends mail for {domain} to {next_hop}",
        "change or remove the route if the mail should go elsewhere; `letterlock check --config` shows where it goes",
    ),
    row(
        "rule-route-nowhere",
        "operator's rule",
        "4.3.5",
        "the next hop of the route takes no mail, by a mistake in the route or at the relay host",
        "mend the next_hop of the route, or have the operator of the relay host mend its DNS; the mail waits",
    ),
    row(
        "rule-tls-version",
        "operator's rule",
        "4.7.5",
        "the session has {version}, and the rule {source} demands at least {minimum}",
        OUR_RULE,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rule-fingerprint",
        "operator's rule",
        "2.0.0",
        "the rule {source} demands a certificate or key with one of {count} fingerprints",
        OUR_RULE,
    ),
    row(
        "rule-fingerprint-mismatch",
        "operator's rule",
        "4.7.5",
        "neither the certificate nor its key has a fingerprint that the rule names: {detail}",
        "if the server changed its key, take the new fingerprint from its operator by another way",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rule-fingerprint-matches",
        "operator's rule",
        "2.0.0",
        "the server has a fingerprint that the rule names",
        NOTHING,
    ),
    row(
        "rule-exception",
        "operator's rule",
        "2.0.0",
        "the exception {source} lets mail pass with less than is demanded, until {until}: {why}",
        "remove the exception as soon as its reason is gone",
    ),
    row(
        "rule-audit-would-hold",
        "operator's rule",
        "2.0.0",
        "would have been held under {what}, which is in audit: {reason}",
        "mend this before the rule is enforced",
    ),
    row(
        "rule-audit-would-pass",
        "operator's rule",
        "2.0.0",
        "would have passed under {what}, which is in audit",
        "enforce the rule once nothing is told any more",
    ),
)

_MESSAGE = (
    row(
        "rfc8689-4.2.1-requiretls",
        "RFC 8689 section 4.2.1",
        "2.0.0",
        "the sender demands TLS with a verified certificate at every hop (REQUIRETLS)",
        NOTHING,
    ),
    row(
        "rfc8689-4.2.1-unsigned-mx",
        "RFC 8689 section 4.2.1",
        "4.7.10",
        "REQUIRETLS: nothing proves that this is a host of the domain: the MX record is not signed, and no MTA-STS "
        "policy names it",
        _CANNOT_PROTECT,
    ),
    row(
        "rfc8689-4.2.1-no-tls",
        "RFC 8689 section 4.2.1",
        "4.7.10",
        "REQUIRETLS: there is no TLS session with the server: {detail}",
        _CANNOT_PROTECT,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        "rfc8689-4.2.1-not-verified",
        "RFC 8689 section 4.2.1",
        "4.7.10",
        "REQUIRETLS: the certificate proves nothing: {detail}",
        _CANNOT_PROTECT,
        ResultType.CERTIFICATE_NOT_TRUSTED,
    ),
    row(
        "rfc8689-4.2.1-verified",
        "RFC 8689 section 4.2.1",
        "2.0.0",
        "REQUIRETLS: verified by WebPKI: {match}",
        NOTHING,
    ),
    row(
        "rfc8689-4.2.1-not-offered",
        "RFC 8689 section 4.2.1",
        "5.7.30",
        "REQUIRETLS: the server, which is proven to be the right one, does not support it",
        _CANNOT_PROTECT,
    ),
    row(
        "rfc8689-4.2.2-tls-required-no",
        "RFC 8689 section 4.2.2",
        "2.0.0",
        "the message says TLS-Required: No: it is rather delivered than protected",
        "the sender chose this; the header should be for reports about broken TLS only",
    ),
)

DEMANDS = (*_STS, *_RULES, *_MESSAGE)
