"""Root and the service user: whatever the service user puts in the way, root gives nothing away but what it made."""

import os
import pwd
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from letterlock.app.privileges import MAX_LINKS, NotPermitted, take_directory

USER = "nobody"
ROUNDS = 100  # of the race: a walk by path lost it within fifty


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory that only root can write, as every one above it; another user has no way to make this test."""
    if os.geteuid() != 0:
        pytest.skip("root only: what is tested is what root gives away")
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="letterlock-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def victim(base: Path) -> Path:
    """What an attacker would like to own: a directory of root's with a secret in it."""
    directory = base / "victim"
    directory.mkdir(mode=0o755)
    (directory / "secret").write_text("secret")
    (directory / "secret").chmod(0o600)
    return directory


def theirs(path: Path) -> Path:
    """A directory of the service user."""
    path.mkdir(mode=0o700)
    os.chown(path, *ids())
    return path


def ids() -> tuple[int, int]:
    entry = pwd.getpwnam(USER)
    return entry.pw_uid, entry.pw_gid


def in_a_child(work: Callable[[], None]) -> str:
    """Run it in a process of its own; what it was refused with, or nothing."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.umask(0o022)
            try:
                work()
            except NotPermitted as error:
                os.write(writer, str(error).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return text


def start(directory: Path) -> str:
    """Start as root with `user`."""
    return in_a_child(lambda: take_directory(directory, USER))


def untouched(victim: Path) -> bool:
    return victim.stat().st_uid == 0 and (victim / "secret").stat().st_uid == 0 and len(list(victim.iterdir())) == 1


def test_a_new_directory_is_the_users_and_what_leads_there_is_roots(base: Path) -> None:
    directory = base / "one" / "two" / "queue"
    assert start(directory) == ""
    assert (directory.stat().st_uid, stat.S_IMODE(directory.stat().st_mode)) == (ids()[0], 0o700)
    assert (directory.parent.stat().st_uid, stat.S_IMODE(directory.parent.stat().st_mode)) == (0, 0o755)
    assert start(directory) == "", "and the next time it is taken as it is"


def test_root_is_given_up_for_good(base: Path) -> None:
    def work() -> None:
        take_directory(base / "queue", USER)
        assert os.getresuid() == (ids()[0],) * 3
        assert os.getresgid() == (ids()[1],) * 3
        with pytest.raises(PermissionError):
            os.setuid(0)

    assert in_a_child(work) == ""


def test_links_of_root_are_followed(base: Path) -> None:
    (base / "disk").mkdir()
    (base / "spool").symlink_to("disk")
    (base / "elsewhere").symlink_to(base / "spool" / "there")
    assert start(base / "elsewhere" / "queue") == ""
    assert (base / "disk" / "there" / "queue").stat().st_uid == ids()[0]


def test_a_ring_of_links_is_refused(base: Path) -> None:
    (base / "a").symlink_to("b")
    (base / "b").symlink_to("a")
    assert "too many symbolic links" in start(base / "a" / "queue")
    assert MAX_LINKS == 40


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_what_the_user_links_to_is_not_given_away(base: Path, victim: Path, kind: str) -> None:
    queue = theirs(base / "queue")
    if kind == "symbolic":
        (queue / "worker-1").symlink_to(victim)
        os.chown(queue / "worker-1", *ids(), follow_symlinks=False)
        assert start(queue) == ""
    else:
        os.link(victim / "secret", queue / "queue.db")
        assert "belongs to user root" in start(queue)
    assert untouched(victim)


def test_on_the_way_through_the_users_directories_root_makes_nothing(base: Path, victim: Path) -> None:
    home = theirs(base / "home")
    (home / "state").symlink_to(victim)
    assert "Permission denied" in start(home / "state" / "queue")
    assert untouched(victim)


def test_in_directories_of_their_own_the_user_makes_it(base: Path) -> None:
    home = theirs(base / "home")
    assert start(home / "state" / "queue") == ""
    assert (home / "state").stat().st_uid == ids()[0]


def test_where_anybody_can_write_root_makes_nothing(base: Path) -> None:
    shared = base / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    assert start(shared / "queue") == ""
    assert (shared / "queue").stat().st_uid == ids()[0]


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_directory_of_somebody_else_is_refused_and_the_hint_destroys_nothing(base: Path, mode: int) -> None:
    (base / "queue").mkdir()
    (base / "queue").chmod(mode)
    said = start(base / "queue")
    assert "belong" in said
    assert "hint: " in said
    assert (base / "queue").stat().st_uid == 0


def test_a_file_of_somebody_else_is_refused_by_name(base: Path) -> None:
    queue = theirs(base / "queue")
    (queue / "queue.db").write_text("")
    assert f"{queue / 'queue.db'} belongs to user root, not to {USER}" in start(queue)


def test_the_race_for_a_link_cannot_be_won(base: Path, victim: Path) -> None:
    """The user replaces a directory of the queue by a link to the victim, and back, as fast as can be."""
    queue = theirs(base / "queue")
    racer = os.fork()
    if racer == 0:
        try:
            os.setgid(ids()[1])
            os.setuid(ids()[0])
            _race(queue / "worker-1", victim)
        finally:
            os._exit(70)
    try:
        for _ in range(ROUNDS):
            start(queue)
            assert untouched(victim)
    finally:
        os.kill(racer, 9)
        os.waitpid(racer, 0)


def _race(place: Path, victim: Path) -> None:
    """Each state lasts a moment, so that root lists one and changes the other."""
    end = time.monotonic() + 60
    beside, link = place.with_name("beside"), place.with_name("link")
    place.mkdir()
    (place / "secret").touch()
    link.symlink_to(victim)
    while time.monotonic() < end:
        time.sleep(0.0005)
        place.rename(beside)
        link.rename(place)
        time.sleep(0.0005)
        place.rename(link)
        beside.rename(place)


def test_without_root_only_the_directory_is_made(tmp_path: Path) -> None:
    take_directory(tmp_path / "a" / "queue", None)
    assert stat.S_IMODE((tmp_path / "a" / "queue").stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(NotPermitted, match="hint: set"):
        take_directory(tmp_path / "file" / "queue", None)
