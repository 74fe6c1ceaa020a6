"""`config check` as another user: what could not be found out is not in order."""

import os
from pathlib import Path

import pytest

from letterlock.app import checking

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def test_a_user_who_cannot_be_become_is_no_user_who_can_read(tmp_path: Path) -> None:
    assert checking._as_user("no-such-user", tmp_path / "none.toml") == "there is no such user"


@pytest.mark.parametrize("bug", [RuntimeError("a bug"), SystemExit(3)])
def test_a_bug_while_reading_is_not_taken_for_success(monkeypatch: pytest.MonkeyPatch, bug: BaseException) -> None:
    def raising(_path: Path | None) -> None:
        raise bug

    monkeypatch.setattr(checking, "load", raising)
    assert "could not be read" in (checking._as_user("nobody", None) or "")


def test_a_process_that_was_killed_is_not_taken_for_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "load", lambda _path: os.kill(os.getpid(), 9))
    assert checking._as_user("nobody", None) == "the process that read it was ended"
