"""Attackers of the DNS, between Letterlock and its resolver: each turns an honest answerer into a lying one.

They do what somebody on the path to the resolver can: change, replay and leave out. They cannot sign. All of them set
the AD bit: a validator that believes it has already lost.
"""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from dns.rdatatype import RdataType

from letterlock.lab.dns_server import Answerer
from letterlock.lab.namespace import response_to


def forge_mx(honest: Answerer, *, host: str, spared: frozenset[dns.name.Name] = frozenset()) -> Answerer:
    """Say that the MX of every domain is `host`; the old signatures stay, over data that they do not cover."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        response = honest(query)
        question = query.question[0]
        if question.rdtype == RdataType.MX and response.answer and question.name not in spared:
            forged = dns.rrset.from_text(question.name, 300, "IN", "MX", f"10 {host}.")
            kept = [rrset for rrset in response.answer if rrset.rdtype == RdataType.RRSIG]
            response.answer = [forged, *kept]
            response.flags |= dns.flags.AD
        return response

    return answer


def remove_tlsa(honest: Answerer) -> Answerer:
    """Say that there are no TLSA records: in turn with a true proof for another name, and with no proof at all."""
    asked = 0

    def answer(query: dns.message.Message) -> dns.message.Message:
        nonlocal asked
        question = query.question[0]
        if question.rdtype != RdataType.TLSA:
            return honest(query)
        asked += 1
        response = response_to(query)
        response.flags |= dns.flags.AD
        if asked % 2:
            response.authority = _replayed(honest, question.name)
        return response

    return answer


def _replayed(honest: Answerer, name: dns.name.Name) -> list[dns.rrset.RRset]:
    """The authority section that truly says that the host itself has no TLSA records."""
    host = dns.name.Name([label for label in name.labels if not label.startswith(b"_")])
    query = dns.message.make_query(host, RdataType.TLSA, want_dnssec=True)
    return list(honest(query).authority)


def fail_tlsa(honest: Answerer) -> Answerer:
    """Answer SERVFAIL to every question for TLSA records."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        if query.question[0].rdtype != RdataType.TLSA:
            return honest(query)
        response = response_to(query)
        response.set_rcode(dns.rcode.SERVFAIL)
        return response

    return answer


def hide_sts(honest: Answerer, *, host: str) -> Answerer:
    """Say that there is no `_mta-sts` record, and that the policy host does not exist."""
    record, policy_host = dns.name.from_text("_" + host), dns.name.from_text(host)

    def answer(query: dns.message.Message) -> dns.message.Message:
        if query.question[0].name not in (record, policy_host):
            return honest(query)
        response = response_to(query)
        response.set_rcode(dns.rcode.NXDOMAIN)
        response.flags |= dns.flags.AD
        return response

    return answer


def forge_sts(honest: Answerer, *, host: str, address: str) -> Answerer:
    """Announce another policy under a new id, at an address of the attacker's choice."""
    forged = {
        (dns.name.from_text("_" + host), RdataType.TXT): '"v=STSv1; id=20261124;"',
        (dns.name.from_text(host), RdataType.A): address,
    }

    def answer(query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        rdata = forged.get((question.name, question.rdtype))
        if rdata is None:
            return honest(query)
        response = response_to(query)
        response.answer = [dns.rrset.from_text(question.name, 300, "IN", question.rdtype, rdata)]
        response.flags |= dns.flags.AD
        return response

    return answer
