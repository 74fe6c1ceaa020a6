"""What a listener is: its role, its TLS, and who may send where through it.

A `Profile` is data. When the listener starts, `letterlock.receive.steps` turns it into the steps that run for each of
its sessions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from letterlock.keys import Key, RowKey
from letterlock.mail.names import DomainText
from letterlock.net.tls import ServerContext
from letterlock.receive.ask_milter import Milter
from letterlock.receive.ask_policy import PolicyService
from letterlock.receive.relay import LOOPBACK, THIS_MACHINE, Network, is_within
from letterlock.recipients.directory import Domains


class Role(StrEnum):
    """What a listener is for."""

    RELAY = "relay"  # clients in `relay_networks` send to anybody
    MX = "mx"  # anybody sends to the listener's own domains (RFC 5321)
    SUBMISSION = "submission"  # people and devices hand in new mail, after STARTTLS (RFC 6409)
    SUBMISSIONS = "submissions"  # the same, inside TLS from the first byte (RFC 8314 section 3.3)


SUBMITS = frozenset({Role.SUBMISSION, Role.SUBMISSIONS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One listener. `tls` None: no TLS. `tls_by_name` are the certificates for clients that
    ask for one of their names (SNI, RFC 6066 section 3); `tls` is for all others.

    `relay_networks` are the clients that may send to anybody; with `relay_own_machine` also those on this machine, by
    whichever of its addresses they come. `domains` are the recipients' domains that anybody may send to. `milters` and
    `policies` are the filters and policy services that are asked, in this order.
    `tls_required_no_networks` are the clients whose header `TLS-Required: No` counts; None: everybody's who may relay.
    `authenticates` mail of clients that may not relay; `seals_as` the domain whose key seals it with ARC afterwards.
    """

    role: Annotated[
        Role,
        RowKey(
            "listener.role",
            "The purpose of the listener. `relay`: clients in `relay_networks` send to anybody. `mx`: anybody "
            "sends to `domains`. `submission`: users who log in, and clients in `relay_networks`, submit new mail "
            "after STARTTLS (RFC 6409): nothing is accepted in cleartext, missing Date, Message-ID and From are "
            "added, and Bcc is removed. `submissions`: the same inside TLS from the first byte (RFC 8314).",
        ),
    ] = Role.RELAY
    tls: ServerContext | None = None
    tls_by_name: tuple[ServerContext, ...] = ()
    relay_networks: Annotated[
        tuple[Network, ...],
        Key(
            "smtp.relay_networks",
            "Clients that may send to anybody. Nobody else may relay. Unset: this machine, by loopback or by "
            "whichever of its addresses it comes to.",
        ),
    ] = LOOPBACK
    relay_own_machine: bool = False
    domains: Annotated[
        frozenset[DomainText],
        RowKey(
            "listener.domains",
            "For `mx`: domains whose mail is accepted from anybody; a `[route]` says where it goes. Unknown "
            "recipients are refused by the next hop or, with `[local]`, here.",
            most=10_000,
        ),
    ] = frozenset()
    domain_tables: tuple[Domains, ...] = ()
    authenticates: bool = False
    seals_as: Annotated[
        DomainText | None,
        RowKey(
            "listener.seal_as",
            "Seal mail that was checked with ARC (RFC 8617), by the key of this domain in `[dkim]`, for the "
            "servers that it is forwarded to. Unset: no seal.",
        ),
    ] = None
    proxies: Annotated[
        tuple[Network, ...],
        RowKey(
            "listener.proxies",
            "Load balancers that introduce their clients by the PROXY protocol, version 1 or 2. These must send its "
            "header; from others it is a syntax error.",
            most=1000,
        ),
    ] = ()
    milters: tuple[Milter, ...] = ()
    policies: tuple[PolicyService, ...] = ()
    tls_required_no_networks: Annotated[
        tuple[Network, ...] | None,
        Key(
            "smtp.tls_required_no_networks",
            "Clients whose header `TLS-Required: No` (RFC 8689) counts; `[]`: nobody's. It lifts DANE and "
            "MTA-STS for that message, and never your own rules unless they say so. Unset: all that may relay.",
        ),
    ] = None

    @property
    def implicit_tls(self) -> bool:
        """Whether the TLS handshake comes before the greeting."""
        return self.role is Role.SUBMISSIONS

    @property
    def requires_tls(self) -> bool:
        """Whether MAIL is refused in clear. An MX must not do that (RFC 3207 section 4); a submission server should."""
        return self.role in SUBMITS

    @property
    def relays(self) -> bool:
        """Whether there are clients that may send to anybody, by their address or by a login."""
        return self.relay_own_machine or bool(self.relay_networks) or self.role in SUBMITS

    def may_relay(self, client: str, *, met_at: str | None = None) -> bool:
        """Whether a client may send to anybody, by its IP address.

        `met_at` is the address that the client came to: a client that has that address itself is this machine.
        """
        own_machine = self.relay_own_machine and client == met_at
        return own_machine or is_within(client, self.relay_networks)


def profile_of_local_users(profiles: Iterable[Profile]) -> Profile | None:
    """The first profile by which clients on this machine may relay, and so local users without a connection."""
    return next((each for each in profiles if any(map(each.may_relay, THIS_MACHINE))), None)
