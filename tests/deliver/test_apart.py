"""Recipients with a place of their own beside others of one task."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.deliver import apart
from letterlock.deliver.apart import attempt_whole
from letterlock.deliver.handshake_slots import HostBusy
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import ContentLost
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.routing.address_routes import AddressRoutes
from letterlock.routing.local_targets import Maildir
from letterlock.routing.routes import RelayHost
from tests.deliver.test_lmtp import kinds, routed
from tests.deliver.world import ANN, BOB, BODY, OPTIONS, make_task

CARL = Mailbox("carl+tag", "example.org")


def addresses(path: Path, *names: str) -> AddressRoutes:
    final = Maildir(f"{path}/own/{{local}}", create=True)
    route = RelayHost(domain=str(final), source="letterlock.toml:1", is_host=True, final=final)
    return AddressRoutes({f"{name}@example.org": route for name in names})


def world(path: Path, *names: str) -> tuple[Maildir, AddressRoutes]:
    (path / "own").mkdir()
    (path / "all").mkdir()
    return Maildir(f"{path}/all/{{local}}", create=True), addresses(path, *names)


def boxes(path: Path) -> list[str]:
    return sorted(str(each.parent.relative_to(path)) for each in path.glob("*/*/new") if list(each.iterdir()))


async def deliver(path: Path, names: Sequence[str], *recipients: Mailbox) -> Attempt:
    domain, own = world(path, *names)
    options = replace(OPTIONS, addresses=own)
    return await attempt_whole(make_task(*recipients), BODY, ports=routed(domain), options=options)


async def test_each_goes_where_its_route_leads(tmp_path: Path) -> None:
    made = await deliver(tmp_path, ("bob", "carl"), ANN, BOB, CARL)
    assert [outcome.recipient for outcome in made.outcomes] == [ANN, BOB, CARL]
    assert kinds(made) == [OutcomeKind.DELIVERED] * 3
    assert made.outcomes[1].text.startswith(f"maildir:{tmp_path}/own/{{local}}: saved in ")
    assert boxes(tmp_path) == ["all/ann", "own/bob", "own/carl+tag"]


async def test_all_or_none_have_a_route(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    made = await deliver(tmp_path / "1", ("ann", "bob"), ANN, BOB)
    assert made.host == f"maildir:{tmp_path}/1/own/{{local}}"
    assert boxes(tmp_path / "1") == ["own/ann", "own/bob"]
    (tmp_path / "2").mkdir()
    await deliver(tmp_path / "2", (), ANN)
    assert boxes(tmp_path / "2") == ["all/ann"]


async def test_a_busy_host_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was delivered must be in an Attempt, or it would be delivered again."""

    async def busy(*_: object, **__: object) -> Attempt:
        raise HostBusy("as many as may be", "mx.example.org")

    monkeypatch.setattr(apart, "attempt", busy)
    with pytest.raises(HostBusy):
        await deliver(tmp_path, ("bob",), ANN, BOB)
    assert boxes(tmp_path) == []


async def test_content_that_is_lost_after_others_were_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: object, **__: object) -> Attempt:
        raise ContentLost("the disk is gone")

    monkeypatch.setattr(apart, "deliver_locally", lost)
    made = await deliver(tmp_path, ("bob",), ANN, BOB)
    assert kinds(made) == [OutcomeKind.DELIVERED, OutcomeKind.DEFERRED]
    (tmp_path / "again").mkdir()
    with pytest.raises(ContentLost):
        await deliver(tmp_path / "again", ("bob",), BOB)
