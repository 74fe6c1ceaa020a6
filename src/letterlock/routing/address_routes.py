"""Routes for single addresses: mail for them ends at a place of its own on this machine."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from letterlock.mail.addresses import Mailbox
from letterlock.routing.local_targets import FinalHop
from letterlock.routing.routes import RelayHost


@dataclass(frozen=True, slots=True)
class AliasDelivery:
    """Where mail for an alias ends, as its table says: `alias` is the address that gets it.

    Without a place, `status` and `why` say why it cannot end there.
    """

    alias: Mailbox
    place: FinalHop | None
    status: str = ""
    why: str = ""


class AliasDeliveries(Protocol):
    """The commands and Maildirs of aliases."""

    async def find(self, recipient: Mailbox) -> AliasDelivery | None:
        """Where mail for a queued address ends; None: it is a usual address."""


@dataclass(frozen=True, slots=True)
class AddressRoutes:
    """Routes by address, `local@domain` in lower case. `delimiters` divide sub-addresses, by domain; "+" elsewhere."""

    routes: Mapping[str, RelayHost] = field(default_factory=dict)
    delimiters: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.routes)

    def find(self, recipient: Mailbox) -> RelayHost | None:
        """The route of an address: its own, or without a sub-address that of the address before it."""
        local, domain = recipient.local_part.lower(), recipient.domain
        if found := self.routes.get(f"{local}@{domain}"):
            return found
        delimiter = self.delimiters.get(domain, "+")
        base = local.partition(delimiter)[0] if delimiter else ""
        return self.routes.get(f"{base}@{domain}") if base else None

    def apart(self, recipients: Sequence[Mailbox]) -> dict[RelayHost, tuple[Mailbox, ...]]:
        """The recipients that have a route of their own, by route; in their order."""
        found: dict[RelayHost, tuple[Mailbox, ...]] = {}
        for recipient in recipients:
            if (route := self.find(recipient)) is not None:
                found[route] = (*found.get(route, ()), recipient)
        return found

    def of_domain(self, domain: str) -> Collection[str]:
        """The addresses of a domain that have a route."""
        return [address for address in self.routes if address.endswith(f"@{domain}")]
