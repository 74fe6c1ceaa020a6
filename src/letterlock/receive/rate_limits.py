"""Limits on how much a client, a network, a user or a recipient's domain may send in a time, over all workers.

What exceeds a limit is deferred, or delayed a little first (a tarpit): bulk senders notice, people do not.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from letterlock.mail.printable import printable
from letterlock.mail.replies import Reply
from letterlock.ports import Rates
from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.relay import Network, is_within
from letterlock.smtp.server_events import RecipientOffered, SenderOffered

TOO_MANY_SESSIONS = Reply(421, ("4.7.0 Too many connections in a short time, try again later",))
TOO_MANY_MESSAGES = Reply(450, ("4.7.1 Too many messages in a short time, try again later",))
TOO_MANY_RECIPIENTS = Reply(450, ("4.7.1 Too many recipients in a short time, try again later",))
TOO_MUCH_MAIL = Reply(450, ("4.7.1 Too much mail in a short time, try again later",))
_IPV4_NETWORK, _IPV6_CLIENT, _IPV6_NETWORK = 24, 64, 48  # what one customer is given, and one site
log = logging.getLogger("letterlock.receive")


class Per(StrEnum):
    """Whose mail is counted together."""

    CLIENT = "client"  # an IPv4 address, or an IPv6 /64
    NETWORK = "network"  # an IPv4 /24, or an IPv6 /48
    USER = "user"  # who logged in
    RECIPIENT_DOMAIN = "recipient_domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """One limit; None: that is not limited. `delay_seconds`: how long mail may wait rather than be put off."""

    name: str
    per: Per
    window_seconds: float
    connections: int | None = None
    messages: int | None = None
    recipients: int | None = None
    octets: int | None = None
    delay_seconds: float = 0.0
    exempt: tuple[Network, ...] = ()


class LimitRates:
    """The step of all limits of a listener."""

    def __init__(self, limits: tuple[RateLimit, ...], rates: Rates, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._rates = rates
        self._monotonic = monotonic

    async def sender(self, facts: Facts, _offer: SenderOffered) -> Reply | None:
        """Count the message, and with the first one the connection."""
        if self not in facts.kept:
            facts.kept[self] = True
            for limit, key in self._that_hold(facts):
                if not await self._taken(limit, key, "connections", 1, limit.connections):
                    return TOO_MANY_SESSIONS
        for limit, key in self._that_hold(facts):
            if not await self._taken(limit, key, "messages", 1, limit.messages):
                return TOO_MANY_MESSAGES
        return None

    async def recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """Count the recipient."""
        if facts.local_uid is not None or offer.recipient in facts.recipients:  # given again: one copy, counted once
            return None
        for limit, key in self._that_hold(facts, offer.recipient.domain):
            if not await self._taken(limit, key, "recipients", 1, limit.recipients):
                return TOO_MANY_RECIPIENTS
        return None

    async def message(self, facts: Facts, draft: Draft) -> Reply | None:
        """Count the octets."""
        if facts.local_uid is not None:  # put off, its file would only be read again and again
            return None
        for limit, key in self._that_hold(facts):
            if not await self._taken(limit, key, "octets", draft.octets, limit.octets):
                return TOO_MUCH_MAIL
        return None

    def _that_hold(self, facts: Facts, domain: str | None = None) -> Iterator[tuple[RateLimit, str]]:
        for limit in self._limits:
            key = _key(limit.per, facts, domain)
            if key is not None and not is_within(facts.client, limit.exempt):
                yield limit, key

    async def _taken(self, limit: RateLimit, key: str, what: str, cost: int, most: int | None) -> bool:
        """Whether it is counted, perhaps after a while."""
        if most is None:
            return True
        name, seconds = f"{limit.name} {what} {key}", limit.window_seconds
        wait = self._rates.take(name, cost, most, seconds, self._monotonic())
        if 0.0 < wait <= limit.delay_seconds:
            await asyncio.sleep(wait)
            wait = self._rates.take(name, cost, most, seconds, self._monotonic())
        if wait > 0.0:
            log.info("limit %s: %s of %s: too much for %.0f seconds", limit.name, what, printable(key), wait)
        return wait <= 0.0


def _key(per: Per, facts: Facts, domain: str | None) -> str | None:
    """Whose mail it is; None where the limit does not apply."""
    match per:
        case Per.CLIENT:
            return _network(facts.client, 32, _IPV6_CLIENT)
        case Per.NETWORK:
            return _network(facts.client, _IPV4_NETWORK, _IPV6_NETWORK)
        case Per.USER:
            return facts.user
        case Per.RECIPIENT_DOMAIN:
            return domain


def _network(client: str, ipv4_bits: int, ipv6_bits: int) -> str:
    address = ipaddress.ip_address(client.partition("%")[0])
    bits = ipv4_bits if address.version == 4 else ipv6_bits  # the version of IP
    return str(ipaddress.ip_network((address, bits), strict=False))
