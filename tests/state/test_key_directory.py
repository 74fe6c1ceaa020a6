"""Keys that rotate, on the disk: private, whole after a kill at any point, and changed by one command at a time."""

import os
import stat
from pathlib import Path

import pytest

from letterlock.mailauth.dkim.rotation import Keys, begun, forgotten, retired, switched, used
from letterlock.mailauth.dkim.signature import Algorithm
from letterlock.state.key_directory import KeyDirectory, KeyDirectoryFailed

MADE: Keys = begun((), [("r1", Algorithm.RSA_SHA256)], 1.0)
SIGNING = used(switched(MADE, {"r1"}, 2.0), 10.0, 3.0)


def test_a_new_directory_has_no_keys_and_is_private(tmp_path: Path) -> None:
    directory = KeyDirectory(tmp_path / "dkim" / "example.org")
    assert directory.read() == ()
    with directory.locked():
        directory.add("r1", b"secret")
        directory.write(MADE)
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in directory.path.iterdir()} == {0o600}
    assert directory.read() == MADE
    assert directory.signing() == {}
    with directory.locked():
        directory.write(SIGNING)
    assert directory.signing() == {"r1": directory.path / "r1.pem"}


def test_a_private_key_is_never_overwritten(tmp_path: Path) -> None:
    directory = KeyDirectory(tmp_path)
    directory.add("r1", b"first")
    with pytest.raises(FileExistsError):
        directory.add("r1", b"second")
    assert directory.pem("r1").read_bytes() == b"first"


def test_a_private_key_goes_when_its_record_may_go_and_not_before(tmp_path: Path) -> None:
    directory = KeyDirectory(tmp_path)
    for selector in ("r1", "r2"):
        directory.add(selector, b"secret")
    directory.write(SIGNING)
    keys = switched(begun(SIGNING, [("r2", Algorithm.RSA_SHA256)], 4.0), {"r2"}, 5.0)
    keys = used(keys, 10.0, 6.0)
    directory.write(keys)
    assert directory.pem("r1").exists()
    keys = retired(keys, 16.0)
    directory.write(keys)
    assert not directory.pem("r1").exists()
    directory.write(forgotten(keys, {"r1"}))
    assert directory.pem("r2").exists()


def test_one_command_at_a_time(tmp_path: Path) -> None:
    with KeyDirectory(tmp_path).locked():  # noqa: SIM117  # the second fails
        with pytest.raises(KeyDirectoryFailed, match="another command"), KeyDirectory(tmp_path).locked():
            raise AssertionError
    with KeyDirectory(tmp_path).locked():
        pass


def test_a_damaged_state_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "rotation.json").write_text("{")
    with pytest.raises(KeyDirectoryFailed, match="is damaged"):
        KeyDirectory(tmp_path).read()
    with pytest.raises(KeyDirectoryFailed, match="is damaged"):
        KeyDirectory(tmp_path).write(MADE)
    assert (tmp_path / "rotation.json").read_text() == "{"


def test_a_kill_before_the_state_is_replaced_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = KeyDirectory(tmp_path)
    directory.write(MADE)

    class Killed(BaseException):
        """The process ends here."""

    def killed(_self: Path, _target: Path) -> Path:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            directory.write(SIGNING)
    assert directory.read() == MADE
    directory.write(SIGNING)
    assert directory.read() == SIGNING


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_the_servers_user_who_reads_it_on_reload(tmp_path: Path) -> None:
    directory = KeyDirectory(tmp_path / "keys", owner=65_534)
    with directory.locked():
        directory.add("r1", b"secret")
        directory.write(MADE)
    made = [directory.path, directory.pem("r1"), directory.path / "rotation.json"]
    assert {each.stat().st_uid for each in made} == {65_534}
