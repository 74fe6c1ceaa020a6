"""`[[rule]]`: for whom mail is accepted or refused, from top to bottom."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, create_model, model_validator

from letterlock.config.checked_values import ClientNetwork, ListenerRole, domain_name, text_of
from letterlock.config.declared import Table
from letterlock.config.mistakes import Lines, guess, wrong
from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.receive.profiles import Role
from letterlock.receive.recipient_rules import ANYBODY, DEFAULT_TEXT, AddressPatterns, RecipientRule, RuleAction
from letterlock.receive.relay import Network

MAX_RULES = 10_000  # chosen: each is asked at each recipient, until one matches; people write twenty
MAX_LISTED = 1_000  # chosen: values of one condition
MAX_TEXT = 400  # of a reply: a line has 512 octets (RFC 5321 section 4.5.3.1.5)
# The largest networks for which `relay` is believed: a site has no more, and the whole internet is an open relay.
WIDEST_PREFIX = {4: 8, 6: 16}


def _listed(value: object) -> object:
    """One value may stand without brackets."""
    return [value] if isinstance(value, str) else value


_ACTION_HINT = 'a rule says whether mail is accepted: "deliver" for your domains; where it goes, [route."DOMAIN"] says'


def _action(value: object) -> RuleAction:
    text, known = text_of(value), [each.value for each in RuleAction]
    if text not in known:
        raise wrong(f"unknown action {text!r}; one of: {', '.join(known)}", guess(text, known) or _ACTION_HINT)
    return RuleAction(text)


def _text(value: object) -> str:
    text = text_of(value)
    if not text.isascii() or not 1 <= len(text) <= MAX_TEXT:
        raise wrong(f"must be printable ASCII, at most {MAX_TEXT} characters: it is a reply of SMTP")
    return text


def _pattern(value: object) -> Mailbox | str:
    """An address, or the name of a domain, `*.` before it for all below."""
    text = text_of(value)
    if text in (ANYBODY, "<>"):
        return text
    if "@" in text[1:]:
        try:
            return parse_mailbox(text)
        except InvalidAddress as error:
            raise wrong(f"{text!r}: {error}", _PATTERNS) from None
    below = text.startswith((".", "*."))
    name = domain_name(text.removeprefix("@").removeprefix("*").removeprefix("."))
    return f"*.{name}" if below else name


_PATTERNS = 'write "ann@example.org", "example.org", "*.example.org", "<>" or "*"'
_Pattern = Annotated[Mailbox | str, PlainValidator(_pattern, json_schema_input_type=str)]


def _condition(kind: Any, text: str) -> Any:
    """A field that is a list, of which one value may stand alone."""
    return (
        Annotated[list[kind] | None, BeforeValidator(_listed, json_schema_input_type=kind | list[kind])],
        Field(None, min_length=1, max_length=MAX_LISTED, description=text),
    )


if TYPE_CHECKING:  # a model that is made when the program runs, for "from" is no name in Python
    MatchKeys = Table
else:
    MatchKeys = create_model(
        "MatchKeys",
        __base__=Table,
        **{
            "listener": _condition(ListenerRole, "Roles of listeners: `relay`, `mx`, `submission`, `submissions`."),
            "client": _condition(ClientNetwork, "Networks of clients."),
            "user": _condition(str, 'Users who logged in; `"*"`: any of them.'),
            "from": _condition(
                _Pattern,
                "Senders, as MAIL has them: addresses, domains, `*.example.org` for all below, `<>` for notifications.",
            ),
            "to": _condition(_Pattern, "Recipients, written in the same way."),
        },
    )


class MatchTable(MatchKeys):
    """The conditions of a rule; all of them must hold, and of each list one value. None at all: it always matches."""


class RecipientRuleTable(Table):
    """A rule on recipients; repeat `[[rule]]` for each. They are read from top to bottom, the first that matches
    decides. Where none does, the listener decides: by `domains`, `relay_networks` and who logged in."""

    match: MatchTable = Field(
        default_factory=lambda: MatchTable.model_validate({}),
        description='When the rule holds: `{ client = "192.0.2.0/24", to = "example.org" }`. Unset: always.',
    )
    action: Annotated[RuleAction, PlainValidator(_action, json_schema_input_type=str)] = Field(
        description="`deliver`: accept mail for `to`, which are domains of yours. `relay`: accept mail for anybody, "
        "from the `client` or `user` that is named. `reject`: answer 550. `defer`: answer 450. "
        "A `[route]` says where accepted mail goes."
    )
    text: Annotated[str, PlainValidator(_text, json_schema_input_type=str)] = Field(
        DEFAULT_TEXT, description="With `reject` and `defer`: the words of the reply, after its codes."
    )

    @property
    def accepts(self) -> bool:
        """Whether it accepts mail of anybody."""
        return self.action in (RuleAction.DELIVER, RuleAction.RELAY)

    @model_validator(mode="after")
    def _opens_no_relay(self) -> "RecipientRuleTable":
        found = recipient_rule(self, "")
        if self.action is RuleAction.DELIVER and (found.recipients is None or found.recipients.cover_all):
            raise wrong(
                "would accept mail for every domain: deliver is for domains of yours",
                'add to = "example.org" to match, or write action = "relay" and who may send',
                at="match",
            )
        if self.action is RuleAction.RELAY and (why := _open_relay(found)):
            raise wrong(f"would be an open relay: {why}", _WHO, at="match")
        if "text" in self.model_fields_set and found.reply is None:
            raise wrong(f"means nothing beside action = {self.action.value!r}", "remove it", at="text")
        return self


_WHO = 'add client = "192.0.2.0/24", or user = "*" for all who logged in; for domains of yours write "deliver"'


def _open_relay(rule: RecipientRule) -> str:
    """Why a rule that relays would do so for strangers; empty when it would not."""
    if rule.users is not None:
        return ""
    if rule.clients is None:
        return "match names nobody who may send, and `from` is what anybody may claim"
    wide = [each for each in rule.clients if each.prefixlen < WIDEST_PREFIX[each.version]]
    return f"{wide[0]} is a large part of the internet" if wide else ""


def recipient_rule(table: RecipientRuleTable, source: str) -> RecipientRule:
    """The rule of a table."""
    roles: list[Role] | None = getattr(table.match, "listener", None)
    clients: list[Network] | None = getattr(table.match, "client", None)
    users: list[str] | None = getattr(table.match, "user", None)
    return RecipientRule(
        source=source,
        action=table.action,
        text=table.text,
        roles=None if roles is None else frozenset(roles),
        clients=None if clients is None else tuple(clients),
        users=None if users is None else frozenset(users),
        senders=_patterns(getattr(table.match, "from", None)),
        recipients=_patterns(getattr(table.match, "to", None)),
    )


def _patterns(values: Sequence[Mailbox | str] | None) -> AddressPatterns | None:
    if values is None:
        return None
    domains = [each for each in values if isinstance(each, str) and each != "<>"]
    return AddressPatterns([each for each in values if isinstance(each, Mailbox)], domains, null="<>" in values)


def recipient_rules(tables: Iterable[RecipientRuleTable], source: str, lines: Lines) -> tuple[RecipientRule, ...]:
    """The rules, each with its place."""
    return tuple(
        recipient_rule(each, f"{source}:{lines[place]}" if (place := ("rule", str(number))) in lines else source)
        for number, each in enumerate(tables)
    )


def is_public(network: Network) -> bool:
    """Whether strangers have addresses of a network."""
    return not (network.is_private or network.is_loopback or network.is_link_local)
