"""What a client demands of TLS, and what a listener demands of a client, as steps."""

from letterlock.mail.envelope import TlsDemand
from letterlock.mail.replies import Reply
from letterlock.mail.tls_required import says_no
from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.relay import THIS_MACHINE, Network, is_within
from letterlock.smtp.server_events import SenderOffered

TLS_FIRST = Reply(530, ("5.7.0 Must issue a STARTTLS command first",))  # RFC 3207 section 4


class RequireTls:
    """Refuses senders in clear: people's mail does not cross the network unprotected (RFC 8314 section 3.3)."""

    def sender(self, facts: Facts, _offer: SenderOffered) -> Reply | None:
        """530 outside TLS."""
        return None if facts.tls is not None else TLS_FIRST


class HeedTlsRequiredNo:
    """Notes that a message asks for delivery rather than protection.

    REQUIRETLS outranks the header (RFC 8689 section 4.1). `networks` are the clients from whom it counts; None: all
    that may relay, so that a stranger cannot lift DANE and MTA-STS for what an MX passes on.
    """

    def __init__(self, networks: tuple[Network, ...] | None = None) -> None:
        self._networks = networks

    def message(self, facts: Facts, draft: Draft) -> None:
        """Set the draft's `tls_demand`."""
        if draft.tls_demand is not TlsDemand.NONE or not says_no(draft.content):
            return
        if self._counts_from(facts):
            draft.tls_demand = TlsDemand.TLS_REQUIRED_NO

    def _counts_from(self, facts: Facts) -> bool:
        if self._networks is None:
            return facts.may_relay
        clients = (facts.client,) if facts.local_uid is None else THIS_MACHINE
        return any(is_within(client, self._networks) for client in clients)
