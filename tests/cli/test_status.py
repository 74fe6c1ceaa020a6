"""`letterlock status`: one screen, and an exit status for monitoring."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from letterlock.admin.client import NotRunning, ServerError
from letterlock.cli import status as module
from letterlock.cli.status import status
from letterlock.queue.orders import Tally, TallyBy


class FakeQueues:
    """A server's answers."""

    left: dict[str, str] = {}  # noqa: RUF012  # replaced by tests
    rows: tuple[Tally, ...] = ()

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


@pytest.fixture(name="path")
def path_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "letterlock.toml"
    path.write_text('hostname = "mx.example.org"\n[queue]\ndirectory = "q"\nmin_free_octets = 1\n')
    (tmp_path / "q").mkdir()
    monkeypatch.setattr(module, "Queues", FakeQueues)
    monkeypatch.setattr(module, "clock_is_synchronised", lambda: True)
    return path


def run(path: Path, *more: str) -> Result:
    return CliRunner().invoke(status, ["--config", str(path), *more])


def test_all_is_well(path: Path) -> None:
    done = run(path)
    assert done.exit_code == 0, done.output
    assert "all is well" in done.output
    assert "0 messages" in done.output


def test_what_needs_attention_is_said_and_gives_status_1(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        Tally(key="a.example", deferred=3, held=1, oldest_at=1.0, ages=(1, 0, 0, 0, 0, 3)),
        Tally(key="b.example", quarantined=2, ages=(2, 0, 0, 0, 0, 0)),
    )
    monkeypatch.setattr(FakeQueues, "rows", rows)
    monkeypatch.setattr(FakeQueues, "left", {"worker-2": "its key is another one"})
    monkeypatch.setattr(module, "clock_is_synchronised", lambda: False)
    done = run(path)
    assert done.exit_code == 1
    for words in ("worker-2 is not served", "2 deliveries are quarantined", "clock is not synchronised", "a.example"):
        assert words in done.output
    values = json.loads(run(path, "--json").stdout)
    assert [each["name"] for each in values["next_hops"]] == ["a.example", "b.example"]
    assert len(values["attention"]) == 3


def test_without_a_server_the_status_is_3(path: Path) -> None:
    (path.parent / "q").rmdir()
    assert run(path).exit_code == 3


def test_a_server_that_cannot_answer_is_status_1(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: FakeQueues) -> int:
        raise ServerError("the queue cannot be read")

    monkeypatch.setattr(FakeQueues, "size", fail)
    assert run(path).exit_code == 1
