"""The operator's list of rules on recipients: read from top to bottom, the first that matches decides.

A rule says for whom mail is accepted, or refused; where accepted mail goes is up to the routes, which are looked up
anew at each attempt to deliver, for mail that waits too. Where no rule matches, the listener decides as without rules.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.receive.pipeline import Facts
from letterlock.receive.relay import Network, RefuseRelaying, is_within
from letterlock.routing.domain_table import DomainTable
from letterlock.smtp.server_events import RecipientOffered

ANYBODY = "*"
DEFAULT_TEXT = "Not accepted here"


class RuleAction(StrEnum):
    """What becomes of a recipient."""

    DELIVER = "deliver"  # accepted: its domain is one of ours
    RELAY = "relay"  # accepted, wherever it is, from somebody who may send through us
    REJECT = "reject"  # 550
    DEFER = "defer"  # 450


# For every action: one that is missing here must not accept mail.
_CODES = {
    RuleAction.DELIVER: None,
    RuleAction.RELAY: None,
    RuleAction.REJECT: (550, "5.7.1"),
    RuleAction.DEFER: (450, "4.7.1"),
}


class AddressPatterns:
    """Addresses: `ann@example.org`, `example.org`, `*.example.org` (all below it), `<>` (no sender), `*` (any)."""

    __slots__ = ("_domains", "_mailboxes", "_null", "written")

    def __init__(self, mailboxes: Iterable[Mailbox] = (), domains: Iterable[str] = (), *, null: bool = False) -> None:
        """`null`: no sender, as notifications have none."""
        self._mailboxes = frozenset(_folded(each) for each in mailboxes)
        named = tuple(domains)
        self._domains = DomainTable(dict.fromkeys(named, ANYBODY))
        self._null = null
        self.written = (*map(str, sorted(self._mailboxes)), *named, *(("<>",) if null else ()))

    def cover(self, address: Mailbox | None) -> bool:
        """Whether an address is one of them; None is no sender."""
        if self.cover_all:
            return True
        if address is None:
            return self._null
        return self._domains.find(address.domain) is not None or _folded(address) in self._mailboxes

    @property
    def cover_all(self) -> bool:
        """Whether every address is one of them."""
        return ANYBODY in self.written

    def names(self) -> Iterator[str]:
        """The domains, without those that only have a wildcard."""
        return (each for each in self.written if "@" not in each and each[0] not in "*.<")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRequest:
    """What a rule is asked about. `user` None: nobody has logged in."""

    role: str
    client: str
    user: str | None
    sender: Mailbox | None
    recipient: Mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRule:
    """One rule: all of its conditions must hold; None: there is no such condition. `source` is its place."""

    source: str
    action: RuleAction
    text: str = DEFAULT_TEXT
    roles: frozenset[str] | None = None
    clients: tuple[Network, ...] | None = None
    users: frozenset[str] | None = None
    senders: AddressPatterns | None = None
    recipients: AddressPatterns | None = None
    reply: Reply | None = field(init=False)

    def __post_init__(self) -> None:
        """Make the reply once."""
        refusal = _CODES[self.action]
        reply = None if refusal is None else Reply(refusal[0], (f"{refusal[1]} {self.text}",))
        object.__setattr__(self, "reply", reply)

    @property
    def always_matches(self) -> bool:
        """Whether it has no condition, or none but wildcards."""
        open_paths = all(each is None or each.cover_all for each in (self.senders, self.recipients))
        return open_paths and self.roles is None and self.clients is None and self.users is None

    def names_the_mail(self, sender: Mailbox | None, recipient: Mailbox) -> bool:
        """Whether sender and recipient are those of the rule."""
        fits = self.recipients is None or self.recipients.cover(recipient)
        return fits and (self.senders is None or self.senders.cover(sender))

    def names_the_user(self, user: str | None) -> bool:
        """Whether who logged in, if anybody did, is of the rule."""
        return self.users is None or (user is not None and (user in self.users or ANYBODY in self.users))

    def names_the_client(self, client: str) -> bool:
        """Whether a client's IP address is of the rule."""
        return self.clients is None or is_within(client.partition("%")[0], self.clients)

    def matches(self, asked: RecipientRequest) -> bool:
        """Whether all conditions hold."""
        return (
            self.names_the_mail(asked.sender, asked.recipient)
            and (self.roles is None or asked.role in self.roles)
            and self.names_the_user(asked.user)
            and self.names_the_client(asked.client)
        )


def first_match(rules: Sequence[RecipientRule], asked: RecipientRequest) -> RecipientRule | None:
    """The rule that decides; None: no rule does."""
    return next((rule for rule in rules if rule.matches(asked)), None)


class FollowRules:
    """The step. `otherwise` decides where no rule does; None: then the recipient is accepted, as from local users."""

    def __init__(self, rules: Sequence[RecipientRule], role: str, otherwise: RefuseRelaying | None) -> None:
        self._rules = rules
        self._role = role
        self._otherwise = otherwise

    def recipient(self, facts: Facts, offer: RecipientOffered) -> Reply | None:
        """The reply of the rule; everybody may write to the postmaster (RFC 5321 section 4.5.1)."""
        if offer.postmaster:
            return None
        asked = RecipientRequest(
            role=self._role,
            client=facts.client,
            user=facts.user,
            sender=offer.reverse_path,
            recipient=offer.recipient,
        )
        rule = first_match(self._rules, asked)
        if rule is not None:
            return rule.reply
        return None if self._otherwise is None else self._otherwise.recipient(facts, offer)


def _folded(address: Mailbox) -> Mailbox:
    return Mailbox(address.local_part.lower(), address.domain)
