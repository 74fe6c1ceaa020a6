"""A recursive resolver over generated zones: what an honest upstream would answer, and a hook for forgers."""

from collections.abc import Callable, Iterable

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from dns.message import Message
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rdtypes.nsbase import NSBase
from dns.rrset import RRset

from tests.agreement.content import TTL, Content, above, once, renamed

MAX_LINKS = 12
Forger = Callable[["Internet", Message], None]


class Internet:
    """Zones, and one answer for each question, the same for everyone who asks. `forgers` act below their name."""

    def __init__(self, contents: Iterable[Content]) -> None:
        self.contents = {content.origin: content for content in contents}
        self.forgers: dict[Name, Forger] = {}
        self._answers: dict[tuple[Name, RdataType], bytes] = {}
        self.asked = 0

    def content_of(self, name: Name) -> Content:
        """The deepest zone that holds a name."""
        return next(found for each in (name, *above(name, dns.name.root)) if (found := self.contents.get(each)))

    def answer(self, wire: bytes, limit: int = 65_535) -> bytes:
        """The reply to a query, truncated where it is longer than the limit. Raises DNSException."""
        query = dns.message.from_wire(wire)
        self.asked += 1
        question = query.question[0]
        key = question.name.canonicalize(), question.rdtype
        if key not in self._answers:
            self._answers[key] = self.message(*key).to_wire(max_size=65_535)
        made = self._answers[key]
        if len(made) > limit:
            short = dns.message.make_response(query)
            short.flags |= dns.flags.TC | dns.flags.RA
            made = short.to_wire()
        flags = made[2] | query.flags >> 8 & 0x01, made[3] | query.flags & 0x10  # RD and CD are echoed
        return (
            wire[:2]
            + bytes(flags)
            + made[4:12]
            + wire[12 : 12 + _octets(question.name)]
            + made[12 + _octets(question.name) :]
        )

    def message(self, name: Name, rdtype: RdataType) -> Message:
        """The response to a question, after the forger of its site."""
        made = self.honest(name, rdtype)
        forger = next(
            (self.forgers[each] for each in (name, *above(name, dns.name.root)) if each in self.forgers), None
        )
        if forger is not None:
            forger(self, made)
        return made

    def tops(self, name: Name, rdtype: RdataType) -> set[Name]:
        """The first-level names that an honest answer touches: that of the question, and of every alias target."""
        owners = {name, *(each.name for section in self.honest(name, rdtype).sections[1:3] for each in section)}
        return {owner.split(2)[1] for owner in owners if len(owner) > 1}

    def truth(self, name: Name, rdtype: RdataType) -> str:
        """What is there, whatever is wrong with its signatures: records, nodata or nxdomain."""
        made = self.honest(name, rdtype)
        if made.rcode() == dns.rcode.NXDOMAIN:
            return "nxdomain"
        return "records" if any(each.rdtype == rdtype for each in made.answer) else "nodata"

    def honest(self, name: Name, rdtype: RdataType) -> Message:
        """The response of a recursive resolver."""
        response = dns.message.make_response(dns.message.make_query(name, rdtype, want_dnssec=True))
        response.flags |= dns.flags.RA
        for _ in range(MAX_LINKS):
            following = self._step(response, name, rdtype)
            if following is None:
                break
            name = following
        response.answer, response.authority = once(response.answer), once(response.authority)
        return response

    def _step(self, response: Message, name: Name, rdtype: RdataType) -> Name | None:
        """Add what one name gives; the next name of an alias chain."""
        at_parent = rdtype == RdataType.DS and name in self.contents and name != dns.name.root
        content = self.content_of(name.parent() if at_parent else name)
        dname = next((each for each in above(name, content.origin) if content.get(each, RdataType.DNAME)), None)
        if dname is not None:
            return _by_dname(response, content, dname, name)
        if name in content.existing:
            return _at_name(response, content, name, rdtype)
        wild = content.wildcard(name)
        if wild is not None:
            return _by_wildcard(response, content, name, wild, rdtype)
        response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority += content.deny(name, exists=False, wildcard=False)
        return None


def _octets(name: Name) -> int:
    wire = name.to_wire()
    assert wire is not None  # it is, where no file is given to write to
    return len(wire)


def _at_name(response: Message, content: Content, name: Name, rdtype: RdataType) -> Name | None:
    found = content.get(name, rdtype)
    alias = content.get(name, RdataType.CNAME) if rdtype not in (RdataType.NSEC, RdataType.DS) or not found else []
    if found or not alias:
        response.answer += found
        response.authority += [] if found else content.deny(name, exists=True, wildcard=False)
        return None
    response.answer += alias
    return _target(alias)


def _by_dname(response: Message, content: Content, owner: Name, name: Name) -> Name | None:
    found = content.get(owner, RdataType.DNAME)
    made = name.relativize(owner).derelativize(_target(found))
    response.answer += [*found, dns.rrset.from_text(name, TTL, "IN", "CNAME", str(made))]
    return made


def _by_wildcard(response: Message, content: Content, name: Name, wild: Name, rdtype: RdataType) -> Name | None:
    found = content.get(wild, rdtype) or content.get(wild, RdataType.CNAME)
    if not found:
        response.authority += content.deny(name, exists=False, wildcard=True)
        return None
    response.answer += [renamed(each, name) for each in found]
    response.authority += content.deny_closer(name)
    return _target(found) if found[0].rdtype == RdataType.CNAME != rdtype else None


def _target(found: list[RRset]) -> Name:
    record = found[0][0]
    assert isinstance(record, NSBase)
    return record.target.canonicalize()
