"""`letterlock setup DOMAIN`: what it makes is whole, works, and is never made twice."""

import asyncio
import os
import pwd
import re
import time
from pathlib import Path

import dns.message
import pytest

from letterlock.cli.setup import server_files
from letterlock.cli.setup.published_records import compare
from letterlock.cli.setup.server_files import dkim_records, make_files, tlsa_data
from letterlock.cli.setup.server_plan import DnsRecord, ServerPlan, records, zone_text
from letterlock.config import ResolverOptions, load
from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.dns_server import serving
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Zone
from letterlock.net.dns import Upstream
from letterlock.resolver import parse_anchors
from tests.cli.running import Ran, letterlock

OWNER = pwd.getpwuid(os.geteuid()).pw_name


async def setup(directory: Path, *more: str, domain: str = "example.org") -> Ran:
    places = "--directory", directory / "etc", "--queue", directory / "queue", "--owner", OWNER
    maildirs = f"maildir:{directory}/mail/{{local}}"
    return await letterlock("setup", domain, *places, "--next-hop", maildirs, "--address", "192.0.2.10", *more)


async def test_a_new_operator_has_a_configuration_without_mistakes(tmp_path: Path) -> None:
    ran = await setup(tmp_path, "--user", "ann", "--user", "bob")
    etc = tmp_path / "etc"
    options = load(etc / "letterlock.toml")
    assert options.hostname == "mx.example.org"
    assert sorted(each.name for each in etc.iterdir()) == sorted(
        ["aliases", "cert.pem", "dkim-ed1.pem", "dkim-rsa1.pem", "key.pem", "letterlock.toml", "mailboxes", "users"]
    )
    for secret in ("dkim-ed1.pem", "dkim-rsa1.pem", "key.pem", "users"):
        assert mode(etc / secret) == 0o600
    assert (etc / "aliases").read_text() == "postmaster: ann\nabuse: ann\n"
    assert "no mistakes" in ran.out
    assert len(re.findall(r"^user (\w+)@example.org has the password \S{20};", ran.out, re.MULTILINE)) == 2
    assert "example.org. IN MX 10 mx.example.org." in ran.out
    assert "10.2.0.192.in-addr.arpa. IN PTR mx.example.org." in ran.out
    assert ran.err == ""


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_what_exists_is_kept_and_new_users_are_added(tmp_path: Path) -> None:
    await setup(tmp_path, "--user", "ann")
    etc = tmp_path / "etc"
    before = {each.name: each.read_bytes() for each in etc.iterdir()}
    again = await setup(tmp_path, "--user", "ann")
    assert {each.name: each.read_bytes() for each in etc.iterdir()} == before
    assert "password" not in again.out
    more = await setup(tmp_path, "--user", "cat")
    assert "user cat@example.org has the password" in more.out
    assert (etc / "mailboxes").read_text() == "ann\ncat\n"
    changed = {each.name for each in etc.iterdir() if each.read_bytes() != before[each.name]}
    assert changed == {"mailboxes", "users"}


async def test_a_configuration_of_something_else_is_set_aside_only_on_request(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "letterlock.toml").write_text("# precious\n")
    ran = await setup(tmp_path)
    assert (ran.status, "--replace" in ran.err) == (1, True)
    assert [each.name for each in etc.iterdir()] == ["letterlock.toml"]
    await setup(tmp_path, "--replace")
    assert (etc / "letterlock.toml.before-setup").read_text() == "# precious\n"
    assert load(etc / "letterlock.toml").hostname == "mx.example.org"


async def test_a_configuration_of_a_longer_name_is_of_another_domain(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "letterlock.toml").write_text('hostname = "mx.example.org"\n[local."example.org.uk"]\n')
    ran = await setup(tmp_path)
    assert (ran.status, "is not about example.org" in ran.err) == (1, True)


async def test_a_kill_between_two_files_is_made_good_by_the_next_run(tmp_path: Path) -> None:
    await setup(tmp_path)
    key = (tmp_path / "etc/key.pem").read_bytes()
    for name in ("cert.pem", "letterlock.toml", "users", "aliases", "dkim-ed1.pem"):
        (tmp_path / "etc" / name).unlink()
    (tmp_path / "etc/.cert.pem.new").write_text("half of")
    await setup(tmp_path)
    assert (tmp_path / "etc/key.pem").read_bytes() == key
    assert load(tmp_path / "etc/letterlock.toml").listeners, "the certificate belongs to the key"


@pytest.mark.parametrize(
    "arguments",
    [("--user", "Ann"), ("--user", "a b"), ("--user", "../x"), ("--hostname", "mx"), ("--hostname", "a..b")],
)
async def test_names_that_are_none_are_usage_errors(tmp_path: Path, arguments: tuple[str, str]) -> None:
    assert (await setup(tmp_path, *arguments)).status == 2
    assert not (tmp_path / "etc").exists()


async def test_without_the_service_user_root_is_told_how_to_make_it(tmp_path: Path) -> None:
    ran = await setup(tmp_path, "--owner", "nobody-of-that-name")
    if os.geteuid() == 0:
        assert (ran.status, "useradd --system" in ran.err) == (1, True)


def wanted(directory: Path) -> list[DnsRecord]:
    plan = ServerPlan(
        domain="example.test", hostname="mx.example.test", directory=directory, queue=directory / "queue",
        next_hop="lmtp:[127.0.0.1]:24", addresses=("127.0.0.10",), users=("ann",),
    )  # fmt: skip
    make_files(plan, None)
    found = records(plan, dkim_records(plan), tlsa_data(plan))
    return [each for each in found if each.rdtype != "PTR"]


def published(found: list[DnsRecord], *, signed: bool) -> NameSpace:
    """A root and a zone with these records, as a zone file has them."""
    root = Zone(".", key=ZoneKey.make())
    zone = Zone("example.test.", key=ZoneKey.make() if signed else None)
    for line in zone_text(iter(found)):
        name, _, rdtype, data = line.split(" ", 3)
        zone.add(name, rdtype, data)
    root.delegate(zone)
    for each in (root, zone):
        each.publish(Validity.around(time.time()))
    return NameSpace([root, zone])


async def looked_up(names: NameSpace, found: list[DnsRecord]) -> list[tuple[str, str]]:
    def answer(query: dns.message.Message) -> dns.message.Message:
        return names.answer(query)

    async with serving("127.0.0.1", answer) as port:
        options = ResolverOptions(
            upstreams=(Upstream("127.0.0.1", port),), anchors=tuple(parse_anchors(names.anchor(), "test"))
        )
        judged = await asyncio.to_thread(compare, found, options)
    return [(each.level, each.text) for each in judged]


async def test_records_that_are_published_are_found(tmp_path: Path) -> None:
    found = wanted(tmp_path)
    judged = await looked_up(published(found, signed=True), found)
    assert [level for level, _ in judged] == ["ok"] * len(found), judged


async def test_records_that_are_missing_or_others_are_named(tmp_path: Path) -> None:
    found = wanted(tmp_path)
    spf = DnsRecord("example.test", "TXT", "v=spf1 -all")
    other = [spf if each.data.startswith("v=spf1 mx") else each for each in found]
    present = [each for each in other if each.rdtype not in ("MX", "SRV")]
    judged = {text: level for level, text in await looked_up(published(present, signed=False), found)}
    assert judged["example.test MX is missing: 10 mx.example.test."] == "error"
    assert judged["example.test TXT is missing: v=spf1 mx -all; published is: v=spf1 -all"] == "error"
    assert judged["_submission._tcp.example.test SRV is missing: 0 1 587 mx.example.test."] == "warning"
    assert (
        judged["_25._tcp.mx.example.test TLSA is published, but the zone is not signed: DANE ignores it"] == "warning"
    )


async def test_what_is_no_address_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    ran = await setup(tmp_path, "--address", "foo")
    assert (ran.status, "'foo' is no IP address" in ran.err) == (2, True)
    assert not (tmp_path / "etc").exists()


def test_the_list_of_mailboxes_is_never_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "mailboxes").write_text("ann\n")
    monkeypatch.setattr(os, "fsync", fail)
    plan = ServerPlan(
        domain="example.org",
        hostname="mx.example.org",
        directory=tmp_path,
        queue=tmp_path,
        next_hop="maildir:/m",
        addresses=(),
        users=("bob",),
    )
    with pytest.raises(OSError, match="No space left"):
        server_files._add_mailboxes(server_files.MadeFiles(), plan, None)
    assert (tmp_path / "mailboxes").read_text() == "ann\n"
