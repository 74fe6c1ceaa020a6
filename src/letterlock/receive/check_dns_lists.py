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
_Listing = bool | None  # None: the list could not be asked, or refuses to answer
log = logging.getLogger("letterlock.receive")


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsList:
    """A list: its zone, the answers that count (empty: all), and its weight, below zero for an allowlist."""

    zone: str
    weight: float = 1.0
    answers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Found:
    """`least` is the weight if every allowlist that could not be asked lists the client."""

    weight: float
    least: float
    listed_by: tuple[str, ...]


class CheckDnsLists:
    """Refuses recipients of clients whose lists add up to THRESHOLD; clients that may relay are not looked up."""

    def __init__(self, lists: tuple[DnsList, ...], resolver: Resolver) -> None:
        self._lists = lists
        self._resolver = resolver

    async def recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """554 for a listed client, 450 where an allowlist that could not be asked might speak for it.

        Everybody may write to the postmaster (RFC 5321 section 4.5.1).
        """
        if facts.may_relay or offer.postmaster or facts.local_uid is not None:  # lists are about strangers
            return None
        found = facts.kept.get(self)
        if not isinstance(found, _Found):
            found = facts.kept[self] = await self._look_up(facts.client)
        if found.weight < THRESHOLD:
            return None
        text = f"Client address [{facts.client}] is listed by {', '.join(found.listed_by)}"
        if found.least < THRESHOLD:
            return Reply(450, (f"4.7.1 {text}, and an allowlist cannot be asked now",))
        return Reply(554, (f"5.7.1 {text}",))

    async def _look_up(self, client: str) -> _Found:
        answers = await asyncio.gather(*(self._ask(each, client) for each in self._lists))
        answered = list(zip(self._lists, answers, strict=True))
        hits = [each for each, listed in answered if listed]
        weight = sum(each.weight for each in hits)
        least = weight + sum(min(each.weight, 0.0) for each, listed in answered if listed is None)
        return _Found(weight, least, tuple(each.zone for each in hits if each.weight > 0))

    async def _ask(self, each: DnsList, client: str) -> _Listing:
        """Whether a client is listed. What could not be found out is logged, and refuses nobody."""
        try:
            async with asyncio.timeout(MAX_SECONDS):
                found = await self._resolver.resolve(f"{reversed_name(client)}.{each.zone}", dns.rdatatype.A)
        except TimeoutError:
            log.warning("list %s: no answer about %s within %g seconds", each.zone, client, MAX_SECONDS)
            return None
        if isinstance(found, LookupFailure):
            log.warning("list %s: cannot look up %s: %s", each.zone, client, found.detail or found.kind.value)
            return None
        return self._counts(each, _addresses(found))

    def _counts(self, each: DnsList, addresses: Iterable[str]) -> _Listing:
        counted, refused = False, False
        for address in addresses:
            if ipaddress.ip_address(address) in NO_ANSWERS:
                refused = True
                log.warning(
                    "list %s refuses our queries (%s): it may accept those of a resolver of your own",
                    each.zone,
                    address,
                )
            elif ipaddress.ip_address(address) in LISTED:
                counted = counted or not each.answers or address in each.answers
        return None if refused and not counted else counted


def _addresses(answer: Answer) -> list[str]:
    return [record.address for record in answer.records if isinstance(record, A)]


def reversed_name(client: str) -> str:
    """The address as lists have it (RFC 5782 sections 2.1 and 2.4): its octets, or its nibbles, backwards."""
    address = ipaddress.ip_address(client.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    return plain.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
