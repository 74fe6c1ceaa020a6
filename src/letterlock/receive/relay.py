"""Who may send where: a step that refuses recipients."""

import ipaddress
import logging
from collections.abc import Iterable

from letterlock.mail.replies import Reply
from letterlock.receive.pipeline import Facts
from letterlock.recipients.directory import Domains, TableFailed
from letterlock.smtp.server_events import RecipientOffered

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
THIS_MACHINE = ("127.0.0.1", "::1")  # as which a local user counts, who has no connection
DOMAIN_UNKNOWN = Reply(451, ("4.3.0 The recipient's domain cannot be looked up now, try again later",))
log = logging.getLogger("letterlock.receive")
DENIED = Reply(550, ("5.7.1 Relay access denied",))


def is_within(client: str, networks: Iterable[Network]) -> bool:
    """Whether a client's IP address is in one of the networks; IPv4 over an IPv6 socket counts as IPv4."""
    address = ipaddress.ip_address(client)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    subject = mapped or address
    return any(subject in network for network in networks)


class LookUpDomains:
    """Finds out whether a recipient's domain is one that tables have, for the step that refuses the others."""

    def __init__(self, known: frozenset[str], tables: tuple[Domains, ...]) -> None:
        """`known`: domains that need no look."""
        self._known = known
        self._tables = tables

    async def recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """451 where that cannot be found out: never 550 for a failure of ours, and never a relay for everybody."""
        domain = offer.recipient.domain
        if facts.may_relay or offer.postmaster or domain in self._known:
            return None
        facts.kept[LookUpDomains], failed = None, False
        for each in self._tables:
            try:
                if await each.have(domain):  # one is enough, whatever the others would say
                    facts.kept[LookUpDomains] = domain
                    return None
            except TableFailed as error:
                failed = True
                log.warning("%s: cannot check whether it is one of our domains: %s", domain, error)
        return DOMAIN_UNKNOWN if failed else None


class RefuseRelaying:
    """Refuses recipients to clients that may not relay, except the postmaster and the listener's own domains."""

    def __init__(self, domains: frozenset[str] = frozenset()) -> None:
        self._domains = domains

    def recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """550 for a recipient elsewhere."""
        domain = offer.recipient.domain
        if facts.may_relay or offer.postmaster or domain in self._domains:
            return None
        return None if facts.kept.get(LookUpDomains) == domain else DENIED
