"""Asks DNS blocklists and allowlists (RFC 5782) about clients, through the validating resolver."""

import asyncio
import ipaddress
import logging
from collections.abc import Iterable
from dataclasses import dataclass

import dns.rdatatype
from dns.rdtypes.IN.A import A

from letterlock.mail.replies import Reply
from letterlock.ports import Resolver
from letterlock.receive.pipeline import Facts
from letterlock.resolver.answer import Answer, LookupFailure
from letterlock.smtp.server_events import RecipientOffered

# Answers by which lists say that they do not answer: queries through a public resolver, or too many of them.
NO_ANSWERS = ipaddress.ip_network("127.255.255.0/24")
LISTED = ipaddress.ip_network("127.0.0.0/8")  # RFC 5782 section 2.1: anything else is a domain that was given up
THRESHOLD = 1.0  # the weight of one list, if the configuration says nothing else
MAX_SECONDS = 10.0  # a list that takes longer counts as one that could not be asked
log = logging.getLogger("letterlock.receive")


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsList:
    """A list: its zone, the answers that count (empty: all), and its weight, below zero for an allowlist."""

    zone: str
    weight: float = 1.0
    answers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Found:
    weight: float
    listed_by: tuple[str, ...]


class CheckDnsLists:
    """Refuses recipients of clients whose lists add up to THRESHOLD; clients that may relay are not looked up."""

    def __init__(self, lists: tuple[DnsList, ...], resolver: Resolver) -> None:
        self._lists = lists
        self._resolver = resolver

    async def recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """554 for a listed client; postmaster hears of everybody (RFC 5321 section 4.5.1)."""
        if facts.may_relay or offer.postmaster or facts.local_uid is not None:
            return None
        found = facts.kept.get(self)
        if not isinstance(found, _Found):
            found = facts.kept[self] = await self._look_up(facts.client)
        if found.weight < THRESHOLD:
            return None
        return Reply(554, (f"5.7.1 Client address [{facts.client}] is listed by {', '.join(found.listed_by)}",))

    async def _look_up(self, client: str) -> _Found:
        answers = await asyncio.gather(*(self._ask(each, client) for each in self._lists))
        hits = [each for each, listed in zip(self._lists, answers, strict=True) if listed]
        return _Found(sum(each.weight for each in hits), tuple(each.zone for each in hits if each.weight > 0))

    async def _ask(self, each: DnsList, client: str) -> bool:
        """Whether a client is listed. What could not be found out is logged, and counts for nobody."""
        try:
            async with asyncio.timeout(MAX_SECONDS):
                found = await self._resolver.resolve(f"{reversed_name(client)}.{each.zone}", dns.rdatatype.A)
        except TimeoutError:
            log.warning("list %s: no answer about %s within %g seconds", each.zone, client, MAX_SECONDS)
            return False
        if isinstance(found, LookupFailure):
            log.warning("list %s: not found out about %s: %s", each.zone, client, found.detail or found.kind.value)
            return False
        return self._counts(each, _addresses(found))

    def _counts(self, each: DnsList, addresses: Iterable[str]) -> bool:
        counted = False
        for address in addresses:
            if ipaddress.ip_address(address) in NO_ANSWERS:
                log.warning(
                    "list %s: it refuses our queries with %s: it may want your own resolver", each.zone, address
                )
            elif ipaddress.ip_address(address) in LISTED:
                counted = counted or not each.answers or address in each.answers
        return counted


def _addresses(answer: Answer) -> list[str]:
    return [record.address for record in answer.records if isinstance(record, A)]


def reversed_name(client: str) -> str:
    """The address as lists have it (RFC 5782 sections 2.1 and 2.4): its octets, or its nibbles, backwards."""
    address = ipaddress.ip_address(client.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    return plain.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
