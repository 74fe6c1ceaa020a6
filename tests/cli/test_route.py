"""`letterlock route`: which table, route and rule apply to an address."""

from pathlib import Path

import pytest

from tests.cli.running import letterlock

ALIASES = "info: ann, bob@example.net\nteam: bob@example.net\nowner-team: ann\nold: error:\n"
CONFIG = """
[[listener]]
role = "mx"
listen = ["127.0.0.1:2525"]
domains = ["example.org"]

[[listener]]
role = "relay"
listen = ["127.0.0.1:2526"]

[table.aliases]
file = "aliases"

[table.people]
file = "people"

[local."example.org"]
aliases = ["aliases"]
mailboxes = ["people"]

[route."example.org"]
next_hop = "maildir:/var/mail/{domain}/{local}"

[domain."example.net"]
tls = "require-tls"

[sender."example.org"]
tls = "verify"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "aliases").write_text(ALIASES)
    (tmp_path / "people").write_text("ann\n")
    path = tmp_path / "letterlock.toml"
    path.write_text(CONFIG)
    return path


async def test_an_alias_is_followed_to_its_ends(config: Path) -> None:
    ran = await letterlock("route", "--config", config, "info@example.org")
    assert ran.status == 0, ran
    assert ran.out.splitlines()[:5] == [
        "info@example.org",
        "  accepted from anybody, at 127.0.0.1:2525; who may relay, at 127.0.0.1:2526 (relay)",
        "  info@example.org: table aliases, entry info -> ann, bob@example.net",
        "  ann@example.org: table people, entry ann",
        "  -> ann@example.org",
    ]
    assert "     next hop maildir:/var/mail/{domain}/{local}: the route at " in ran.out
    assert "     next hop the MX hosts of example.net: no [route] leads it elsewhere" in ran.out
    assert "     rule tls = require-tls by " in ran.out


async def test_the_sender_counts(config: Path) -> None:
    ran = await letterlock("route", "--config", config, "bob@example.net", "--from", "ann@example.org")
    assert "rule tls = verify by " in ran.out


async def test_a_list_is_shown_with_its_owner(config: Path) -> None:
    data = (await letterlock("route", "--config", config, "--json", "team@example.org")).data
    assert data["goes_to"][0]["sender"] == "owner-team@example.org: the owner of the list"


@pytest.mark.parametrize(
    ("address", "why"),
    [("eve@example.org", "550 5.1.1 No such user here"), ("old@example.org", "550 5.7.1 Not accepted")],
)
async def test_a_refusal_is_shown_as_the_client_will_see_it(config: Path, address: str, why: str) -> None:
    ran = await letterlock("route", "--config", config, address)
    assert ran.status == 1
    assert f"  refused: {why}" in ran.out.splitlines()


async def test_a_table_that_cannot_be_read_is_no_refusal(config: Path) -> None:
    (config.parent / "aliases").unlink()
    ran = await letterlock("route", "--config", config, "ann@example.org")
    assert ran.status == 3
    assert "put off with 451: table aliases: " in ran.out


async def test_what_is_no_address_is_a_usage_error(config: Path) -> None:
    ran = await letterlock("route", "--config", config, "no address")
    assert ran.status == 2
    assert "Invalid value for 'ADDRESS'" in ran.err


RULES = """
[[rule]]
match = { from = "spam.test" }
action = "reject"
text = "Not wanted"

[[rule]]
match = { client = "192.168.7.0/24", listener = "mx" }
action = "relay"

[[rule]]
match = { user = "carl", to = "example.net" }
action = "relay"

[[rule]]
match = { to = "late.example" }
action = "defer"
"""


@pytest.fixture
def ruled(config: Path) -> Path:
    config.write_text(CONFIG + RULES)
    return config


@pytest.mark.parametrize(
    ("arguments", "status", "lines"),
    [
        (
            ("bob@example.net",),
            0,
            [
                "rule 1 at FILE:30: reject with 550 5.7.1 Not wanted, if the sender is spam.test",
                "rule 2 at FILE:35: relay, if the client is in 192.168.7.0/24 and it comes to a listener with the",
                "rule 3 at FILE:39: relay, if carl logged in",
                "otherwise accepted from who may relay, at 127.0.0.1:2526 (relay)",
                "-> bob@example.net",
            ],
        ),
        (("bob@example.net", "--from", "a@spam.test"), 1, ["rule 1 at FILE:30: reject with 550 5.7.1 Not wanted"]),
        (("bob@example.net", "--from", "<>", "--user", "carl"), 0, ["rule 3 at FILE:39: relay", "-> bob@example.net"]),
        (
            ("bob@example.net", "--from", "a@b.test", "--client", "192.168.7.8"),
            0,
            ["rule 2 at FILE:35: relay, if it comes to a listener with the role mx", "-> bob@example.net"],
        ),
        (("bob@example.net", "--from", "a@b.test", "--client", "203.0.113.9"), 1, ["refused: 550 5.7.1 Relay access"]),
        (
            ("ann@example.org", "--from", "a@b.test", "--client", "203.0.113.9"),
            0,
            ["accepted from anybody, at", "-> ann@"],
        ),
        (
            ("bob@example.net", "--from", "a@b.test", "--client", "127.0.0.1"),
            0,
            ["accepted from 127.0.0.1, at 127.0.0.1:2526"],
        ),
        (
            ("x@late.example", "--from", "a@b.test"),
            1,
            ["rule 4 at FILE:43: defer with 450 4.7.1", "refused: 450 4.7.1"],
        ),
    ],
)
async def test_the_rules_that_decide_are_shown(
    ruled: Path, arguments: tuple[str, ...], status: int, lines: list[str]
) -> None:
    ran = await letterlock("route", "--config", ruled, *arguments)
    assert ran.status == status, ran
    out = ran.out.replace(str(ruled), "FILE")
    at = 0
    for line in lines:
        at = out.find(line, at)
        assert at >= 0, (line, out)


async def test_a_client_that_is_no_address_is_a_usage_error(ruled: Path) -> None:
    ran = await letterlock("route", "--config", ruled, "a@b.test", "--client", "host")
    assert ran.status == 2
    assert "is no IP address" in ran.err


async def test_the_guide_shows_what_its_own_example_does(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "rules-and-routes.md").read_text()
    section = guide.partition("## Rules on recipients")[2]
    (tmp_path / "letterlock.toml").write_text(section.partition("```toml\n")[2].partition("```")[0])
    command, _, shown = section.partition("```console\n$ letterlock ")[2].partition("```")[0].partition("\n")
    ran = await letterlock(*command.split(), "--config", tmp_path / "letterlock.toml")
    assert ran.status == 1
    assert ran.out.replace(f"{tmp_path}/", "") == shown
