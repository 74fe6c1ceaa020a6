"""The TXT records of a name as each authoritative server of its zone has them: whether all show what was published.

The servers are found with the validating resolver and then asked directly, so that no cache hides one that lags behind.
The name itself is never asked for through a resolver: one that remembers its absence would go on saying so.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from letterlock.ports import Resolver
from letterlock.resolver.answer import Answer, LookupFailure

MAX_HOSTS = 20  # of a zone: the root and the largest providers have 13
MAX_ADDRESSES = 4  # of one host
MAX_ALIASES = 4  # a selector that a provider hosts is one alias; a chain is a mistake
_PAYLOAD_OCTETS = 1232  # DNS flag day 2020: what travels without fragments
_ADDRESS_TYPES = (dns.rdatatype.A, dns.rdatatype.AAAA)
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

AskServer = Callable[[str, bytes, bool], Awaitable[bytes]]
"""Sends a query to an address (over TCP, if so said) and returns the reply. Raises OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """What one server shows. `problem` says why nothing is known; else `texts` are its TXT records, maybe none.

    `unreachable`: this machine has no way to that address, such as no IPv6; that says nothing about the server.
    """

    host: str
    address: str
    texts: tuple[bytes, ...] = ()
    alias: str | None = None
    problem: str = ""
    unreachable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritativeView:
    """What all servers show of a name, `name` being the end of its aliases; or why they could not be found."""

    name: str
    views: tuple[ServerView, ...] = ()
    problem: str = ""

    def everywhere(self, fits: Callable[[bytes], bool]) -> bool:
        """Whether every server shows exactly one record, and it fits. Of each, at least one address has answered."""
        answered = {view.host for view in self.views if not view.unreachable}
        return (
            not self.problem
            and bool(self.views)
            and answered == {view.host for view in self.views}
            and all(view.unreachable or _shows(view, fits) for view in self.views)
        )

    @property
    def nowhere(self) -> bool:
        """Whether every server answered that there is no record."""
        known = [view for view in self.views if not view.unreachable]
        return not self.problem and bool(known) and not any(view.problem or view.texts for view in known)


def _shows(view: ServerView, fits: Callable[[bytes], bool]) -> bool:
    return not view.problem and len(view.texts) == 1 and fits(view.texts[0])


async def look_everywhere(name: str, resolver: Resolver, ask: AskServer) -> AuthoritativeView:
    """Ask every authoritative server of a name's zone for its TXT records. Never raises for DNS."""
    for _ in range(MAX_ALIASES + 1):
        hosts = await _hosts(name, resolver)
        if isinstance(hosts, str):
            return AuthoritativeView(name=name, problem=hosts)
        found = await asyncio.gather(*(_views(host, name, resolver, ask) for host in hosts))
        views = tuple(view for of_host in found for view in of_host)
        aliases = {view.alias for view in views if not view.unreachable}
        alias = aliases.pop() if len(aliases) == 1 else None
        if alias is None:
            return AuthoritativeView(name=name, views=views)
        name = alias
    return AuthoritativeView(name=name, problem="its aliases do not end")


async def _hosts(name: str, resolver: Resolver) -> tuple[str, ...] | str:
    """The servers of the zone that a name is in; or why they could not be found."""
    _, _, zone = name.partition(".")
    while zone:
        answer = await resolver.resolve(zone, dns.rdatatype.NS)
        if isinstance(answer, LookupFailure):
            return f"the name servers of {zone} could not be looked up: {answer.kind.value}: {answer.detail}"
        if answer.records and answer.canonical_name == answer.question.name:
            hosts = sorted(_text(record.target) for record in answer.records if isinstance(record, NS))
            return tuple(hosts[:MAX_HOSTS])
        zone = zone.partition(".")[2]
    return "it is in no zone that has name servers"


async def _views(host: str, name: str, resolver: Resolver, ask: AskServer) -> tuple[ServerView, ...]:
    try:
        answers = await asyncio.gather(*(resolver.resolve(host, rdtype) for rdtype in _ADDRESS_TYPES))
    except ValueError as error:
        return (ServerView(host=host, address="", problem=str(error)),)
    addresses = [address for answer in answers for address in _addresses(answer)][:MAX_ADDRESSES]
    failed = [answer for answer in answers if isinstance(answer, LookupFailure)]
    if failed or not addresses:
        why = f"its address could not be looked up: {failed[0].detail}" if failed else "it has no address"
        return (ServerView(host=host, address="", problem=why),)
    return tuple(await asyncio.gather(*(_view(host, address, name, ask) for address in addresses)))


def _addresses(answer: Answer | LookupFailure) -> tuple[str, ...]:
    records = answer.records if isinstance(answer, Answer) else ()
    return tuple(record.address for record in records if isinstance(record, A | AAAA))


async def _view(host: str, address: str, name: str, ask: AskServer) -> ServerView:
    query = dns.message.make_query(name, dns.rdatatype.TXT, use_edns=0, payload=_PAYLOAD_OCTETS)
    query.flags &= ~dns.flags.RD  # an authoritative server answers from its own data
    wire = query.to_wire()
    try:
        reply = dns.message.from_wire(await ask(address, wire, False), ignore_trailing=True)
        if reply.flags & dns.flags.TC:
            reply = dns.message.from_wire(await ask(address, wire, True), ignore_trailing=True)
    except TimeoutError:
        return ServerView(host=host, address=address, problem="no answer")
    except OSError as error:
        no_way = ":" in address and _has_no_way(error)
        return ServerView(host=host, address=address, problem=str(error) or "no answer", unreachable=no_way)
    except dns.exception.DNSException:
        return ServerView(host=host, address=address, problem="its answer is malformed")
    return _read(host, address, query.question[0].name, reply)


def _has_no_way(error: OSError) -> bool:
    """Whether this machine has no IPv6 (or no route), as opposed to a server that does not answer."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return cause.errno in _NO_WAY


def _read(host: str, address: str, name: dns.name.Name, reply: dns.message.Message) -> ServerView:
    if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return ServerView(host=host, address=address, problem=f"it answers {dns.rcode.to_text(reply.rcode())}")
    if not reply.flags & dns.flags.AA:
        return ServerView(host=host, address=address, problem="it is not authoritative for the zone")
    texts: list[bytes] = []
    alias: str | None = None
    for rrset in reply.answer:
        if rrset.name == name and rrset.rdclass == dns.rdataclass.IN:
            texts += [b"".join(record.strings) for record in rrset if isinstance(record, TXT)]
            alias = next((_text(record.target) for record in rrset if isinstance(record, CNAME)), alias)
    return ServerView(host=host, address=address, texts=tuple(texts), alias=alias)


def _text(name: dns.name.Name) -> str:
    return name.canonicalize().to_text(omit_final_dot=True)
