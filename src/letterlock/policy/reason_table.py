"""The table behind every reason: standard, status, sentence, what to do, and what a TLS report calls it.

The order is that of a delivery: the route, the requirement, the judgement. A reason that lets mail pass has the status
2.0.0; one that keeps it back has a 4.x.x; only what no later attempt can mend has a 5.x.x.
"""

from collections.abc import Mapping
from types import MappingProxyType

from letterlock.policy.demand_reasons import DEMANDS
from letterlock.policy.explanation import (
    NOTHING,
    OUR_RULE,
    THEIR_DNS,
    UNDER_ATTACK,
    Explanation,
    ResultType,
    row,
)

_ROUTE = (
    row(
        "rfc5321-5.1-implicit-mx",
        "RFC 5321 section 5.1",
        "2.0.0",
        "there is no MX record, so the domain itself is the host",
        NOTHING,
    ),
    row(
        "rfc5321-2.3.5-mx-is-address",
        "RFC 5321 section 2.3.5",
        "2.0.0",
        "an MX record names the IP address {host}, for which DANE does not exist",
        "the operator of the domain should name a host in the MX record",
    ),
    row(
        "rfc5321-4.1.3-literal",
        "RFC 5321 section 4.1.3",
        "2.0.0",
        "the next hop is an address literal, for which there is no MX and no DANE",
        NOTHING,
    ),
    row(
        "rfc5321-5.1-mx-unusable",
        "RFC 5321 section 5.1",
        "4.4.4",
        "no MX record names a host that can be asked for: {hosts}",
        "the operator of the domain must mend the MX records",
    ),
    row(
        "rfc5321-5.1-own-host",
        "RFC 5321 section 5.1",
        "4.4.6",
        "the best MX host is this server itself ({host}): mail would go round in a circle",
        "if mail for the domain is to stay here or go elsewhere, give it a [route]; else its MX records are wrong",
    ),
    row(
        "rfc5321-5.1-loops-back",
        "RFC 5321 section 5.1",
        "5.4.6",
        "mail for the domain loops back to this server: its MX host has the address {addresses}",
        "if mail for the domain is to stay here or go elsewhere, give it a [route]; else its MX records are wrong",
    ),
    row(
        "rfc5321-5.1-own-address",
        "RFC 5321 section 5.1",
        "4.4.6",
        "the host has an address of this server ({addresses}): mail would go round in a circle",
        "let the [route] lead to another server; without one, a better MX host of the domain must answer first",
    ),
    row(
        "rfc7505-3-null-mx",
        "RFC 7505 section 3",
        "5.1.10",
        "the domain says that it takes no mail (null MX)",
        "check the recipient's address",
    ),
    row(
        "rfc5321-5.1-no-such-domain",
        "RFC 5321 section 5.1",
        "5.1.2",
        "there is no such domain",
        "check the recipient's address",
    ),
    row(
        "rule-vanished",
        "operator's rule",
        "4.7.5",
        "unsigned DNS has it that nobody takes mail for {domain} ({what}), and the rule {source} is written for that "
        "domain: the answer may be forged",
        "compare with DNS from another network; if the domain has gone for good, remove the rule",
    ),
    row(
        "rfc7672-2.1.2-no-resolver",
        "RFC 7672 section 2.1.2",
        "4.4.3",
        "could not find out {what}: no DNS resolver answers this server ({detail}); that says nothing about the domain",
        "look at the resolvers that this server asks: `[resolver] upstream`, or else those of /etc/resolv.conf",
    ),
    row(
        "rfc7672-2.1.2-mx-lookup-failed",
        "RFC 7672 section 2.1.2",
        "4.4.3",
        "could not find out the MX records ({kind}: {detail}); a failed lookup does not mean that there are none",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        "rfc7672-2.1.2-mx-bogus",
        "RFC 7672 section 2.1.2",
        "4.7.5",
        "the MX answer does not bear its signatures ({detail}); it may be forged",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        "rfc7672-6-insecure-mx",
        "RFC 7672 section 6",
        "4.7.5",
        "the rule {source} demands DANE, and the MX records are not signed",
        OUR_RULE,
        ResultType.DANE_REQUIRED,
    ),
)

_HOST = (
    row(
        "rfc7672-2.1.2-address-lookup-failed",
        "RFC 7672 section 2.1.2",
        "4.4.3",
        "could not find out its addresses ({kind}: {detail})",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        "rfc7672-2.1.2-address-bogus",
        "RFC 7672 section 2.1.2",
        "4.7.5",
        "the answer for its addresses does not bear its signatures ({detail}); it may be forged",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        "rfc7672-2.1.1-indeterminate",
        "RFC 7672 section 2.1.1",
        "4.7.5",
        "could not find out whether {what} should be signed: no trust anchor covers the name",
        "configure a trust anchor for the root; without one nothing can be proven",
        ResultType.DNSSEC_INVALID,
    ),
    row(
        "rfc5321-5.1-no-address",
        "RFC 5321 section 5.1",
        "4.4.4",
        "it has no address",
        "the operator of the domain must give the host an address, or remove it from the MX records",
    ),
    row(
        "rfc5321-5.1-no-host-has-an-address",
        "RFC 5321 section 5.1",
        "5.4.4",
        "no host of the domain has an address",
        "check the recipient's address",
    ),
    row(
        "rfc7672-2.1.2-tlsa-lookup-failed",
        "RFC 7672 section 2.1.2",
        "4.7.5",
        "could not find out the TLSA records ({kind}: {detail}); an attacker may be hiding them",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
    row(
        "rfc7672-2.1.2-tlsa-bogus",
        "RFC 7672 section 2.1.2",
        "4.7.5",
        "the TLSA answer does not bear its signatures ({detail}); it may be forged",
        THEIR_DNS,
        ResultType.DNSSEC_INVALID,
    ),
)

_REQUIRE = (
    row(
        "rfc7672-2.2-usable",
        "RFC 7672 section 2.2",
        "2.0.0",
        "the signed TLSA records at {base} say who the server is ({count} usable)",
        NOTHING,
    ),
    row(
        "rfc7672-2.2-unusable",
        "RFC 7672 section 2.2",
        "2.0.0",
        "TLSA records at {base} are signed, but none is usable ({records}): TLS is demanded, a certificate cannot be",
        "the operator of the host should publish a record `3 1 1`",
        ResultType.TLSA_INVALID,
    ),
    row(
        "rfc7672-2.2-no-tlsa",
        "RFC 7672 section 2.2",
        "2.0.0",
        "there are no TLSA records at {base} ({proof})",
        "the operator of the host can publish a TLSA record",
    ),
    row(
        "rfc7672-2.2-insecure-tlsa",
        "RFC 7672 section 2.2",
        "2.0.0",
        "the TLSA records at {base} are not signed, and so prove nothing",
        "the operator of the zone must sign it",
    ),
    row(
        "rfc7672-2.2.2-insecure-address",
        "RFC 7672 section 2.2.2",
        "2.0.0",
        "its addresses are not signed, so there can be no DANE",
        "the operator of the zone must sign it",
    ),
    row(
        "rfc7672-2.2-literal",
        "RFC 7672 section 2.2",
        "2.0.0",
        "it is an IP address, for which there is no DANE",
        "name a host instead",
    ),
    row(
        "rfc7672-2.2.1-insecure-mx",
        "RFC 7672 section 2.2.1",
        "2.0.0",
        "the MX record that names it is not signed: whoever forges it chooses the host",
        "the operator of the domain must sign it",
    ),
    row("rule-require-tls", "operator's rule", "2.0.0", "the rule {source} demands TLS", OUR_RULE),
    row("rule-verify", "operator's rule", "2.0.0", "the rule {source} demands a certificate for {names}", OUR_RULE),
    row(
        "rule-verify-no-name",
        "operator's rule",
        "4.7.5",
        "the rule {source} demands a certificate, and an IP address has no name that could stand in one",
        "give the rule `names`",
    ),
    row(
        "rfc7672-6-no-usable-tlsa",
        "RFC 7672 section 6",
        "4.7.5",
        "the rule {source} demands DANE, and there is no usable TLSA record",
        OUR_RULE,
        ResultType.DANE_REQUIRED,
    ),
    row(
        "rfc7435-3-opportunistic",
        "RFC 7435 section 3",
        "2.0.0",
        "nothing demands TLS: it is used if the server offers it, with any certificate",
        "the operator of the domain can publish TLSA records, or you can write a rule",
    ),
    row(
        "rfc7672-2.2-cleartext-fallback",
        "RFC 7672 section 2.2",
        "2.0.0",
        "TLS failed, and nothing demands it: sent in clear",
        "the operator of the host must mend its TLS",
    ),
)

_OURSELVES = (
    row(
        "internal-error",
        "RFC 3463 section 3.4",
        "4.3.0",
        "an error inside Letterlock; the log has the details",
        "this is a bug: please report it, with what the log says of this message; the mail is tried again",
    ),
    row(
        "queue-unreadable",
        "RFC 3463 section 3.4",
        "4.3.0",
        "the queue cannot be read",
        "look at the disk that holds the queue; the log has the details, and the mail is tried again",
    ),
)

_SESSION = (
    row(
        "rfc3207-4.2-injected",
        "RFC 3207 section 4.2",
        "4.7.5",
        "octets came after the 220 to STARTTLS and before TLS; somebody on the path may have put them there",
        "if it happens from other networks too, the operator of the host must mend its server",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rfc7672-2.2.3-starttls-required",
        "RFC 7672 section 2.2.3",
        "4.7.5",
        "STARTTLS was not offered though TLSA records demand it; an attacker on the path may have removed it",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        "rfc7672-2.2.3-starttls-refused",
        "RFC 7672 section 2.2.3",
        "4.7.5",
        "STARTTLS was refused ({reply}) though TLSA records demand it; an attacker on the path may have answered",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        "rfc7672-2.2-handshake-failed",
        "RFC 7672 section 2.2",
        "4.7.5",
        "the TLS handshake failed ({detail}) though TLSA records demand it",
        UNDER_ATTACK,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rule-starttls-required",
        "RFC 3207 section 4.1",
        "4.7.4",
        "STARTTLS was not offered though a rule demands it; an attacker on the path may have removed it",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        "rule-starttls-refused",
        "RFC 3207 section 4.1",
        "4.7.4",
        "STARTTLS was refused ({reply}) though a rule demands it; an attacker on the path may have answered",
        UNDER_ATTACK,
        ResultType.STARTTLS_NOT_SUPPORTED,
    ),
    row(
        "rule-handshake-failed",
        "RFC 3207 section 4.1",
        "4.7.5",
        "the TLS handshake failed ({detail}) though a rule demands TLS",
        UNDER_ATTACK,
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rfc7435-3-handshake-failed",
        "RFC 7435 section 3",
        "4.7.5",
        "the TLS handshake failed ({detail})",
        "the operator of the host must mend its TLS",
        ResultType.VALIDATION_FAILURE,
    ),
    row(
        "rfc7672-3.2-dane-mismatch",
        "RFC 7672 section 3.2",
        "4.7.5",
        "the server's certificate matches none of the TLSA records: {detail}",
        "the operator of the host must publish a record for the new key first, and wait before changing keys; "
        "or an attacker answered in its place",
        ResultType.TLSA_INVALID,
    ),
    row(
        "rfc7672-3.1.2-dane-untrusted",
        "RFC 7672 section 3.1.2",
        "4.7.5",
        "the server's certificate has no valid path to the authority of the TLSA record: {detail}",
        "the operator of the host must send the whole chain, the authority's certificate included",
        ResultType.CERTIFICATE_NOT_TRUSTED,
    ),
    row(
        "rfc7672-3.1.2-dane-expired",
        "RFC 7672 section 3.1.2",
        "4.7.5",
        "the certificate that the TLSA record vouches for is out of date: {detail}",
        "the operator of the host must renew it",
        ResultType.CERTIFICATE_EXPIRED,
    ),
    row(
        "rfc7672-3.2.2-dane-wrong-name",
        "RFC 7672 section 3.2.2",
        "4.7.5",
        "the certificate is for another name: {detail}",
        "the operator of the host must put the MX host's name into the certificate",
        ResultType.CERTIFICATE_HOST_MISMATCH,
    ),
    row(
        "rule-verify-untrusted",
        "RFC 5280 section 6",
        "4.7.5",
        "the certificate is not trusted: {detail}",
        "if the host has an authority of its own, give it to the rule as `trust`",
        ResultType.CERTIFICATE_NOT_TRUSTED,
    ),
    row(
        "rule-verify-expired",
        "RFC 5280 section 6.1.3",
        "4.7.5",
        "the certificate is out of date: {detail}",
        "the operator of the host must renew it",
        ResultType.CERTIFICATE_EXPIRED,
    ),
    row(
        "rule-verify-wrong-name",
        "RFC 9525 section 6",
        "4.7.5",
        "the certificate is for another name: {detail}",
        "if that name is right, give it to the rule as `names`",
        ResultType.CERTIFICATE_HOST_MISMATCH,
    ),
)

_CLEARED = (
    row(
        "rfc7672-3.1.1-dane-ee",
        "RFC 7672 section 3.1.1",
        "2.0.0",
        "the server's key is the one that its TLSA record names ({match})",
        NOTHING,
    ),
    row(
        "rfc7672-3.1.2-dane-ta",
        "RFC 7672 section 3.1.2",
        "2.0.0",
        "the server's certificate comes from the authority that its TLSA record names ({match})",
        NOTHING,
    ),
    row(
        "rfc7672-2.2.1-dane-unsigned-mx",
        "RFC 7672 section 2.2.1",
        "2.0.0",
        "the server is the one that its TLSA record names ({match}), but the MX record that led there is not signed",
        "the operator of the domain must sign it",
    ),
    row(
        "rule-verified",
        "RFC 5280 section 6",
        "2.0.0",
        "the certificate is trusted and has the right name ({match})",
        NOTHING,
    ),
    row(
        "rfc7672-1.3.2-unsigned-name",
        "RFC 7672 section 1.3.2",
        "2.0.0",
        "the certificate is trusted ({match}), but for a name from unsigned DNS, which an attacker could have chosen",
        "give the rule `names`, or the operator of the domain must sign it",
    ),
    row(
        "rfc7435-3-encrypted",
        "RFC 7435 section 3",
        "2.0.0",
        "encrypted to whoever answered; the certificate proves nothing here",
        "the operator of the domain can publish TLSA records, or you can write a rule",
    ),
    row(
        "rfc7435-3-clear",
        "RFC 7435 section 3",
        "2.0.0",
        "sent in clear: the server did not offer TLS, and nothing demands it",
        "the operator of the host must offer STARTTLS; a rule `require-tls` holds the mail instead",
    ),
    row(
        "rfc7435-3-clear-refused",
        "RFC 7435 section 3",
        "2.0.0",
        "sent in clear: the server refused STARTTLS ({reply}), and nothing demands it",
        "the operator of the host must mend its TLS; a rule `require-tls` holds the mail instead",
    ),
)

EXPLANATIONS: Mapping[str, Explanation] = MappingProxyType(
    {row.code: row for row in (*_ROUTE, *_HOST, *_REQUIRE, *DEMANDS, *_SESSION, *_CLEARED, *_OURSELVES)}
)
