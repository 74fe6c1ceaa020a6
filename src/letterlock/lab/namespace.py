"""The whole name space of a box, answered as an honest recursive resolver with DO and CD would answer it."""

from collections.abc import Iterable

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from dns.rdatatype import RdataType

from letterlock.lab.zones import Zone

MAX_ALIASES = 16  # chosen: the lab has chains of three
_DNSSEC_TYPES = {RdataType.RRSIG, RdataType.NSEC, RdataType.NSEC3}
_PAYLOAD = 1232  # the size that DNS Flag Day 2020 recommends


class NameSpace:
    """A root zone and the zones below it, by name."""

    def __init__(self, zones: Iterable[Zone]) -> None:
        self.zones = {zone.origin: zone for zone in zones}

    def anchor(self) -> str:
        """The trust anchor: the DS of the root's key, a line of a zone file. Raises ValueError without one."""
        root = self.zones[dns.name.root]
        if root.key is None:
            raise ValueError("an unsigned root has no trust anchor")
        return f". IN DS {root.key.ds(root.origin).to_text()}\n"

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The answer to a query of one question, aliases followed, with proofs if the query has the DO bit."""
        question = query.question[0]
        response = response_to(query)
        name = dns.name.Name([label.lower() for label in question.name.labels])
        for _ in range(MAX_ALIASES):
            alias = self._step(response, name, question.rdtype)
            if alias is None:
                break
            name = alias
        if not query.ednsflags & dns.flags.DO:
            _strip(response, question.rdtype)
        return response

    def zone_of(self, name: dns.name.Name, rdtype: RdataType) -> Zone:
        """The zone that speaks for a name; a DS stands in the parent's zone (RFC 4035 section 2.4)."""
        if rdtype == RdataType.DS and name != dns.name.root:
            name = name.parent()
        while name not in self.zones:
            name = name.parent()
        return self.zones[name]

    def _step(self, response: dns.message.Message, name: dns.name.Name, rdtype: RdataType) -> dns.name.Name | None:
        """Answer for one name; the name to go on with when it is an alias."""
        zone = self.zone_of(name, rdtype)
        found = zone.rrset(name, rdtype)
        if found is not None:
            response.answer += zone.with_signature(found)
            return None
        alias = zone.rrset(name, RdataType.CNAME)
        if alias is not None:
            response.answer += zone.with_signature(alias)
            target: dns.name.Name = alias[0].target
            return target
        response.authority += zone.deny(name)
        if not zone.exists(name):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return None


def response_to(query: dns.message.Message) -> dns.message.Message:
    """An empty response of a recursive resolver: RA set, CD and DO as in the query."""
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= query.flags & dns.flags.CD
    if query.edns >= 0:
        response.use_edns(0, query.ednsflags & dns.flags.DO, _PAYLOAD)
    return response


def _strip(response: dns.message.Message, asked: RdataType) -> None:
    for section in (response.answer, response.authority):
        section[:] = [rrset for rrset in section if rrset.rdtype == asked or not _is_proof(rrset)]


def _is_proof(rrset: dns.rrset.RRset) -> bool:
    return rrset.rdtype in _DNSSEC_TYPES
