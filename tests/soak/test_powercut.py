"""A power cut takes what was not synced, and a failed fsync takes it before: no message answered 250 is among it."""

import random
from pathlib import Path

import pytest

from tests.soak.cut_disk import CutDisk, read_calls
from tests.soak.powercut import cut, record


@pytest.mark.slow
def test_a_store_has_all_that_was_answered_250_when_the_power_is_cut(tmp_path: Path) -> None:
    log, numbers = record(tmp_path, messages=250, seed=20261123)
    result = cut(tmp_path, log, numbers, 15, random.Random(20261123))
    assert not result.lost, (str(result), result.lost[:10])
    assert result.answered >= 250
    assert result.failed_syncs
    assert result.found


def _hex(text: str) -> str:
    return "".join(f"\\x{octet:02x}" for octet in text.encode())


def _left(tmp_path: Path, *calls: str, names_come_back: bool = False) -> dict[str, bytes]:
    """What is left of the files in /q after these calls; `{NAME}` stands for a path there, `'TEXT'` for octets."""
    tmp_path.mkdir(exist_ok=True)
    log = tmp_path / "log"
    words = {name: f"<{_hex(f'/q/{name}')}>" for name in ("a", "b")} | {"q": f"<{_hex('/q')}>"}
    lines = []
    for call in calls:
        pieces = call.format(**words).split("'")
        pieces[1::2] = [f'"{_hex(each)}"' for each in pieces[1::2]]
        lines.append(f"7 {''.join(pieces)}\n")
    log.write_text("".join(lines))
    disk = CutDisk(Path("/q"))
    for each in read_calls(log):
        disk.play(each)
    left = tmp_path / "left"
    disk.write(left, names_come_back=names_come_back)
    return {path.name: path.read_bytes() for path in left.glob("*")}


_MADE = "openat(AT_FDCWD, '/q/a', O_RDWR|O_CREAT, 0600) = 3{a}"
_NAMED = "fsync(4{q}) = 0"
_REMOVED = (_MADE, _NAMED, "write(3{a}, 'x', 1) = 1", "fsync(3{a}) = 0", "unlink('/q/a') = 0")


@pytest.mark.parametrize(
    ("calls", "left"),
    [
        pytest.param(["write(3{a}, 'xy', 2) = 2", "fdatasync(3{a}) = 0"], b"xy", id="synced"),
        pytest.param(["write(3{a}, 'xy', 2) = 2"], b"", id="not synced"),
        pytest.param(["write(3{a}, 'xy', 2) = 1", "fsync(3{a}) = 0"], b"x", id="partly written"),
        pytest.param(
            ["write(3{a}, 'xy', 2) = 2", "fsync(3{a}) = -1 EIO (Input/output error) (INJECTED)", "fsync(3{a}) = 0"],
            b"\0\0",
            id="an fsync that fails loses what it was for, and the next one does not bring it back",
        ),
        pytest.param(
            [
                "write(3{a}, 'x', 1) = 1",
                "fsync(3{a} <unfinished ...>",
                "pwrite64(3{a}, 'y', 1, 1) = 1",
                "<... fsync resumed>) = 0",
            ],
            b"x",
            id="a sync covers what was there when it began",
        ),
        pytest.param(
            [
                "write(3{a}, 'abc', 3) = 3",
                "pwritev2(3{a}, [{{iov_base='yz', iov_len=2}}], 1, 1, 0) = 2",
                "fsync(3{a}) = 0",
            ],
            b"ayz",
            id="written over",
        ),
        pytest.param(
            [
                "write(3{a}, 'x', 1) = 1",
                "io_submit(0x7, 1, [{{aio_data=0, aio_lio_opcode=IOCB_CMD_FDSYNC, aio_fildes=3{a}}}]) = 1",
                "pwrite64(3{a}, 'y', 1, 1) = 1",
                "io_getevents(0x7, 1, 1, [{{data=0, obj=0x8, res=0, res2=0}}], NULL) = 1",
            ],
            b"x",
            id="a flush of the kernel's covers what was there when it was asked for",
        ),
        pytest.param(
            [
                "write(3{a}, 'xy', 2) = 2",
                "io_submit(0x7, 1, [{{aio_data=0, aio_lio_opcode=IOCB_CMD_FDSYNC, aio_fildes=3{a}}}]) = 1",
                "io_getevents(0x7, 1, 1, [{{data=0, obj=0, res=-5, res2=0}}], NULL) = 1 (INJECTED: args)",
                "fsync(3{a}) = 0",
            ],
            b"\0\0",
            id="a flush of the kernel's that fails loses what it was for",
        ),
        pytest.param(["write(3{a}, 'xyz', 3) = 3", "ftruncate(3{a}, 1) = 0", "fsync(3{a}) = 0"], b"x", id="cut short"),
    ],
)
def test_kept_is_what_an_fsync_has_covered(tmp_path: Path, calls: list[str], left: bytes) -> None:
    assert _left(tmp_path, _MADE, _NAMED, *calls) == {"a": left}


def test_a_name_is_kept_when_its_directory_was_synced(tmp_path: Path) -> None:
    assert _left(tmp_path, _MADE, "write(3{a}, 'xy', 2) = 2", "fsync(3{a}) = 0") == {}


def test_a_removed_name_may_stay_removed(tmp_path: Path) -> None:
    assert _left(tmp_path, *_REMOVED) == {}


def test_a_removed_name_may_come_back_until_its_directory_is_synced(tmp_path: Path) -> None:
    assert _left(tmp_path, *_REMOVED, names_come_back=True) == {"a": b"x"}
    assert _left(tmp_path / "later", *_REMOVED, _NAMED, names_come_back=True) == {}
