"""The options of delivery: limits and time-outs."""

from dataclasses import dataclass, field
from typing import Annotated

from letterlock.keys import MAX_SECONDS, Key
from letterlock.net.sources import ANY_SOURCE, SourceAddresses
from letterlock.policy.implicit import IMPLICIT_PORT
from letterlock.routing.address_routes import AddressRoutes, AliasDeliveries
from letterlock.sasl.client_login import Credentials
from letterlock.shares import DIVIDED, EACH
from letterlock.smtp.client_steps import Step

_FIELDS: dict[Step | None, str] = {
    Step.GREETING: "greeting",
    Step.EHLO: "hello",
    Step.HELO: "hello",
    Step.LHLO: "hello",
    Step.STARTTLS: "starttls",
    Step.AUTH: "starttls",
    Step.RCPT: "recipient",
    Step.DATA: "data",
    Step.MESSAGE: "message",
    Step.NO_MESSAGE: "message",
    Step.QUIT: "goodbye",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long the client waits, in seconds; the defaults are those of RFC 5321 section 4.5.3.2 where it has one.

    Each bounds the wait for one whole answer, however slowly it drips in; `block` bounds the writing of 64 KiB, and
    `session` everything from the connection to the last answer.
    """

    connect: Annotated[
        float,
        Key(
            "delivery.connect_timeout_seconds",
            "How long a connection may take to be made.",
            above=0,
            most=MAX_SECONDS,
        ),
    ] = 30.0  # as Postfix (smtp_connect_timeout)
    greeting: float = 300.0
    hello: float = 300.0
    starttls: float = 120.0  # chosen: as DATA, for neither needs a decision about mail
    handshake: float = 60.0  # chosen: two round trips and a signature; slow hosts take seconds
    mail: float = 300.0
    recipient: float = 300.0
    data: float = 120.0
    block: float = 180.0
    message: float = 600.0
    goodbye: float = 5.0  # chosen: nothing depends on it any more
    session: float = 7200.0  # chosen: two hours, so that a server that drips its answers comes to an end

    def answer(self, step: Step | None) -> float:
        """How long the answer to a command may take."""
        seconds: float = getattr(self, _FIELDS.get(step, "mail"))
        return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverOptions:
    """How mail is sent. `hostname` is what we call ourselves in EHLO, `port` the MX hosts' port.

    `max_hosts`, `max_addresses` (of one host) and `max_sessions` bound one attempt (RFC 5321 section 5.1 wants at least
    two addresses tried), `max_handshakes_per_host` the sessions with one host in the making at once, and
    `max_connections_per_host` those that are open as well. `source`: the
    addresses that are dialled from. `max_waiting` leased tasks wait in memory for a slot, without their content; but
    for what was just accepted. `max_content_octets` bounds the contents in memory, of what was just accepted and of
    what is being sent, which counts twice; one delivery may always go on. A lease lasts
    `lease_seconds` and is renewed while the attempt goes on. Sessions are kept for the next message for `idle_seconds`,
    `max_idle_sessions` of them, and for `max_session_age_seconds` in all. `ignore_ehlo`: keywords of
    EHLO replies that are read as if they were not there. `login`: who logs in at the relay host.
    `implicit_port`: where implicit TLS can be announced; another for a laboratory. A command must not see
    what is in `private_directories`. Recipients with a route in `addresses` get their mail there, and
    `aliases` knows the commands and Maildirs of aliases; None: there are none.
    """

    hostname: str
    private_directories: tuple[str, ...] = ()
    addresses: AddressRoutes = field(default_factory=AddressRoutes)
    aliases: AliasDeliveries | None = None
    port: Annotated[
        int,
        Key("delivery.port", "Port of the MX hosts; TLSA records are asked for this port.", least=1, most=65535),
    ] = 25
    max_concurrent: Annotated[int, DIVIDED] = 50  # chosen: mostly they wait for replies; more of them only take memory
    max_concurrent_per_destination: Annotated[
        int,
        DIVIDED,
        Key(
            "delivery.max_concurrent_per_destination",
            "Most deliveries at once to a domain, or to where routes lead several.",
            least=1,
            most=10_000,
        ),
    ] = 10  # chosen: half of the connections that one host gets
    max_handshakes_per_host: Annotated[
        int,
        DIVIDED,
        Key(
            "delivery.max_handshakes_per_host",
            "Most sessions being set up at once with one host name, and with one address: TCP, greeting, TLS.",
            least=1,
            most=10_000,
        ),
    ] = 8  # chosen: each costs the host a signature, so they come a few at a time; a slow one needs some
    max_connections_per_host: Annotated[int, DIVIDED] = 20  # as Postfix (default_destination_concurrency_limit)
    source: SourceAddresses = ANY_SOURCE
    max_waiting: Annotated[int, DIVIDED] = 10_000  # chosen: tasks of some KB each, without their contents
    max_hosts: Annotated[int, EACH] = 10  # chosen: the largest sites publish five to ten MX hosts
    max_addresses: Annotated[int, EACH] = 5  # as Postfix (smtp_mx_address_limit)
    max_sessions: Annotated[int, EACH] = 12  # chosen: one attempt ends within minutes even where each host times out
    max_content_octets: Annotated[int, DIVIDED] = 1 << 28  # chosen: 256 MiB, as for what arrives
    lease_seconds: float = (
        300.0  # chosen: after a crash mail waits so long at most; it is renewed three times meanwhile
    )
    idle_seconds: Annotated[
        float,
        Key(
            "delivery.idle_seconds",
            "How long a session is kept for the next message; 0: a session for each message. While a worker keeps more "
            "than 100, those that carried one message only are kept for two fifths of it.",
            least=0,
            most=300,
        ),
    ] = 5.0  # chosen: a burst of messages comes within seconds; some servers end a session after ten
    max_idle_sessions: Annotated[int, DIVIDED] = 100  # chosen: twice the deliveries at once
    max_session_age_seconds: Annotated[float, EACH] = 300.0  # as Postfix (smtp_connection_reuse_time_limit)
    ignore_ehlo: frozenset[str] = frozenset()
    login: Credentials | None = None
    implicit_tls: Annotated[
        bool,
        Key(
            "delivery.implicit_tls",
            "Experimental: try TLS before SMTP, in a race with STARTTLS, at MX hosts that announce it in signed DNS, "
            "by TLSA records for port 465 or SRV records of `_smtp-tls._tcp`. Off: nothing is looked up for it.",
            restart=True,
        ),
    ] = False
    implicit_port: int = IMPLICIT_PORT
    timeouts: Timeouts = field(default_factory=Timeouts)
