"""Who gave an order: the kernel says so, and the log has it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from letterlock.admin.asker import Asker, asker_at, log_order

RESTORE = {"verb": "queue.restore", "archive": "A"}


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    ours, its = socket.socketpair(socket.AF_UNIX)
    with ours, its:
        yield ours


def processes(directory: Path, login: str | None) -> Path:
    own = directory / str(os.getpid())
    own.mkdir()
    if login is not None:
        (own / "loginuid").write_text(login)
    return directory


@pytest.mark.parametrize("login", [None, "", "4294967295", str(os.getuid()), "?"])
def test_a_user_without_another_login_is_a_uid(peer: socket.socket, tmp_path: Path, login: str | None) -> None:
    assert asker_at(peer, processes(tmp_path, login)).name == f"uid={os.getuid()}"


def test_who_became_root_is_named_as_well(peer: socket.socket, tmp_path: Path) -> None:
    assert asker_at(peer, processes(tmp_path, "4711\n")).name == f"uid={os.getuid()} login=4711"


@pytest.mark.parametrize(
    ("request_", "answer", "line"),
    [
        (
            {"verb": "queue.restore", "archive": "A"},
            {"restored": True, "id": "M1"},
            "M1: import by uid=7: from archive A",
        ),
        ({"verb": "queue.restore", "archive": "A"}, {"restored": False, "id": "M1"}, None),
        ({"verb": "queue.content", "id": "M1", "whole": False}, {"found": True}, "M1: show by uid=7: header"),
        ({"verb": "queue.content", "id": "M1", "whole": True}, {"found": True}, "M1: show by uid=7: whole message"),
        ({"verb": "queue.content", "id": "M1", "whole": True}, {"found": False}, None),
        (
            {"verb": "queue.export", "archive": "A", "in_clear": True},
            {},
            "export by uid=7: archive A, contents in clear",
        ),
        ({"verb": "reload"}, {"mistakes": None}, "reload by uid=7"),
        ({"verb": "reload"}, {"mistakes": "several"}, "reload by uid=7: refused"),
        ({"verb": "reload", "reason": "new key"}, {"mistakes": None}, "reload by uid=7: new key"),
        ({"verb": "reload", "reason": "new key"}, {"mistakes": "several"}, "reload by uid=7: refused: new key"),
        ({"verb": "memory.forget", "domains": ["a.test"]}, {"forgotten": 1}, "forget by uid=7: a.test"),
        (
            {"verb": "memory.forget", "domains": ["a.test", "b\n.test"], "reason": "they said so"},
            {"forgotten": 1},
            "forget by uid=7: a.test, b\\n.test: they said so",
        ),
        ({"verb": "memory.forget", "domains": ["a.test"]}, {"forgotten": 0}, None),
        ({"verb": "memory.forget", "domains": None}, {"forgotten": 3}, "forget by uid=7: all domains"),
        (
            {"verb": "memory.forget", "domains": ["x"] * 22},
            {"forgotten": 22},
            "forget by uid=7: " + ", ".join("x" * 20) + " and 2 more",
        ),
        ({"verb": "policy.purge"}, {"purged": 0}, None),
        (
            {"verb": "policy.purge", "reason": "ticket 1"},
            {"purged": 2},
            "purge by uid=7: 2 answers of the policy door: ticket 1",
        ),
        ({"verb": "queue.list"}, {"messages": []}, None),
    ],
)
def test_each_order_is_a_line_and_looking_at_the_list_is_none(
    request_: dict[str, object], answer: dict[str, object], line: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "letterlock.admin")
    log_order(request_, answer, Asker(7))
    assert caplog.messages == ([] if line is None else [line])
