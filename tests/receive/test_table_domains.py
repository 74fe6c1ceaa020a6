"""Domains in a table: accepted without a reload, delivered where `[hosted]` says, put off while the table is away."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.config import BadConfig, load
from letterlock.deliver.apart import attempt_whole
from letterlock.mail.addresses import parse_mailbox
from letterlock.queue.tasks import OutcomeKind
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.targets import Entry
from letterlock.routing.local_targets import LmtpSocket, Maildir
from letterlock.tables.domains_of_table import DomainsOfTable
from tests.cli.running import letterlock
from tests.deliver.test_lmtp import kinds, routed
from tests.deliver.world import BODY, OPTIONS, make_task
from tests.receive.world import world

CONFIG = """
[[listener]]
role = "mx"
listen = ["127.0.0.1:2525"]
domains = ["own.example"]
domain_tables = ["domains"]

[table.domains]
file = "domains"

[table.people]
file = "people"

[hosted.domains]
mailboxes = ["people"]
next_hop = "maildir:@/mail/{domain}/{local}"
create_mailboxes = true

[local."own.example"]
mailboxes = ["people"]

[route."own.example"]
next_hop = "lmtp:/run/lmtp"
"""


class Table:
    """Entries in memory, or none to be had."""

    name = "domains"

    def __init__(self) -> None:
        self.domains = {"one.example"}
        self.away = False
        self.asked: list[str] = []

    async def find(self, key: str) -> Entry | None:
        self.asked.append(key)
        if self.away:
            raise TableFailed("table domains: away")
        return () if key in self.domains else None


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "mail/rest").mkdir(parents=True)
    (tmp_path / "domains").write_text("one.example\ntwo.example OK\n")
    (tmp_path / "people").write_text("ann@one.example\nbob@two.example\ncarl@own.example\n")
    (tmp_path / "letterlock.toml").write_text(CONFIG.replace("@", str(tmp_path)))
    return tmp_path


async def test_a_domain_is_accepted_as_soon_as_it_is_in_the_table(home: Path) -> None:
    """No recipient elsewhere, no unknown one, and nobody relays; a table that is away is not "relay access denied"."""
    options = load(home / "letterlock.toml")
    table, now = Table(), [1.0]
    profile = replace(options.listeners[0].profile, domain_tables=(DomainsOfTable(table, lambda: now[0]),))
    codes = list[bytes]()
    async with world(replace(options.receive, site=None), profile) as running, running.client() as client:
        await client.reply()
        for line in (b"EHLO client.example", b"MAIL FROM:<eve@example.net>"):
            await client.ask(line + b"\r\n")

        async def rcpt(address: str) -> None:
            codes.append((await client.ask(f"RCPT TO:<{address}>\r\n".encode()))[:9])

        for address in ("a@one.example", "b@ONE.example", "a@new.example", "a@sub.one.example", "c@own.example"):
            await rcpt(address)
        assert codes == [b"250 2.1.5", b"250 2.1.5", b"550 5.7.1", b"550 5.7.1", b"250 2.1.5"]
        assert table.asked == ["one.example", "new.example", "sub.one.example"], "once in a second, and not for ours"
        table.domains.add("new.example")
        now[0] += 1.0
        await rcpt("a@new.example")
        table.away = True
        now[0] += 1.0
        for address in ("z@one.example", "a@elsewhere.example", "d@own.example"):
            await rcpt(address)
    assert codes[5:] == [b"250 2.1.5", b"451 4.3.0", b"451 4.3.0", b"250 2.1.5"]


@pytest.mark.parametrize("away", [0, 1])
async def test_one_table_that_has_the_domain_is_enough_while_another_is_away(home: Path, away: int) -> None:
    options, tables = load(home / "letterlock.toml"), (Table(), Table())
    tables[away].away = True
    asked = tuple(DomainsOfTable(each, lambda: 0.0) for each in tables)
    profile = replace(options.listeners[0].profile, domain_tables=asked)
    async with world(replace(options.receive, site=None), profile) as running, running.client() as client:
        await client.reply()
        for line in (b"EHLO client.example", b"MAIL FROM:<eve@example.net>"):
            await client.ask(line + b"\r\n")
        assert (await client.ask(b"RCPT TO:<a@one.example>\r\n"))[:3] == b"250"
        assert (await client.ask(b"RCPT TO:<a@elsewhere.example>\r\n"))[:9] == b"451 4.3.0"


async def test_who_may_relay_needs_no_look(home: Path) -> None:
    options = load(home / "letterlock.toml")
    table = Table()
    table.away = True
    profile = replace(
        options.listeners[0].profile, domain_tables=(DomainsOfTable(table, lambda: 0.0),), relay_own_machine=True
    )
    async with world(replace(options.receive, site=None), profile) as running, running.client() as client:
        await client.reply()
        for line in (b"EHLO client.example", b"MAIL FROM:<eve@example.net>"):
            await client.ask(line + b"\r\n")
        assert (await client.ask(b"RCPT TO:<a@elsewhere.example>\r\n"))[:3] == b"250"
    assert not table.asked


async def test_its_recipients_are_known_and_its_mail_ends_where_it_says(home: Path) -> None:
    options = load(home / "letterlock.toml")
    site = options.receive.site
    assert site is not None
    refused = [await site.refusal(parse_mailbox(f"{each}.example"), 0.0) for each in ("ann@one", "ann@two", "ann@no")]
    assert [each and each.status for each in refused] == [None, "5.1.1", None]
    deliver = replace(OPTIONS, aliases=options.deliver.aliases)
    ann, eve = parse_mailbox("ann@one.example"), parse_mailbox("eve@elsewhere.example")
    made = await attempt_whole(
        make_task(ann, eve), BODY, ports=routed(Maildir(f"{home}/mail/rest/{{local}}", create=True)), options=deliver
    )
    assert kinds(made) == [OutcomeKind.DELIVERED] * 2
    assert list((home / "mail/one.example/ann/new").iterdir())
    assert list((home / "mail/rest/eve/new").iterdir())
    assert options.maildirs == (Maildir(f"{home}/mail/{{domain}}/{{local}}", create=True),)


async def test_mail_waits_while_the_table_is_away(home: Path) -> None:
    """It must not go to the domain's MX hosts instead, which are we."""
    (home / "domains").unlink()
    options = load(home / "letterlock.toml")
    deliver = replace(OPTIONS, aliases=options.deliver.aliases)
    task = make_task(parse_mailbox("ann@one.example"))
    outcome = (await attempt_whole(task, BODY, ports=routed(LmtpSocket("/none")), options=deliver)).outcomes[0]
    assert (outcome.kind, outcome.status) == (OutcomeKind.DEFERRED, "4.3.0")
    assert "table domains" in outcome.text


async def test_route_and_config_check_show_it(home: Path) -> None:
    config = home / "letterlock.toml"
    shown = await letterlock("route", "--config", config, "ann@one.example")
    assert shown.status == 0
    assert "accepted from anybody, at 127.0.0.1:2525: one.example is in table domains" in shown.out
    assert f"next hop maildir:{home}/mail/{{domain}}/{{local}}: [hosted] has its domain, by a table" in shown.out
    assert (await letterlock("route", "--config", config, "eve@one.example")).status == 1
    elsewhere = await letterlock("route", "--config", config, "--client", "192.0.2.1", "eve@elsewhere.example")
    assert "550 5.7.1 Relay access denied" in elsewhere.out
    (home / "domains").unlink()
    away, checked = await asyncio.gather(
        letterlock("route", "--config", config, "ann@one.example"), letterlock("config", "check", "--config", config)
    )
    assert (away.status, "put off with 451: table domains" in away.out) == (3, True)
    assert "warning  table domains" in checked.out


@pytest.mark.parametrize(
    ("change", "key", "hint"),
    [
        (('domain_tables = ["domains"]', 'domain_tables = ["domain"]'), "listener[0].domain_tables[0]", "domains"),
        (("[hosted.domains]", "[hosted.customers]"), "hosted.customers", 'add [table."customers"]'),
        (('[table.domains]\nfile = "domains"', "[table.domains]\nsystem_users = true"), "hosted.domains", "a query"),
        (('role = "mx"', 'role = "relay"'), "domains", 'write role = "mx"'),
        (("maildir:@/mail/{domain}/{local}", "[relay.test]"), "hosted.domains.next_hop", "lmtp:"),
        (('["people"]\nnext_hop', '["peple"]\nnext_hop'), "hosted.domains.mailboxes[0]", "people"),
    ],
)
def test_mistakes(home: Path, change: tuple[str, str], key: str, hint: str) -> None:
    config = home / "letterlock.toml"
    config.write_text(CONFIG.replace(*change).replace("@", str(home)))
    with pytest.raises(BadConfig) as mistakes:
        load(config)
    text = str(mistakes.value)
    assert key in text
    assert hint in text
