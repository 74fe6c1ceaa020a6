"""Attackers of the DNS, between Letterlock and its resolver: each turns an honest answerer into a lying one.

They do what somebody on the path to the resolver can: change, replay and leave out. They cannot sign. All of them set
the AD bit: a validator that believes it has already lost.
"""

from collections.abc import Callable, Collection, Mapping

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from dns.rdatatype import RdataType

from letterlock.lab.authority import DAY, Validity
from letterlock.lab.dns_server import Answerer
from letterlock.lab.namespace import NameSpace, response_to

Honest = Callable[[dns.message.Message], dns.message.Message]
Question = tuple[dns.name.Name, RdataType]
_TTL = 300  # chosen: longer than any trial
_PROOFS = {RdataType.RRSIG, RdataType.NSEC, RdataType.NSEC3}


def _only(honest: Honest, chosen: Callable[[Question], bool], lie: Honest) -> Answerer:
    """Lie to the questions that are chosen, with AD set, and pass on the others."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        if not chosen((question.name, question.rdtype)):
            return honest(query)
        response = lie(query)
        response.flags |= dns.flags.AD
        return response

    return answer


def forge(honest: Honest, forged: Mapping[Question, str]) -> Answerer:
    """Answer some questions with RDATA of the attacker's choice; the old signatures stay, where there are any."""

    def lie(query: dns.message.Message) -> dns.message.Message:
        question, response = query.question[0], response_to(query)
        rdata = forged[question.name, question.rdtype]
        kept = [rrset for rrset in honest(query).answer if rrset.rdtype == RdataType.RRSIG]
        response.answer = [dns.rrset.from_text(question.name, _TTL, "IN", question.rdtype, rdata), *kept]
        return response

    return _only(honest, forged.__contains__, lie)


def forge_mx(honest: Honest, hosts: Mapping[str, str]) -> Answerer:
    """Say that the MX of each of these domains is another host."""
    return forge(honest, {(dns.name.from_text(each), RdataType.MX): f"10 {host}." for each, host in hosts.items()})


def alias(honest: Honest, names: Mapping[str, str]) -> Answerer:
    """Answer every question about a name with a CNAME, and with what is true of the name that it leads to."""
    targets = {dns.name.from_text(name): dns.name.from_text(target) for name, target in names.items()}

    def lie(query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        target = targets[question.name]
        response = honest(dns.message.make_query(target, question.rdtype, want_dnssec=True))
        lying = response_to(query)
        cname = dns.rrset.from_text(question.name, _TTL, "IN", "CNAME", target.to_text())
        lying.answer, lying.authority = [cname, *response.answer], response.authority
        return lying

    return _only(honest, lambda asked: asked[0] in targets and asked[1] != RdataType.DS, lie)


def deny(honest: Honest, chosen: Callable[[Question], bool], *, nxdomain: bool = False) -> Answerer:
    """Say that what was asked for is not there, without any proof."""

    def lie(query: dns.message.Message) -> dns.message.Message:
        response = response_to(query)
        if nxdomain:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    return _only(honest, chosen, lie)


def fail(honest: Honest, chosen: Callable[[Question], bool]) -> Answerer:
    """Answer SERVFAIL."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        if not chosen((question.name, question.rdtype)):
            return honest(query)
        response = response_to(query)
        response.set_rcode(dns.rcode.SERVFAIL)
        return response

    return answer


def drop(honest: Honest, chosen: Callable[[Question], bool]) -> Answerer:
    """Never answer."""

    def answer(query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        return None if chosen((question.name, question.rdtype)) else honest(query)

    return answer


def of_type(rdtype: RdataType) -> Callable[[Question], bool]:
    """Every question for a type."""
    return lambda asked: asked[1] == rdtype


def about(*names: str) -> Callable[[Question], bool]:
    """Every question about some names."""
    chosen = {dns.name.from_text(name) for name in names}
    return lambda asked: asked[0] in chosen


def remove_tlsa(honest: Honest) -> Answerer:
    """Say that there are no TLSA records, with no proof at all."""
    return deny(honest, of_type(RdataType.TLSA))


def replay_denial(honest: Honest) -> Answerer:
    """Say that there are no TLSA records, with the true and signed proof that the host itself has none."""

    def lie(query: dns.message.Message) -> dns.message.Message:
        response = response_to(query)
        host = dns.name.Name([label for label in query.question[0].name.labels if not label.startswith(b"_")])
        response.authority = list(honest(dns.message.make_query(host, RdataType.TLSA, want_dnssec=True)).authority)
        return response

    return _only(honest, of_type(RdataType.TLSA), lie)


def fail_tlsa(honest: Honest) -> Answerer:
    """Answer SERVFAIL to every question for TLSA records."""
    return fail(honest, of_type(RdataType.TLSA))


def replay_tlsa(names: NameSpace, rdata: Mapping[dns.name.Name, str], now: float) -> Answerer:
    """Replay TLSA records of last year, signed in earnest by the zone of then: the signatures have expired since."""
    then = Validity(int(now) - 400 * DAY, int(now) - 370 * DAY)  # chosen: a month, long before any box was made

    def lie(query: dns.message.Message) -> dns.message.Message:
        question, response = query.question[0], response_to(query)
        zone = names.zone_of(question.name, question.rdtype)
        record = dns.rrset.from_text(question.name, _TTL, "IN", "TLSA", rdata[question.name])
        response.answer = [record, zone.key.sign(record, zone.origin, then)] if zone.key else [record]
        return response

    return _only(names.answer, lambda asked: asked[1] == RdataType.TLSA and asked[0] in rdata, lie)


def remove_signatures(honest: Honest) -> Answerer:
    """Take every signature and every proof out of the answers."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        response = honest(query)
        for section in (response.answer, response.authority):
            section[:] = [rrset for rrset in section if rrset.rdtype not in _PROOFS]
        response.flags |= dns.flags.AD
        return response

    return answer


def remove_delegation_signers(honest: Honest, domains: Collection[str]) -> Answerer:
    """Say that these domains are not signed: no DS record at the parent, without a proof, and no signature below."""
    origins = [dns.name.from_text(domain) for domain in domains]
    below = remove_signatures(honest)

    def answer(query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        if question.rdtype != RdataType.DS and any(question.name.is_subdomain(origin) for origin in origins):
            return below(query)
        return denied(query)

    denied = deny(honest, lambda asked: asked[1] == RdataType.DS and asked[0] in origins)
    return answer
