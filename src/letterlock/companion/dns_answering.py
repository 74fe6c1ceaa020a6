"""From a query to its response: what is known at once, the rest after a lookup.

Responses are kept in the form in which they are sent. One counts only while the resolver's cache still holds the very
answer that it was made from, so nothing is served longer than there, and whatever the resolver forgets is forgotten.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rcode
import dns.rdatatype

from letterlock.companion.dns_cookies import CLIENT_OCTETS, is_ours, server_cookie
from letterlock.companion.dns_query import MIN_UDP_OCTETS, BadQuery, Query, read_query
from letterlock.companion.dns_response import (
    BUSY,
    MAX_MESSAGE_OCTETS,
    NOT_SUPPORTED,
    Body,
    Extended,
    answer_body,
    error_body,
    failure_body,
    refusal,
    response,
    truncated_response,
    unvalidated_body,
)
from letterlock.resolver import Answer, LookupFailure, Question, Resolver
from letterlock.resolver.dns_message import EDNS_PAYLOAD, Fault

MAX_OCTETS = 32 << 20  # chosen: of responses ready to be sent, some 50,000 of ordinary size
_ENTRY_OCTETS = 450  # measured: one of them without its records
MAX_LOOKUPS = 1_000  # chosen: at once for clients; the resolver itself shares its slots fairly among domains
_REFUSED_TYPES = frozenset(
    {dns.rdatatype.ANY, dns.rdatatype.RRSIG, dns.rdatatype.AXFR, dns.rdatatype.IXFR, dns.rdatatype.MAILA,
     dns.rdatatype.MAILB, dns.rdatatype.OPT, dns.rdatatype.TSIG, dns.rdatatype.TKEY, dns.rdatatype.NONE}
)  # fmt: skip
"""Nothing of these can be validated: ANY and RRSIG name no RRset (RFC 8482 lets a server decline), the rest is none."""


@dataclass(slots=True)
class Client:
    """Who asks: the packed address, and what it may be sent."""

    address: bytes
    over_tcp: bool
    is_local: bool  # on this machine, so that its address cannot be forged


@dataclass(slots=True)
class _Ready:
    """A response that can be sent, the answer that it was made from, and the TTL that its records have now."""

    answer: Answer
    body: Body
    records: bytes
    ttl: int


class DnsAnswering:
    """Answers queries. `now`: seconds since 1970."""

    def __init__(self, resolver: Resolver, now: Callable[[], float], max_octets: int = MAX_OCTETS) -> None:
        self._resolver = resolver
        self._now = now
        self._max_octets = max_octets
        self._octets = 0
        self._ready: OrderedDict[tuple[bytes, int, bool], _Ready] = OrderedDict()
        self.lookups = 0

    def at_once(self, wire: bytes, client: Client) -> bytes | Query | None:
        """The response, or the query if it needs a lookup; None for what must not be answered."""
        query = read_query(wire)
        if query is None:
            return None
        if isinstance(query, BadQuery):
            return refusal(query, query.rcode)
        if (early := self._unproven(query, client)) is not None:
            return early
        if query.rdtype in _REFUSED_TYPES:
            return self._sent(query, client, error_body(dns.rcode.NOTIMP, Extended(NOT_SUPPORTED)))
        ready = self._known(query)
        if ready is None:
            return query
        return self._sent(query, client, ready.body, ready.records)

    async def after_lookup(self, query: Query, client: Client) -> bytes:
        """The response to a query that needs a lookup. Never raises for DNS."""
        if self.lookups >= MAX_LOOKUPS:
            error = Extended(BUSY, "too many lookups at once")
            return self._sent(query, client, error_body(dns.rcode.SERVFAIL, error))
        self.lookups += 1
        try:
            return self._sent(query, client, await self._looked_up(query))
        finally:
            self.lookups -= 1

    async def _looked_up(self, query: Query) -> Body:
        name = _name(query.name)
        found = await self._resolver.resolve(name, dns.rdatatype.RdataType.make(query.rdtype))
        if isinstance(found, Answer):
            body = answer_body(found, query.name, do=query.do)
            self._keep(query, found, body)
            return body
        return await self._unvalidated(query, name, found) if query.cd else failure_body(found)

    async def _unvalidated(self, query: Query, name: dns.name.Name, failure: LookupFailure) -> Body:
        question = Question(name, dns.rdatatype.RdataType.make(query.rdtype))
        reply = await self._resolver.unvalidated(question)
        return failure_body(failure) if isinstance(reply, Fault) else unvalidated_body(reply, query.name, do=query.do)

    def _known(self, query: Query) -> _Ready | None:
        """A response that was made before, if the answer in it still holds, with its TTL as of now."""
        place = query.name, query.rdtype, query.do
        ready = self._ready.get(place)
        if ready is None:
            return None
        if self._resolver.known(ready.answer.question) is not ready.answer:
            self._drop(place)
            return None
        left = max(0, min(ready.answer.ttl, int(ready.answer.expires_at - self._now())))
        if left != ready.ttl:
            ready.records, ready.ttl = ready.body.aged(left), left
        self._ready.move_to_end(place)
        return ready

    def _keep(self, query: Query, found: Answer, body: Body) -> None:
        answer = self._resolver.known(found.question)  # the cache's own, with the first TTL
        if not isinstance(answer, Answer):
            return  # not kept there, so not here either
        place = query.name, query.rdtype, query.do
        self._drop(place)
        self._ready[place] = _Ready(answer, body, body.records, -1)
        self._octets += _ENTRY_OCTETS + 2 * len(body.records)
        while self._octets > self._max_octets:
            self._drop(next(iter(self._ready)))

    def _drop(self, place: tuple[bytes, int, bool]) -> None:
        ready = self._ready.pop(place, None)
        if ready is not None:
            self._octets -= _ENTRY_OCTETS + 2 * len(ready.body.records)

    def _unproven(self, query: Query, client: Client) -> bytes | None:
        """A short response to a client whose address may be forged: never much longer than its query (RFC 7873 5.2)."""
        if client.is_local or client.over_tcp:
            return None
        cookie = query.edns.cookie if query.edns is not None else None
        if cookie is None:
            return truncated_response(query, None)
        if is_ours(cookie, client.address, int(self._now())):
            return None
        return refusal(query, dns.rcode.BADCOOKIE, self._cookie(query, client))

    def _cookie(self, query: Query, client: Client) -> bytes | None:
        """The cookie for a response: the client's part and ours."""
        if query.edns is None or query.edns.cookie is None:
            return None
        asked = query.edns.cookie[:CLIENT_OCTETS]
        return asked + server_cookie(asked, client.address, int(self._now()))

    def _sent(self, query: Query, client: Client, body: Body, records: bytes | None = None) -> bytes:
        if client.over_tcp:
            most = MAX_MESSAGE_OCTETS
        else:
            most = MIN_UDP_OCTETS if query.edns is None else min(query.edns.payload, EDNS_PAYLOAD)
        cookie = self._cookie(query, client)
        return response(query, body, body.records if records is None else records, most, cookie)


def _name(wire: bytes) -> dns.name.Name:
    """A name that was read as whole labels already."""
    return dns.name.from_wire(wire, 0)[0]
