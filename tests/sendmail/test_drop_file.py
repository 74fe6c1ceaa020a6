"""Messages that wait for the server: how `sendmail` leaves them in the drop directory."""

import os
import stat
from pathlib import Path

import pytest

from letterlock.sendmail.drop_file import MAX_RECIPIENTS, leave
from letterlock.sendmail.settings import settings
from tests.sendmail.running import desk, run, write_config

MESSAGE = b"From: ann@example.org\nSubject: hi\n\nhello\n"


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    made = tmp_path / "queue-drop"
    made.mkdir()
    made.chmod(0o3733)
    return made


def names(drop: Path) -> list[str]:
    return sorted(path.name for path in drop.iterdir())


async def send(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """With a server that is down."""
    config = write_config(tmp_path, ("127.0.0.1", 1), f'[queue]\ndirectory = "{tmp_path}/queue"\n')
    ran = await run("command", *arguments, stdin=MESSAGE, home=tmp_path, config=config)
    return ran.status, ran.err


async def test_without_a_server_the_message_waits_whole_and_for_the_server_only(tmp_path: Path, drop: Path) -> None:
    """Input 32, its first half."""
    assert await send(tmp_path, "-f", "ann@example.org", "-N", "never", "bob@example.net") == (0, "")
    (name,) = names(drop)
    assert name.startswith("new-")
    assert len(name) == len("new-") + 32
    found, directory = os.lstat(f"{drop}/{name}"), os.lstat(f"{drop}")
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o640, directory.st_gid)
    lines = (drop / name).read_bytes().split(b"\r\n")
    assert lines[:4] == [
        b"EHLO host.example.org",
        b"MAIL FROM:<ann@example.org> BODY=7BIT",
        b"RCPT TO:<bob@example.net> NOTIFY=NEVER",
        b"DATA",
    ]
    assert lines[-4:] == [b"hello", b".", b"QUIT", b""]
    assert not (tmp_path / ".local").exists()


async def test_with_v_it_says_where_the_message_waits(tmp_path: Path, drop: Path) -> None:
    status, err = await send(tmp_path, "-v", "bob@example.net")
    assert status == 0
    assert f"the message waits in {drop}" in err


async def test_of_many_recipients_no_file_has_too_many(tmp_path: Path, drop: Path) -> None:
    status, _ = await send(tmp_path, *(f"u{number}@example.net" for number in range(MAX_RECIPIENTS + 1)))
    assert status == 0
    assert sorted((drop / name).read_bytes().count(b"RCPT") for name in names(drop)) == [1, MAX_RECIPIENTS]


async def test_what_is_refused_for_good_does_not_wait(tmp_path: Path, drop: Path) -> None:
    more = f'[queue]\ndirectory = "{tmp_path}/queue"\n'
    async with desk(tmp_path, more=more) as user:
        assert (await user.sendmail("x@-.-", stdin=MESSAGE)).status == 67
    assert not names(drop)


async def test_a_directory_without_the_sticky_bit_is_no_drop(tmp_path: Path, drop: Path) -> None:
    os.chmod(f"{drop}", 0o777)  # noqa: PTH101, S103  # what is tested; a coroutine, where ruff wants no pathlib
    status, err = await send(tmp_path, "bob@example.net")
    assert status == 75
    assert "anybody may delete" in err
    assert "kept in" in err
    assert not names(drop)


async def test_without_a_drop_directory_the_message_stays_with_its_user(tmp_path: Path) -> None:
    status, err = await send(tmp_path, "bob@example.net")
    assert status == 75
    assert "queue-drop: No such file or directory" in err
    assert "letterlock-sendmail -q" in err


async def test_q_sends_what_was_kept_before_there_was_a_drop_directory(tmp_path: Path) -> None:
    for number in range(3):
        assert (await send(tmp_path, f"u{number}@example.net"))[0] == 75
    status, err = await send(tmp_path, "-q")
    assert (status, "what is kept cannot be sent" in err) == (75, True)
    kept = tmp_path / ".local" / "state" / "letterlock-unsent"
    assert len(names(kept)) == 3
    made = tmp_path / "queue-drop"
    os.mkdir(made)  # noqa: PTH102  # a coroutine, where ruff wants no pathlib
    os.chmod(made, 0o3733)  # noqa: PTH101, S103
    status, err = await send(tmp_path, "-q")
    assert (status, "3 kept messages left for the server" in err) == (0, True)
    assert (len(names(made)), names(kept)) == (3, [])
    assert "nothing is kept here" in (await send(tmp_path, "-q"))[1]


def test_all_parts_of_a_message_are_left_or_none(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.write, 0

    def fails_at_the_third(file: int, octets: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        return real(file, octets)

    monkeypatch.setattr(os, "write", fails_at_the_third)
    with pytest.raises(OSError, match="No space"):
        leave(str(drop), [b"a", b"b", b"c"])
    assert not names(drop)


def test_a_disk_that_is_nearly_full_takes_nothing(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("letterlock.sendmail.drop_file.RESERVE_OCTETS", 1 << 60)
    with pytest.raises(OSError, match="nearly full"):
        leave(str(drop), [b"a"])
    assert not names(drop)


@pytest.mark.parametrize(
    ("queue", "found"),
    [
        ('directory = "/q/mail/"', ["/q/mail-drop"]),
        ('directory = "q"\ndrop_directory = "/var/spool/drop"', ["/var/spool/drop"]),
        ("drop_directory = false", []),
        ("", ["/home/ann/.local/state/letterlock-drop", "/var/lib/letterlock-drop"]),
    ],
)
def test_where_the_drop_directory_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: str, found: list[str]
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    config = tmp_path / "c.toml"
    config.write_text(f"[queue]\n{queue}\n")
    assert settings(str(config)).drop_directories() == found
