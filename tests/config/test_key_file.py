"""The queue's key: absent, unreadable, wrong and public are told apart, and no advice destroys a key."""

import ast
import base64
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import letterlock
from letterlock.config import BadConfig, load, parse
from tests.certificates import self_signed

KEY = bytes(range(32))
NOBODY = 65534
WRITES = re.compile(r"(?<![-=<])>{1,2}\s*[{/\w$\"']|\b(?:rm|mv|cp|dd|tee|truncate|shred|mkfs)\s+[-{/\w]")
KEEPS = "sh -Cc '"  # the shell's -C: a redirection never overwrites


def mistake(path: Path) -> tuple[str, str]:
    """The message and the hint."""
    with pytest.raises(BadConfig) as caught:
        parse(f'[queue]\nkey_file = "{path}"', "test")
    [found] = caught.value.mistakes
    assert (found.line, found.key) == (2, "queue.key_file")
    return found.message, found.hint or ""


def written(path: Path, raw: bytes = base64.b64encode(KEY) + b"\n", mode: int = 0o600) -> Path:
    path.write_bytes(raw)
    path.chmod(mode)
    return path


@contextmanager
def as_somebody_else() -> Iterator[str]:
    """Run as a user who may not read what root or the test's user keeps for itself; that user's name."""
    if os.geteuid() != 0:
        yield "?"  # whoever runs the tests is hindered by mode 000
        return
    os.seteuid(NOBODY)
    try:
        yield "nobody"
    finally:
        os.seteuid(0)


def test_a_key_is_read_and_stays_out_of_the_log(tmp_path: Path) -> None:
    options = parse(f'[queue]\nkey_file = "{written(tmp_path / "key")}"', "test")
    assert options.queue_key == KEY
    assert "queue_key" not in repr(options)


def test_a_key_that_is_not_there_is_not_a_wrong_one_and_making_it_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "key"
    message, hint = mistake(path)
    assert message == f"{path} does not exist"
    assert f"sh -Cc 'umask 077; openssl rand -base64 32 > {path}'" in hint
    assert "restore the key" in hint


def test_a_key_that_cannot_be_read_names_the_user_who_cannot_and_no_way_to_write(tmp_path: Path) -> None:
    path = written(tmp_path / "key", mode=0o600 if os.geteuid() == 0 else 0)
    with as_somebody_else() as name:
        message, hint = mistake(path)
    assert message.startswith(f"{path} cannot be read by ")
    assert name in (message.rpartition(" ")[2], "?")
    assert "chown" in hint
    assert not WRITES.search(hint)
    assert base64.b64decode(path.read_bytes() if os.geteuid() == 0 else base64.b64encode(KEY)) == KEY


@pytest.mark.parametrize("raw", [b"", b"c2hvcnQ=", b"\xff\xfe not base64", base64.b64encode(bytes(33)), b"x" * 10_000])
def test_a_file_that_holds_no_key_is_never_to_be_overwritten(tmp_path: Path, raw: bytes) -> None:
    path = written(tmp_path / "key", raw)
    message, hint = mistake(path)
    assert message == f"{path} can be read, but does not hold a key of 32 bytes in base64"
    assert "never overwrite" in hint
    assert not WRITES.search(hint)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    assert mistake(tmp_path)[0] == f"{tmp_path} cannot be read: Is a directory"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key", mode=mode)
    assert mistake(path) == (f"{path} is a secret that others can read", f"chmod 600 {path}")


def access(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize(("group", "is_shared"), [(0, False), (4, True)])
def test_a_systemd_credential_names_its_reader_in_an_access_list(tmp_path: Path, group: int, is_shared: bool) -> None:
    path = written(tmp_path / "key", mode=0o400)
    none = 0xFFFFFFFF
    entries = ((0x01, 4, none), (0x02, 4, NOBODY), (0x04, group, none), (0x10, 4, none), (0x20, 0, none))
    os.setxattr(path, "system.posix_acl_access", access(*entries))
    assert path.stat().st_mode & 0o777 == 0o440
    if is_shared:
        assert "others can read" in mistake(path)[0]
    else:
        assert parse(f'[queue]\nkey_file = "{path}"', "test").queue_key == KEY


def test_whoever_asks_the_server_need_not_be_able_to_read_its_keys(tmp_path: Path) -> None:
    self_signed("a.test").write(tmp_path, "own")
    (tmp_path / "own.key").unlink()
    config = tmp_path / "letterlock.toml"
    config.write_text('[smtp]\ncertificate = "own.pem"\nkey = "own.key"\n[queue]\nkey_file = "absent"\n')
    with pytest.raises(BadConfig) as caught:
        load(config)
    assert len(caught.value.mistakes) == 2
    options = load(config, secrets=False)
    assert (options.queue_key, options.profiles[0].tls) == (None, None)


def _texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{x}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_advice_of_the_program_or_its_guides_can_overwrite_or_remove_a_file() -> None:
    """Whatever is shown as a command is followed one day, on the wrong machine, for the second time."""
    source = Path(letterlock.__file__).parent
    commands = re.compile(r"\b(?:openssl|echo|printf|cat|sh|tee|dd|rm|mv|cp|truncate|sudo|install)\s+[-{/'\"\w]")
    found = [
        (path.name, text)
        for path in source.rglob("*.py")
        for text in _texts(path)
        if len(text) < 400 and commands.search(text) and WRITES.search(text) and KEEPS not in text
    ]
    assert not [each for each in found if "hint" in each[1] or "\n" not in each[1]], found
    guides = Path(__file__).parents[2] / "docs" / "guides"
    for guide in guides.glob("*.md"):
        for line in guide.read_text().splitlines():
            if re.match(r"\s*(?:openssl|echo|printf|cat)\s", line):
                assert not WRITES.search(line), (guide.name, line)


@pytest.mark.parametrize("start", ["%d/", "$CREDENTIALS_DIRECTORY/"])
def test_a_credential_of_systemd_is_found_where_systemd_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    written(tmp_path / "queue.key")
    text = f'[queue]\nkey_file = "{start}queue.key"'
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert parse(text, "test").queue_key == KEY
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(BadConfig, match=r"/run/credentials/letterlock\.service/queue\.key"):
        parse(text, "test")
    assert parse(text, "test", secrets=False).queue_key is None, "commands that need no keys work everywhere"
