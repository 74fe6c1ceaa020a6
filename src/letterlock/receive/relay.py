"""Who may send where. There are no local mailboxes yet, so every recipient is a request to relay."""

import ipaddress
from collections.abc import Iterable

from letterlock.mail.replies import Reply
from letterlock.receive.options import Network

DENIED = Reply(550, ("5.7.1 relaying denied",))


def refuse_relaying(client: str, networks: Iterable[Network], *, met_at: str | None = None) -> Reply | None:
    """The reply that refuses a recipient to a client, by its IP address; None when it may relay.

    An IPv4 client that came over an IPv6 socket counts as IPv4. `met_at` is the address that the client came to, where
    this machine may relay: a client that has that address itself is this machine.
    """
    return None if client == met_at or is_within(client, networks) else DENIED


def is_within(client: str, networks: Iterable[Network]) -> bool:
    """Whether a client's IP address is in one of the networks; IPv4 over an IPv6 socket counts as IPv4."""
    address = ipaddress.ip_address(client)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    subject = mapped or address
    return any(subject in network for network in networks)
