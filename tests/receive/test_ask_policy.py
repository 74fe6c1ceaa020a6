"""Postfix's policy delegation protocol: what is asked, and what each action does."""

from pathlib import Path

import pytest

from letterlock.net.service_address import ServiceAddress
from letterlock.receive.ask_policy import PolicyService
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from letterlock.receive.when_away import WhenAway
from tests.receive.filters import running_policy
from tests.receive.world import World, world

OPTIONS = ReceiveOptions(hostname="mx.example.org")


def profile(address: ServiceAddress, when_away: WhenAway = "tempfail", seconds: float = 10.0) -> Profile:
    return Profile(policies=(PolicyService(name="grey", address=address, seconds=seconds, when_away=when_away),))


async def send(running: World, *recipients: bytes) -> list[bytes]:
    async with running.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.ask(b"MAIL FROM:<ann@example.org>\r\n")
        replies = [await client.ask(b"RCPT TO:<" + each + b">\r\n") for each in recipients or (b"bob@example.net",)]
        if any(reply.startswith(b"250") for reply in replies):
            await client.ask(b"DATA\r\n")
            replies.append(await client.ask(b"Subject: x\r\n\r\nhi\r\n.\r\n"))
        return replies


async def test_a_service_is_asked_about_each_recipient(tmp_path: Path) -> None:
    async with (
        running_policy(tmp_path, lambda _: "action=DUNNO") as (address, asked),
        world(OPTIONS, profile(address)) as running,
    ):
        assert (await send(running, b"bob@example.net", b"carl@example.net"))[-1].startswith(b"250")
    assert [each["recipient"] for each in asked] == ["bob@example.net", "carl@example.net"]
    assert {each["instance"] for each in asked} == {asked[0]["instance"]}
    assert asked[0] | {"instance": ""} == asked[0] | {
        "instance": "",
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "client_address": "127.0.0.1",
        "helo_name": "client.example",
        "sender": "ann@example.org",
    }


@pytest.mark.parametrize(
    ("action", "reply"),
    [
        ("OK", b"250"),
        ("", b"250"),
        ("WARN look at this", b"250"),
        ("REJECT", b"554 5.7.1 Access denied"),
        ("REJECT 5.7.23 no", b"554 5.7.23 no"),
        ("DEFER_IF_PERMIT Greylisted, see later", b"450 4.7.1 Greylisted, see later"),
        ("defer", b"450 4.7.1"),
        ("421 4.3.2 busy", b"421 4.3.2 busy"),
        ("550 no\u00e9", b"550 5.7.1 no?"),
        ("FILTER smtp:[127.0.0.1]", b"451 4.7.1"),
        ("250 fine", b"451 4.7.1"),
        ("PREPEND no header", b"451 4.7.1"),
    ],
)
async def test_actions(tmp_path: Path, action: str, reply: bytes) -> None:
    async with (
        running_policy(tmp_path, lambda _: f"action={action}") as (address, _),
        world(OPTIONS, profile(address)) as running,
    ):
        assert (await send(running))[0].startswith(reply)


async def test_actions_on_the_message(tmp_path: Path) -> None:
    async with (
        running_policy(tmp_path, lambda _: "action=PREPEND X-Greylist: delayed 300 seconds") as (address, _),
        world(OPTIONS, profile(address)) as running,
    ):
        await send(running)
        assert b"X-Greylist: delayed 300 seconds\r\n" in running.store.kept[0][1]
    async with (
        running_policy(tmp_path, lambda _: "action=DISCARD") as (address, _),
        world(OPTIONS, profile(address)) as running,
    ):
        assert (await send(running))[-1].startswith(b"250")
        assert running.store.kept == []
    async with (
        running_policy(tmp_path, lambda _: "action=HOLD odd") as (address, _),
        world(OPTIONS, profile(address)) as running,
    ):
        await send(running)
        assert list(running.store.quarantined.values()) == ["policy service grey: odd"]


@pytest.mark.parametrize(("when_away", "reply"), [("tempfail", b"451"), ("accept", b"250"), ("reject", b"550")])
@pytest.mark.parametrize("said", [None, "nonsense", "action=X" + "x" * 70_000])
async def test_a_service_that_fails(tmp_path: Path, when_away: WhenAway, reply: bytes, said: str | None) -> None:
    async with (
        running_policy(tmp_path, lambda _: said) as (address, _),
        world(OPTIONS, profile(address, when_away)) as running,
    ):
        assert (await send(running))[0].startswith(reply)


async def test_a_service_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with world(OPTIONS, profile(ServiceAddress(path=str(tmp_path / "none")))) as running:
        assert (await send(running))[0].startswith(b"451 4.7.1")
    assert "policy service grey" in caplog.text


async def test_a_connection_that_the_service_closed_meanwhile_is_opened_anew(tmp_path: Path) -> None:
    answers = iter(["action=DUNNO", None, "action=REJECT"])
    async with (
        running_policy(tmp_path, lambda _: next(answers)) as (address, _),
        world(OPTIONS, profile(address)) as running,
    ):
        replies = await send(running, b"bob@example.net", b"carl@example.net")
    assert replies[1].startswith(b"554")


async def test_each_answer_is_counted_by_what_came_of_it(tmp_path: Path) -> None:
    actions = iter(("OK", "REJECT", "DEFER", "HOLD", "nonsense", "DISCARD"))
    async with (
        running_policy(tmp_path, lambda _: f"action={next(actions)}") as (address, _),
        world(OPTIONS, profile(address)) as running,
    ):
        await send(running, *(b"u%d@example.net" % number for number in range(6)))
        found = running.listener.counts.filters.found
    kinds = ("passed", "rejected", "put_off", "quarantined", "failed", "discarded")
    assert found == {("policy_service", each): 1 for each in kinds}


@pytest.mark.parametrize("when_away", ["tempfail", "accept"])
async def test_what_the_service_decided_holds_though_it_fails_at_a_later_recipient(
    tmp_path: Path, when_away: WhenAway
) -> None:
    answers = iter(("action=PREPEND X-Seen: yes", "action=HOLD odd", "nonsense", "action=DUNNO"))
    async with (
        running_policy(tmp_path, lambda _: next(answers)) as (address, asked),
        world(OPTIONS, profile(address, when_away)) as running,
    ):
        await send(running, *(b"u%d@example.net" % number for number in range(4)))
        assert list(running.store.quarantined.values()) == ["policy service grey: odd"]
        assert b"X-Seen: yes\r\n" in running.store.kept[0][1]
    assert len({each["instance"] for each in asked}) == 1
