"""The table behind every reason: standard, status, sentence, what to do, and what a TLS report calls it.

The order is that of a delivery: the route, the requirement, the judgement. A reason that lets mail pass has the status
2.0.0; one that holds it has a 4.x.x; only what no later attempt can repair has a 5.x.x.
"""

from collections.abc import Mapping
from types import MappingProxyType

from letterlock.policy.codes import Code
from letterlock.policy.demand_reasons import DEMANDS
from letterlock.policy.explanation import (
    NOTHING,
    OUR_RULE,
    THEIR_DNS,
    UNDER_ATTACK,
    Explanation,
    Finding,
    ResultType,
    row,
)
from letterlock.policy.memory_reasons import MEMORY

_ROUTE_OR_WRONG_MX = (
    "if this server should handle mail for the domain, give the domain a [route]; otherwise its MX records are wrong"
)

_ROUTE = (
    row(
        Code.RFC5321_5_1_IMPLICIT_MX,
        "RFC 5321 section 5.1",
        "2.0.0",
        "there is no MX record, so the domain itself is the host",
        NOTHING,
    ),
    row(
        Code.RFC5321_2_3_5_MX_IS_ADDRESS,
        "RFC 5321 section 2.3.5",
        "2.0.0",
        "an MX record names the IP address {host}, and DANE needs a host name",
        "the operator of the domain should name a host in the MX record",
    ),
    row(
        Code.RFC5321_4_1_3_LITERAL,
        "RFC 5321 section 4.1.3",
        "2.0.0",
        "the next hop is an address literal, so neither MX records nor DANE apply",
        NOTHING,
    ),
    row(
        Code.RFC5321_5_1_MX_UNUSABLE,
        "RFC 5321 section 5.1",
        "4.4.4",
        "no MX record names a usable host: {hosts}",
        "the operator of the domain must correct the MX records",
    ),
    row(
        Code.RFC5321_5_1_OWN_HOST,
        "RFC 5321 section 5.1",
        "4.4.6",
        "the best MX host is this server itself ({host}): mail would loop",
        _ROUTE_OR_WRONG_MX,
    ),
    row(
        Code.RFC5321_5_1_LOOPS_BACK,
        "RFC 5321 section 5.1",
        "5.4.6",
        "mail for the domain loops back to this server: its MX host has the address {addresses}",
        _ROUTE_OR_WRONG_MX,
    ),
    row(
        Code.RFC5321_5_1_OWN_ADDRESS,
        "RFC 5321 section 5.1",
        "4.4.6",
        "the host has an address of this server ({addresses}): mail would loop",
        "point the [route] at another server; without a route, a more preferred MX host must answer first",
    ),
    row(
        Code.RFC7505_3_NULL_MX,
        "RFC 7505 section 3",
        "5.1.10",
        "the domain accepts no mail (null MX)",
        "check the recipient's address",
    ),
    row(
        Code.RFC5321_5_1_NO_SUCH_DOMAIN,
        "RFC 5321 section 5.1",
        "5.1.2",
        "the domain does not exist",
        "check the recipient's address",
    ),
    row(
        Code.RULE_VANISHED,
        "operator's rule",
        "4.7.5",
        "unsigned DNS says that {domain} accepts no mail ({what}), but the rule {source} is written for that domain: "
        "the answer may be forged",
        "compare with DNS from another network; if the domain has gone for good, remove the rule",
    ),
    row(
        Code.RFC7672_2_1_2_NO_RESOLVER,
        "RFC 7672 section 2.1.2",
        "4.4.3",
        "could not look up {what}: no DNS resolver answers this server ({detail}); the domain is not at fault",
        "check the resolvers that this server uses: `[resolver] upstream`, or those in /etc/resolv.conf if unset",
    ),
    row(
        Code.RFC7672_2_1_2_MX_LOOKUP_FAILED,
        "RFC 7672 section 2.1.2",
        "4.4.3",
        "could not look up the MX records ({kind}: {detail}); a failed lookup does not mean that there are none",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        Code.RFC7672_2_1_2_MX_BOGUS,
        "RFC 7672 section 2.1.2",
        "4.7.5",
        "the MX answer fails DNSSEC validation ({detail}); it may be forged",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        Code.RFC7672_6_INSECURE_MX,
        "RFC 7672 section 6",
        "4.7.5",
        "the rule {source} demands DANE, and the MX records are not signed",
        OUR_RULE,
        ResultType.DANE_REQUIRED,
    ),
)

_HOST = (
    row(
        Code.RFC7672_2_1_2_ADDRESS_LOOKUP_FAILED,
        "RFC 7672 section 2.1.2",
        "4.4.3",
        "could not look up its addresses ({kind}: {detail})",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        Code.RFC7672_2_1_2_ADDRESS_BOGUS,
        "RFC 7672 section 2.1.2",
        "4.7.5",
        "the answer for its addresses fails DNSSEC validation ({detail}); it may be forged",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        Code.RFC7672_2_1_1_INDETERMINATE,
        "RFC 7672 section 2.1.1",
        "4.7.5",
        "could not determine whether {what} should be signed: no trust anchor covers the name",
        "configure a trust anchor for the root; without one nothing can be proven",
        ResultType.DNSSEC_INVALID,
    ),
    row(
        Code.RFC5321_5_1_NO_ADDRESS,
        "RFC 5321 section 5.1",
        "4.4.4",
        "it has no address",
        "the operator of the domain must give the host an address, or remove it from the MX records",
    ),
    row(
        Code.RFC5321_5_1_NO_HOST_HAS_AN_ADDRESS,
        "RFC 5321 section 5.1",
        "5.4.4",
        "no host of the domain has an address",
        "check the recipient's address",
    ),
    row(
        Code.RFC7672_2_1_2_TLSA_LOOKUP_FAILED,
        "RFC 7672 section 2.1.2",
        "4.7.5",
        "could not look up the TLSA records ({kind}: {detail}); an attacker may be hiding them",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        Code.RFC7672_2_1_2_TLSA_BOGUS,
        "RFC 7672 section 2.1.2",
        "4.7.5",
        "the TLSA answer fails DNSSEC validation ({detail}); it may be forged",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
)

_REQUIRE = (
    row(
        Code.RFC7672_2_2_USABLE,
        "RFC 7672 section 2.2",
        "2.0.0",
        "the signed TLSA records at {base} identify the server ({count} usable)",
        NOTHING,
    ),
    row(
        Code.RFC7672_2_2_UNUSABLE,
        "RFC 7672 section 2.2",
        "2.0.0",
        "TLSA records at {base} are signed, but none is usable ({records}): TLS is required, but no certificate can be",
        "the operator of the host should publish a record `3 1 1`",
        ResultType.TLSA_INVALID,
    ),
    row(
        Code.RFC7672_2_2_NO_TLSA,
        "RFC 7672 section 2.2",
        "2.0.0",
        "there are no TLSA records at {base} ({proof})",
        "the operator of the host can publish a TLSA record",
    ),
    row(
        Code.RFC7672_2_2_INSECURE_TLSA,
        "RFC 7672 section 2.2",
        "2.0.0",
        "the TLSA records at {base} are not signed and prove nothing",
        "the operator of the zone must sign it",
    ),
    row(
        Code.RFC7672_2_2_2_INSECURE_ADDRESS,
        "RFC 7672 section 2.2.2",
        "2.0.0",
        "its addresses are not signed, so DANE does not apply",
        "the operator of the zone must sign it",
    ),
    row(
        Code.RFC7672_2_2_LITERAL,
        "RFC 7672 section 2.2",
        "2.0.0",
        "it is an IP address, and DANE needs a host name",
        "name a host instead",
    ),
    row(
        Code.RFC7672_2_2_1_INSECURE_MX,
        "RFC 7672 section 2.2.1",
        "2.0.0",
        "the MX record that names it is not signed: an attacker who forges it chooses the host",
        "the operator of the domain must sign it",
    ),
    row(Code.RULE_REQUIRE_TLS, "operator's rule", "2.0.0", "the rule {source} demands TLS", OUR_RULE),
    row(Code.RULE_VERIFY, "operator's rule", "2.0.0", "the rule {source} demands a certificate for {names}", OUR_RULE),
    row(
        Code.RULE_VERIFY_NO_NAME,
        "operator's rule",
        "4.7.5",
        "the rule {source} demands a certificate, and an IP address has no name to verify it for",
        "give the rule `names`",
    ),
    row(
        Code.RFC7672_6_NO_USABLE_TLSA,
        "RFC 7672 section 6",
        "4.7.5",
        "the rule {source} demands DANE, and there is no usable TLSA record",
        OUR_RULE,
        ResultType.DANE_REQUIRED,
    ),
    row(
        Code.RFC7435_3_OPPORTUNISTIC,
        "RFC 7435 section 3",
        "2.0.0",
        "nothing demands TLS: it is used if the server offers it, with any certificate",
        "the operator of the domain can publish TLSA records, or you can write a rule",
    ),
    row(
        Code.RFC7672_2_2_CLEARTEXT_FALLBACK,
        "RFC 7672 section 2.2",
        "2.0.0",
        "TLS failed, and nothing demands it: sent in cleartext",
        "the operator of the host must fix its TLS",
        finding=Finding.CLEAR_ALLOWED,
    ),
)

_OURSELVES = (
    row(
        Code.INTERNAL_ERROR,
        "RFC 3463 section 3.4",
        "4.3.0",
        "an error inside Letterlock; the log has the details",
        "this is a bug: please report it with the log lines of this message; delivery is tried again",
    ),
    row(
        Code.QUEUE_UNREADABLE,
        "RFC 3463 section 3.4",
        "4.3.0",
        "the queue cannot be read",
        "check the disk that holds the queue; the log has the details, and delivery is tried again",
    ),
)

_SESSION = (
    row(
        Code.RFC3207_4_2_INJECTED,
        "RFC 3207 section 4.2",
        "4.7.5",
        "data arrived between the 220 to STARTTLS and the TLS handshake; an attacker on the path may have injected it",
        "if it happens from other networks too, the operator of the host must fix the server",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.RFC7672_2_2_3_STARTTLS_REQUIRED,
        "RFC 7672 section 2.2.3",
        "4.7.5",
        "STARTTLS was not offered although TLSA records demand it; an attacker on the path may have removed it",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
        finding=Finding.STARTTLS_MISSING,
    ),
    row(
        Code.RFC7672_2_2_3_STARTTLS_REFUSED,
        "RFC 7672 section 2.2.3",
        "4.7.5",
        "STARTTLS was refused ({reply}) although TLSA records demand it; an attacker on the path may have answered",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
        finding=Finding.STARTTLS_MISSING,
    ),
    row(
        Code.RFC7672_2_2_HANDSHAKE_FAILED,
        "RFC 7672 section 2.2",
        "4.7.5",
        "the TLS handshake failed ({detail}) although TLSA records demand TLS",
        UNDER_ATTACK,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.RULE_STARTTLS_REQUIRED,
        "RFC 3207 section 4.1",
        "4.7.4",
        "STARTTLS was not offered although a rule demands it; an attacker on the path may have removed it",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        Code.RULE_STARTTLS_REFUSED,
        "RFC 3207 section 4.1",
        "4.7.4",
        "STARTTLS was refused ({reply}) although a rule demands it; an attacker on the path may have answered",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        Code.RULE_HANDSHAKE_FAILED,
        "RFC 3207 section 4.1",
        "4.7.5",
        "the TLS handshake failed ({detail}) although a rule demands TLS",
        UNDER_ATTACK,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.RFC7435_3_HANDSHAKE_FAILED,
        "RFC 7435 section 3",
        "4.7.5",
        "the TLS handshake failed ({detail})",
        "the operator of the host must fix its TLS",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        Code.RFC7672_3_2_DANE_MISMATCH,
        "RFC 7672 section 3.2",
        "4.7.5",
        "the server's certificate matches none of the TLSA records: {detail}",
        "the operator of the host must publish a record for the new key first, and wait before changing keys; "
        "or an attacker answered in its place",
        ResultType.TLSA_INVALID,
        finding=Finding.DANE_MISMATCH,
    ),
    row(
        Code.RFC7672_3_1_2_DANE_UNTRUSTED,
        "RFC 7672 section 3.1.2",
        "4.7.5",
        "the server's certificate has no valid path to the authority of the TLSA record: {detail}",
        "the operator of the host must send the whole chain, the authority's certificate included",
        ResultType.CERTIFICATE_NOT_TRUSTED,
        finding=Finding.DANE_CHAIN,
    ),
    row(
        Code.RFC7672_3_1_2_DANE_EXPIRED,
        "RFC 7672 section 3.1.2",
        "4.7.5",
        "the certificate that the TLSA record vouches for is outside its validity period: {detail}",
        "the operator of the host must renew it",
        ResultType.CERTIFICATE_EXPIRED,
        finding=Finding.DANE_CHAIN,
    ),
    row(
        Code.RFC7672_3_2_2_DANE_WRONG_NAME,
        "RFC 7672 section 3.2.2",
        "4.7.5",
        "the certificate is for another name: {detail}",
        "the operator of the host must put the MX host's name into the certificate",
        ResultType.CERTIFICATE_HOST_MISMATCH,
        finding=Finding.DANE_CHAIN,
    ),
    row(
        Code.RULE_VERIFY_UNTRUSTED,
        "RFC 5280 section 6",
        "4.7.5",
        "the certificate is not trusted: {detail}",
        "if the host has an authority of its own, give it to the rule as `trust`",
        ResultType.CERTIFICATE_NOT_TRUSTED,
    ),
    row(
        Code.RULE_VERIFY_EXPIRED,
        "RFC 5280 section 6.1.3",
        "4.7.5",
        "the certificate is outside its validity period: {detail}",
        "the operator of the host must renew it",
        ResultType.CERTIFICATE_EXPIRED,
    ),
    row(
        Code.RULE_VERIFY_WRONG_NAME,
        "RFC 9525 section 6",
        "4.7.5",
        "the certificate is for another name: {detail}",
        "if that name is right, give it to the rule as `names`",
        ResultType.CERTIFICATE_HOST_MISMATCH,
    ),
)

_CLEARED = (
    row(
        Code.RFC7672_3_1_1_DANE_EE,
        "RFC 7672 section 3.1.1",
        "2.0.0",
        "the server's key is the one that its TLSA record names ({match})",
        NOTHING,
    ),
    row(
        Code.RFC7672_3_1_2_DANE_TA,
        "RFC 7672 section 3.1.2",
        "2.0.0",
        "the server's certificate was issued by the authority that its TLSA record names ({match})",
        NOTHING,
    ),
    row(
        Code.RFC7672_2_2_1_DANE_UNSIGNED_MX,
        "RFC 7672 section 2.2.1",
        "2.0.0",
        "the server is the one that its TLSA record names ({match}), but the MX record that led there is not signed",
        "the operator of the domain must sign it",
    ),
    row(
        Code.RULE_VERIFIED,
        "RFC 5280 section 6",
        "2.0.0",
        "the certificate is trusted and has the right name ({match})",
        NOTHING,
    ),
    row(
        Code.RFC7672_1_3_2_UNSIGNED_NAME,
        "RFC 7672 section 1.3.2",
        "2.0.0",
        "the certificate is trusted ({match}), but for a name from unsigned DNS, which an attacker could have chosen",
        "give the rule `names`, or the operator of the domain must sign it",
    ),
    row(
        Code.RFC7435_3_ENCRYPTED,
        "RFC 7435 section 3",
        "2.0.0",
        "encrypted, but to an unidentified server: the certificate proves nothing here",
        "the operator of the domain can publish TLSA records, or you can write a rule",
    ),
    row(
        Code.RFC7435_3_CLEAR,
        "RFC 7435 section 3",
        "2.0.0",
        "sent in cleartext: the server did not offer TLS, and nothing demands it",
        "the operator of the host must offer STARTTLS; a rule `require-tls` holds the mail instead",
        finding=Finding.IN_CLEAR,
    ),
    row(
        Code.RFC7435_3_CLEAR_REFUSED,
        "RFC 7435 section 3",
        "2.0.0",
        "sent in cleartext: the server refused STARTTLS ({reply}), and nothing demands it",
        "the operator of the host must fix its TLS; a rule `require-tls` holds the mail instead",
        finding=Finding.IN_CLEAR,
    ),
)

EXPLANATIONS: Mapping[str, Explanation] = MappingProxyType(
    {row.code: row for row in (*_ROUTE, *_HOST, *_REQUIRE, *DEMANDS, *MEMORY, *_SESSION, *_CLEARED, *_OURSELVES)}
)
