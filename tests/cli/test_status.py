"""`letterlock status`: one screen, and an exit status for monitoring."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from letterlock.admin.client import NotRunning, ServerError
from letterlock.cli import status as module
from letterlock.cli.status import status
from letterlock.queue.orders import RecipientState, Tally, TallyBy, Wanted
from tests.cli.server_state import server_state


class FakeQueues:
    """A server's answers."""

    left: dict[str, str] = {}  # noqa: RUF012  # replaced by tests
    rows: tuple[Tally, ...] = ()
    state: dict[str, Any] | None = None
    reason = "\x1b[31mtheir limit"

    def __init__(self, directory: Path) -> None:
        if not directory.exists():
            raise NotRunning(f"no server answers at {directory}")

    def problems(self) -> dict[str, str]:
        return self.left

    def size(self) -> int:
        return sum(each.total for each in self.rows)

    def stats(self, by: TallyBy) -> list[list[Tally]]:
        assert by is TallyBy.DOMAIN
        return [list(self.rows)]

    def first(self, verb: str) -> dict[str, Any]:
        assert verb == "state"
        if self.state is None:
            raise ServerError("unknown request")
        return self.state

    def sample(self, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
        assert limit <= 100
        held = wanted.state is RecipientState.HELD
        because = "asked by Ann" if held else None
        one = {"next_hop": wanted.domain, "reason": self.reason, "held_because": because, "state": "held"}
        return [{"recipients": [one, one]}]


@pytest.fixture(name="path")
def path_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "letterlock.toml"
    path.write_text('hostname = "mx.example.org"\n[queue]\ndirectory = "q"\nmin_free_octets = 1\n')
    (tmp_path / "q").mkdir()
    monkeypatch.setattr(module, "Queues", FakeQueues)
    monkeypatch.setattr(module, "clock_is_synchronised", lambda: True)
    monkeypatch.setattr(FakeQueues, "state", server_state())
    return path


def run(path: Path, *more: str) -> Result:
    return CliRunner().invoke(status, ["--config", str(path), *more])


def test_all_is_well(path: Path) -> None:
    done = run(path)
    assert done.exit_code == 0, done.output
    assert "all is well" in done.output
    assert "0 messages" in done.output
    assert "192.0.2.53:53   fit   12 ms" in done.output
    assert "pid 812" in done.output
    assert "nothing delivered yet" in done.output


def test_flow_protection_and_certificates_are_shown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = server_state()
    state["hour"] = {"seconds": 3_600, "received": 3_204, "delivered": 3_197, "deferred": 7, "failed": 0}
    state["day"] = {"seconds": 86_400, "authenticated": 41, "encrypted": 58, "clear": 1, "local": 0}
    state["numbers"]["letterlock_last_delivery_timestamp_seconds"] = {"": state["at"] - 5}
    state["numbers"]["letterlock_resolver_lookups_total"] = {"cached": 90, "secure": 8, "bogus": 2}
    state["certificates"] = [
        {"path": "/etc/a.pem", "not_after": state["at"] + 9 * 86_400 + 60},
        {"path": "/etc/b.pem", "not_after": state["at"] - 9, "key_open_to_others": "/etc/b.key"},
    ]
    monkeypatch.setattr(FakeQueues, "state", state)
    done = run(path)
    assert done.exit_code == 1
    out = done.output
    assert "! the certificate in /etc/a.pem expires in 9 days: renew it" in out
    assert "! the certificate in /etc/b.pem has expired; senders that verify it hold their mail back" in out
    assert "! the key in /etc/b.key can be read by others: chmod 600 /etc/b.key" in out
    assert "in 3,204   out 3,197   deferred 7   failed 0   in the last 1h   last delivery 5s ago" in out
    assert "authenticated 41 %   encrypted 58 %   clear 1 %   of 100 in the last 1d" in out
    assert "90 % of 100 lookups   failed 2, of which bogus 2" in out
    assert "/etc/a.pem   ends in 9d" in out
    assert "/etc/b.pem   HAS EXPIRED" in out


def test_what_needs_attention_is_said_and_gives_status_1(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        Tally(key="a.example", deferred=3, held=1, oldest_at=1.0, ages=(1, 0, 0, 0, 0, 3)),
        Tally(key="b.example", quarantined=2, ages=(2, 0, 0, 0, 0, 0)),
    )
    state = server_state(reload_failed=True)
    state["workers"][0]["alive"] = False
    state["upstreams"][0]["state"] = "unfit"
    monkeypatch.setattr(FakeQueues, "state", state)
    monkeypatch.setattr(FakeQueues, "rows", rows)
    monkeypatch.setattr(FakeQueues, "left", {"worker-2": "its key is another one"})
    monkeypatch.setattr(module, "clock_is_synchronised", lambda: False)
    done = run(path)
    assert done.exit_code == 1
    for words in (
        "worker-2 is not served",
        "2 deliveries are quarantined",
        "clock is not synchronised",
        "no sign of life from worker 0",
        "the configuration has mistakes",
        "no upstream resolver is fit for validation (192.0.2.53:53 unfit)",
        "a.example",
        "Held     2   asked by Ann",
        r"\x1b[31mtheir limit",
    ):
        assert words in done.output
    assert "\x1b" not in done.output
    values = json.loads(run(path, "--json").stdout)
    assert [each["name"] for each in values["next_hops"]] == ["a.example", "b.example"]
    assert len(values["attention"]) == 6
    assert values["held_because"] == {"asked by Ann": 2}


def test_only_the_rows_of_the_screen_are_asked_about(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(Tally(key=f"{number}.example", deferred=1) for number in range(200))
    asked: list[str | None] = []
    monkeypatch.setattr(FakeQueues, "rows", rows)

    def sample(_: FakeQueues, wanted: Wanted, _limit: int) -> list[dict[str, Any]]:
        asked.append(wanted.domain)
        return []

    monkeypatch.setattr(FakeQueues, "sample", sample)
    assert "and 190 more: letterlock queue stats" in run(path).output
    assert len(asked) == 10


def test_a_server_of_an_earlier_version_is_shown_as_far_as_it_can_be(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeQueues, "state", None)
    done = run(path)
    assert done.exit_code == 1
    assert "earlier version than this command: restart it" in done.output


def test_a_server_that_does_not_count_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeQueues, "state", server_state(counted=False))
    done = run(path)
    assert done.exit_code == 0
    assert "not counted" in done.output


def test_without_a_server_the_status_is_3(path: Path) -> None:
    (path.parent / "q").rmdir()
    assert run(path).exit_code == 3


def test_a_server_that_cannot_answer_is_status_1(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: FakeQueues) -> int:
        raise ServerError("the queue cannot be read")

    monkeypatch.setattr(FakeQueues, "size", fail)
    assert run(path).exit_code == 1


def test_a_server_that_fails_is_not_called_an_earlier_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> dict[str, Any]:
        raise ServerError("the request failed: see the log")

    monkeypatch.setattr(FakeQueues, "first", fail)
    done = run(path)
    assert done.exit_code != 0
    assert "the request failed: see the log" in done.output
    assert "earlier version" not in done.output
