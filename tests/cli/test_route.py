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
