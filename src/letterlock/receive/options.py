"""What the listener is told."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from letterlock.mail.addresses import Mailbox
from letterlock.shares import DIVIDED, EACH

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveOptions:
    """Names, limits and time-outs of receiving. Sizes are octets, times are seconds.

    `relay_own_machine`: clients on this machine may relay too, by whichever of its addresses they come.
    `postmaster` gets what comes for `<postmaster>`; None: the postmaster of `hostname`.
    `command_timeout_seconds` bounds every silence, and the time that one command line may take (RFC 5321 section
    4.5.3.2.7: at least 5 minutes); `message_timeout_seconds` one message from DATA to its final dot.
    `max_inflight_octets` bounds the envelopes and contents of unaccepted messages of all sessions together, as they
    arrive, each twice, for a copy is made while it goes to disk; one largest message always fits. `expire_seconds` is
    how long delivery is tried. IPv6 clients are counted by /64. `tls_required_no_networks` are the clients whose header
    `TLS-Required: No` counts; None: everybody's who may relay.
    """

    hostname: str
    postmaster: Mailbox | None = None
    relay_networks: tuple[Network, ...] = LOOPBACK
    relay_own_machine: bool = False
    tls_required_no_networks: tuple[Network, ...] | None = None
    max_message_octets: Annotated[int, EACH] = 26_214_400
    max_text_line_octets: Annotated[int, EACH] = 1000
    accept_nul: bool = False
    max_recipients: Annotated[int, EACH] = 1000
    max_bad_commands: Annotated[int, EACH] = 20
    max_idle_commands: Annotated[int, EACH] = 100
    max_connections: Annotated[int, DIVIDED] = 500
    max_connections_per_client: Annotated[int, DIVIDED] = 100
    max_inflight_octets: Annotated[int, DIVIDED] = 268_435_456
    command_timeout_seconds: float = 300
    message_timeout_seconds: float = 3600
    tls_timeout_seconds: float = 60
    expire_seconds: float = 5 * 86400
