"""Where mail goes: a next hop, and the routes by which the operator leads mail elsewhere."""

from dataclasses import dataclass

from letterlock.frozen import frozen_dataclass
from letterlock.routing.destination_rule import DestinationRule
from letterlock.routing.local_targets import FinalHop


@frozen_dataclass(frozen=True, slots=True)
class NextHop:
    """Where a message goes next: a domain (A-labels) or an address literal in brackets, and the port.

    `is_host`: the domain is itself the host, and MX is not asked for, as the operator's route says.
    """

    domain: str
    port: int = 25
    is_host: bool = False

    def __str__(self) -> str:
        name = f"[{self.domain}]" if self.is_host else self.domain
        return name if self.port == 25 else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayHost:
    """The operator's route: where mail goes instead of the MX hosts of its domain (RFC 7672 section 2.2.2).

    `domain` and `is_host` are those of the NextHop that it leads to; `port` None: the usual one. `rule` is what the
    route demands there. `source` is the place in the configuration. `lmtp`: the host speaks LMTP (RFC 2033).
    `implicit_tls`: TLS begins there with the first byte (RFC 8314 section 3). `final`:
    mail ends there, on this machine, and nothing of the rest means anything; `domain` is then its name.
    """

    domain: str
    source: str
    is_host: bool = False
    port: int | None = None
    rule: DestinationRule | None = None
    lmtp: bool = False
    implicit_tls: bool = False
    final: FinalHop | None = None

    def next_hop(self, usual_port: int) -> NextHop:
        """Where it leads."""
        return NextHop(self.domain, self.port or usual_port, self.is_host)
