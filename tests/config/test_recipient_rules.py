"""`[[rule]]` in the file: what is read, what is a mistake, and that no rule opens a relay for strangers."""

from pathlib import Path

import pytest

from letterlock.config import BadConfig, Options, parse
from letterlock.config.dangers import dangers
from letterlock.mail.addresses import Mailbox
from letterlock.receive.recipient_rules import RecipientRequest, RuleAction, first_match

FILE = """
[[rule]]
match = { from = ["spam.test", "<>"], to = "list@example.org" }
action = "reject"
text = "Write to the owner of the list"

[[rule]]
match = { listener = "mx", to = ["example.org", "*.example.org"] }
action = "deliver"

[[rule]]
match = { client = "192.168.7.0/24" }
action = "relay"

[[rule]]
match = { user = "*" }
action = "relay"

[[rule]]
action = "reject"
"""


def read(text: str) -> Options:
    return parse(text, "l.toml", secrets=False)


def test_rules_are_read_in_their_order_with_their_places() -> None:
    rules = read(FILE).receive.recipient_rules
    assert [each.source for each in rules] == [f"l.toml:{line}" for line in (2, 7, 11, 15, 19)]
    assert [each.action.value for each in rules] == ["reject", "deliver", "relay", "relay", "reject"]
    assert str(rules[0].reply) == "550 5.7.1 Write to the owner of the list"

    def decided(
        recipient: str, *, sender: str = "a@b.test", client: str = "203.0.113.9", user: str | None = None
    ) -> int:
        asked = RecipientRequest(
            role="mx",
            client=client,
            user=user,
            sender=Mailbox(*sender.split("@")) if sender else None,
            recipient=Mailbox(*recipient.split("@")),
        )
        found = first_match(rules, asked)
        assert found is not None
        return rules.index(found)

    assert decided("list@example.org", sender="") == 0
    assert decided("list@example.org") == 1
    assert decided("x@far.test", client="192.168.7.8") == 2
    assert decided("x@far.test", user="ann") == 3
    assert decided("x@far.test") == 4


@pytest.mark.parametrize(
    ("rule", "at", "message"),
    [
        ('action = "relay"', "match", "open relay: match names nobody"),
        ('match = { from = "example.org" }\naction = "relay"', "match", "anybody may claim"),
        ('match = { listener = "submission" }\naction = "relay"', "match", "names nobody"),
        ('match = { to = "example.org" }\naction = "relay"', "match", "names nobody"),
        ('match = { client = "0.0.0.0/0" }\naction = "relay"', "match", "0.0.0.0/0 is a large part"),
        ('match = { client = ["0.0.0.0/1", "128.0.0.0/1"] }\naction = "relay"', "match", "0.0.0.0/1 is a large"),
        ('match = { client = "::/0" }\naction = "relay"', "match", "::/0 is a large"),
        ('action = "deliver"', "match", "accept mail for every domain"),
        ('match = { to = "*" }\naction = "deliver"', "match", "accept mail for every domain"),
        ('match = { to = ["example.org", "*"] }\naction = "deliver"', "match", "accept mail for every domain"),
        ('action = "allow"', "action", "unknown action"),
        ('match = { to = "example.org" }\naction = "deliver"\ntext = "x"', "text", "means nothing beside"),
        ('action = "reject"\ntext = "n\u00f6"', "text", "printable ASCII"),
        ('action = "reject"\nmatch = { too = "example.org" }', "too", "unknown key"),
        ('action = "reject"\nmatch = { to = "a b@example.org" }', "to", "malformed"),
        ('action = "reject"\nmatch = { client = "192.0.2.1/24" }', "client", "host bits"),
        ('action = "reject"\nmatch = { listener = "mxx" }', "listener", "unknown role"),
        ('action = "reject"\nmatch = { to = [] }', "to", "at least"),
        ('match = { to = "example.org" }', "action", "is missing"),
    ],
)
def test_a_mistake_has_its_place_and_nothing_opens_a_relay(rule: str, at: str, message: str) -> None:
    with pytest.raises(BadConfig) as caught:
        read(f"[[rule]]\n{rule}\n")
    [mistake] = caught.value.mistakes
    assert mistake.key.startswith("rule[0]")
    assert at in mistake.key
    assert message in mistake.message
    assert mistake.line is not None


def test_an_mx_needs_no_domains_where_a_rule_delivers() -> None:
    text = '[[listener]]\nrole = "mx"\nlisten = ["127.0.0.1:25"]\n'
    assert read(text + '[[rule]]\nmatch = { to = "example.org" }\naction = "deliver"\n').receive.recipient_rules
    with pytest.raises(BadConfig, match="nobody could send here"):
        read(text + '[[rule]]\naction = "reject"\n')


def test_a_rule_that_opens_much_or_hides_others_is_warned_of() -> None:
    text = """
[[rule]]
match = { client = "8.8.0.0/16" }
action = "relay"
[[rule]]
match = { to = "example.org" }
action = "deliver"
[[rule]]
action = "reject"
[[rule]]
match = { to = "late.example" }
action = "defer"
"""
    found = list(dangers(read(text), 0))
    assert any("8.8.0.0/16 is public" in each for each in found)
    assert any(each.startswith("l.toml:8: this rule always matches") for each in found)
    assert any("an mx accepts mail for example.org, and no route" in each for each in found)


def test_rules_change_on_reload(tmp_path: Path) -> None:
    from letterlock.config.reload_effects import reloaded

    running, other = read(""), read(FILE)
    assert reloaded(running, other).receive.recipient_rules == other.receive.recipient_rules
    assert other.receive.recipient_rules[0].action is RuleAction.REJECT
    assert tmp_path.exists()
