"""Who may send where: a step that refuses recipients."""

import ipaddress
from collections.abc import Iterable

from letterlock.mail.replies import Reply
from letterlock.receive.pipeline import Facts
from letterlock.smtp.server_events import RecipientOffered

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
THIS_MACHINE = ("127.0.0.1", "::1")  # as which a local user counts, who has no connection
DENIED = Reply(550, ("5.7.1 Relay access denied",))


def is_within(client: str, networks: Iterable[Network]) -> bool:
    """Whether a client's IP address is in one of the networks; IPv4 over an IPv6 socket counts as IPv4."""
    address = ipaddress.ip_address(client)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    subject = mapped or address
    return any(subject in network for network in networks)


class RefuseRelaying:
    """Refuses recipients to clients that may not relay, except the postmaster and the listener's own domains."""

    def __init__(self, domains: frozenset[str] = frozenset()) -> None:
        self._domains = domains

    def recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """550 for a recipient elsewhere."""
        if facts.may_relay or offer.postmaster or offer.recipient.domain in self._domains:
            return None
        return DENIED
