"""`letterlock dkim rotate` and `dkim status`: a change of keys from the first command to the last."""

import asyncio
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rrset
import pytest
from click.testing import CliRunner, Result

from letterlock.admin.client import NotRunning, ServerError
from letterlock.cli import dkim, dkim_rotation
from letterlock.config import load
from letterlock.discover.authoritative import AuthoritativeView, ServerView, look_everywhere
from letterlock.dkim import Signer, read_signing_key
from letterlock.mailauth.dkim.rotation import KeyPhase, Keys
from letterlock.state.key_directory import KeyDirectory
from tests.mailauth.dns_world import FakeResolver, World

DAY = 86_400.0
START = 1_800_000_000.0


class Rotating:
    """A configuration, what the name servers show, and a server that reloads, or does not."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config = tmp_path / "letterlock.toml"
        self.config.write_text('[dkim."example.org"]\ndirectory = "keys"\n')
        self.keys = KeyDirectory(tmp_path / "keys")
        self.now = START
        self.zones: list[set[str]] = [set(), set()]  # the records that each of two servers shows
        self.reloads: list[Signer | None] = []
        self.reload: Callable[[], dict[str, object]] = self._reload
        monkeypatch.setattr(dkim_rotation, "_look", self._look)
        monkeypatch.setattr("letterlock.cli.dkim_rotation.time.time", lambda: self.now)
        monkeypatch.setattr(dkim_rotation, "Queues", lambda _directory: self)

    def _reload(self) -> dict[str, object]:
        self.reloads.append(load(self.config).receive.signer)
        return {"mistakes": None, "restart": []}

    async def _look(self, domain: str, keys: Keys, _options: object) -> dict[str, AuthoritativeView]:
        found = {}
        for key in keys:
            if key.phase in (KeyPhase.NEXT, KeyPhase.RETIRED):
                name = f"{key.selector}._domainkey.{domain}"
                views = tuple(
                    ServerView(host=f"ns{number}.test", address="192.0.2.1", texts=self._texts(zone, key.selector))
                    for number, zone in enumerate(self.zones, 1)
                )
                found[key.selector] = AuthoritativeView(name=name, views=views)
        return found

    def _texts(self, zone: set[str], selector: str) -> tuple[bytes, ...]:
        return tuple(each.encode() for each in zone if each.startswith(f"{selector} ")) and (
            next(each for each in zone if each.startswith(f"{selector} ")).partition(" ")[2].encode(),
        )

    def publish(self, *servers: int) -> None:
        """Put the records of all keys with a private file on these servers."""
        for path in self.keys.path.glob("*.pem"):
            key = read_signing_key(path.read_bytes(), "example.org", path.stem)
            for number in servers:
                self.zones[number].add(f"{key.selector} {key.record}")

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(dkim.dkim, [*arguments, "--config", str(self.config)])

    def rotate(self, *options: str) -> Result:
        return self.run("rotate", "example.org", *options)

    @property
    def phases(self) -> dict[str, str]:
        return {each.selector: each.phase.value for each in self.keys.read()}

    def selectors(self, phase: str) -> list[str]:
        return [selector for selector, found in self.phases.items() if found == phase]


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rotating:
    return Rotating(tmp_path, monkeypatch)


def test_from_the_first_key_to_a_whole_change(world: Rotating) -> None:
    first = world.rotate()
    assert first.exit_code == 1
    assert world.phases == {"rsa-20270115": "next", "ed25519-20270115": "next"}
    assert "rsa-20270115._domainkey.example.org. IN TXT ( " in first.stdout
    assert "ns1.test 192.0.2.1: no record" in first.stdout

    world.publish(0)
    assert world.rotate().exit_code == 1
    assert set(world.phases.values()) == {"next"}, "one server does not show the records yet"

    world.publish(1)
    assert world.rotate().exit_code == 0
    assert set(world.phases.values()) == {"signing"}
    [signer] = world.reloads
    assert signer is not None
    assert [key.selector for key in signer.keys_for("example.org")] == ["rsa-20270115", "ed25519-20270115"]

    world.now += 200 * DAY
    assert world.rotate("--algorithm", "rsa", "--after", "180").exit_code == 1
    assert world.selectors("next") == ["rsa-20270803"]
    world.publish(0, 1)
    assert world.rotate().exit_code == 1
    assert world.phases == {
        "rsa-20270115": "retiring",
        "ed25519-20270115": "signing",
        "rsa-20270803": "signing",
    }
    assert len(world.reloads) == 2

    world.now += 11 * DAY
    assert world.rotate().exit_code == 1
    assert world.selectors("retiring") == ["rsa-20270115"], "mail may be in the queue for 5 days, looked at for 7 more"
    world.now += 1 * DAY
    assert "remove its record" in world.rotate().stdout
    assert world.selectors("retired") == ["rsa-20270115"]
    assert not world.keys.pem("rsa-20270115").exists()

    for zone in world.zones:
        zone -= {each for each in zone if each.startswith("rsa-20270115 ")}
    done = world.rotate()
    assert (done.exit_code, world.phases) == (0, {"ed25519-20270115": "signing", "rsa-20270803": "signing"})


def test_a_timer_begins_only_when_a_key_is_old_enough(world: Rotating) -> None:
    world.rotate()
    world.publish(0, 1)
    world.rotate()
    before = world.phases
    world.now += 100 * DAY
    assert world.rotate("--after", "180").exit_code == 0
    assert world.phases == before


def test_the_time_of_old_records_counts_from_when_the_server_reloaded(world: Rotating) -> None:
    world.rotate()
    world.publish(0, 1)
    world.rotate()
    world.rotate("--algorithm", "rsa")
    world.publish(0, 1)

    def failing() -> dict[str, object]:
        raise ServerError("it is busy")

    world.reload = failing
    ran = world.rotate()
    assert "the server does not use the new keys yet: it is busy" in ran.stderr
    world.now += 50 * DAY
    world.rotate()
    assert len(world.selectors("retiring")) == 1
    world.reload = world._reload
    world.rotate()
    world.now += 11 * DAY
    world.rotate()
    assert len(world.selectors("retiring")) == 1


def test_without_a_server_the_keys_are_used_when_it_starts(world: Rotating) -> None:
    def absent() -> dict[str, object]:
        raise NotRunning("no server answers")

    world.reload = absent
    world.rotate()
    world.publish(0, 1)
    assert world.rotate().exit_code == 0


def test_mistakes_of_the_running_servers_configuration_are_shown_and_wait(world: Rotating) -> None:
    world.rotate()
    world.publish(0, 1)
    world.reload = lambda: {"mistakes": "letterlock.toml:3: nonsense", "restart": []}
    ran = world.rotate()
    assert ran.exit_code == 1
    assert "letterlock.toml:3: nonsense" in ran.stderr


def test_a_problem_of_the_dns_is_unknown_and_nothing_is_switched(
    world: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(domain: str, keys: Keys, _options: object) -> dict[str, AuthoritativeView]:
        return {each.selector: AuthoritativeView(name=domain, problem="bogus") for each in keys}

    monkeypatch.setattr(dkim_rotation, "_look", failing)
    assert world.rotate().exit_code == 3
    assert set(world.phases.values()) == {"next"}


def test_status_asks_nobody_and_shows_everything_as_data(world: Rotating, monkeypatch: pytest.MonkeyPatch) -> None:
    world.rotate()
    monkeypatch.setattr(dkim_rotation, "_look", None)
    ran = world.run("status", "--json")
    assert ran.exit_code == 1
    [values] = json.loads(ran.stdout)["domains"]
    assert values["domain"] == "example.org"
    assert {each["phase"] for each in values["keys"]} == {"next"}
    assert json.loads(world.run("status", "example.org", "--json").stdout) == values
    assert values["keys"][0]["record"].startswith("v=DKIM1; k=rsa; p=")
    assert world.run("status", "example.org").stdout.startswith("example.org\n")


def test_a_domain_without_a_directory_is_told_what_to_configure(world: Rotating) -> None:
    ran = world.run("rotate", "other.example")
    assert ran.exit_code == 78
    assert '[dkim."other.example"] with directory = ' in ran.stderr


def test_keys_that_cannot_be_read_are_a_failure_and_not_a_wait(world: Rotating) -> None:
    world.rotate()
    (world.keys.path / "rotation.json").write_text("{")
    for verb in ("rotate", "status"):
        ran = world.run(verb, "example.org")
        assert (ran.exit_code, "is damaged" in ran.stderr) == (3, True)


def test_a_private_key_that_a_killed_command_left_is_not_used(world: Rotating) -> None:
    world.keys.path.mkdir()
    (world.keys.path / "rsa-20270115.pem").write_bytes(b"left over")
    world.rotate("--algorithm", "rsa")
    assert world.phases == {"rsa-20270115-2": "next"}


def test_the_server_refuses_a_directory_that_does_not_exist_and_says_what_makes_it(world: Rotating) -> None:
    with pytest.raises(Exception, match="letterlock dkim rotate DOMAIN"):
        load(world.config)
    world.rotate()
    assert load(world.config).receive.signer is None


@pytest.mark.skipif(os.geteuid() != 0, reason="port 53 is for root")
async def test_a_real_server_is_asked_at_port_53_and_a_silent_one_is_named() -> None:
    asked: list[str] = []

    class Answering(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            query = dns.message.from_wire(data)
            asked.append(str(query.question[0].name))
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.AA
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", '"v=DKIM1; p=AAAA"'))
            self.transport.sendto(reply.to_wire(), addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Answering, local_addr=("127.0.0.2", 53))
    made = World().add("example.org", "NS", "ns1.example.org.").add("ns1.example.org", "A", "127.0.0.2")
    silent = World().add("example.org", "NS", "ns1.example.org.").add("ns1.example.org", "A", "127.0.0.3")
    ask = partial(dkim_rotation._ask, 2.0)
    try:
        view = await look_everywhere("s1._domainkey.example.org", FakeResolver(made), ask)
        assert view.everywhere(lambda text: text == b"v=DKIM1; p=AAAA"), view
        assert set(asked) == {"s1._domainkey.example.org."}
        assert not (await look_everywhere("s1._domainkey.example.org", FakeResolver(silent), ask)).nowhere
    finally:
        transport.close()
