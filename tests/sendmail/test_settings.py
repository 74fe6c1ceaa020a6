"""The keys of the configuration: what is read cheaply is what `tomllib` reads."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.config import load
from letterlock.sendmail import settings as module
from letterlock.sendmail.exits import Failure
from letterlock.sendmail.settings import plain_keys, settings

LINES = [
    'hostname = "h.example"',
    "hostname='h'",
    'smtp.listen = ["1.2.3.4:5"]',
    'smtp = { listen = ["1.2.3.4:5"] }',
    "[smtp]",
    "[smtp] # c",
    '["smtp"]',
    "[ smtp ]",
    "[[smtp]]",
    "[smtp.x]",
    "[queue]",
    "[domain.smtp]",
    "[[listener]]",
    '["listener"]',
    "listener = []",
    '[domain."a]b"]',
    "x = [",
    "]",
    '["a"],',
    '["a"]',
    "[1],",
    "[true]",
    "[1]",
    '"listen"=["a"]',
    'listen = ["127.0.0.1:25"]',
    "listen = []",
    'listen = ["a", "b",]',
    "listen = [",
    '"127.0.0.1:25",',
    'listen = ["a#b"]',
    "max_message_octets = 1_000",
    "max_message_octets = 0x10",
    'directory = "/q"',
    'directory = "/\\u0041"',
    '# listen = ["c"]',
    "",
    '"""',
    "'''",
    'y = """',
    'hostname = "a" # c',
    "[other]",
    "[a.b]",
    'key = "[smtp]"',
    "[queue",
    "a.listen = 1",
]


@given(st.lists(st.sampled_from(LINES), max_size=9))
def test_what_is_read_plainly_is_what_toml_says(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    plain = plain_keys(text)
    if plain is None:
        return
    wanted = {"": ("hostname",), "smtp": ("listen", "max_message_octets"), "queue": ("directory",)}
    for table, names in wanted.items():
        values = data if not table else data.get(table, {})
        for name in names:
            assert plain.get(f"{table}.{name}" if table else name) == values.get(name)


def test_a_plain_file_needs_no_tomllib_and_another_gives_the_same(tmp_path: Path) -> None:
    plain, other = tmp_path / "plain.toml", tmp_path / "other.toml"
    plain.write_text('hostname = "h.example"\n[smtp]\nlisten = ["127.0.0.1:26"]\n[queue]\ndirectory = "q"\n')
    other.write_text("hostname = 'h.example'\nsmtp.listen = [\n'127.0.0.1:26']\nqueue = { directory = 'q' }\n")
    assert plain_keys(plain.read_text()) is not None
    assert plain_keys(other.read_text()) is None
    for path in (plain, other):
        found = settings(str(path))
        assert (found.hostname, found.listen) == ("h.example", ("127.0.0.1:26",))
        assert found.queue_directory() == str(load(path).queue_directory)


def test_of_several_listeners_those_that_relay_without_tls_are_asked(tmp_path: Path) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text(
        '[[listener]]\nlisten = ["127.0.0.1:26"]\n[[listener]]\nrole = "mx"\nlisten = ["192.0.2.1:25"]\n'
        'domains = ["a.test"]\n[[listener]]\nrole = "relay"\nlisten = ["127.0.0.2:26"]\n'
    )
    assert plain_keys(path.read_text()) is None
    assert settings(str(path)).listen == ("127.0.0.1:26", "127.0.0.2:26")
    assert [str(each.endpoints[0]) for each in load(path).listeners if each.profile.role == "relay"] == [
        "127.0.0.1:26",
        "127.0.0.2:26",
    ]


@pytest.mark.parametrize(
    "queue",
    ['store = "sqlite:q"', 'store = "sqlite:~/q"', 'store = "sqlite:"\ndirectory = "d"', 'store = "sqlite:"', ""],
)
def test_the_directory_of_the_store_is_the_servers(tmp_path: Path, queue: str) -> None:
    path = tmp_path / "store.toml"
    path.write_text(f"[queue]\n{queue}\n")
    found, server = settings(str(path)), load(path)
    assert (found.directory is None) == (queue in ("", 'store = "sqlite:"'))
    assert found.directory is None or found.directory == str(server.queue_directory)
    assert str(server.drop_directory) in found.drop_directories()


def test_without_a_file_the_defaults_are_the_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LETTERLOCK_CONFIG", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "empty.toml"
    path.write_text("")
    found, server = settings(str(path)), load(None)
    assert found.listen == tuple(map(str, server.listen))
    assert found.max_message_octets == server.receive.max_message_octets
    assert found.queue_directory() == str(server.queue_directory)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "smtp = 1",
        "[smtp]\nlisten = 1",
        "[smtp]\nmax_message_octets = 'x'",
        "hostname = 1",
        "listener = 1",
        "[[listener]]\nlisten = 1",
        'hostname = "\\u0007"',
    ],
)
def test_what_is_wrong_is_ex_config(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace("x", "'x") if text == "x" else text)
    if plain_keys(path.read_text()) == {}:
        return  # a mistake that does not concern these commands: the server tells it
    with pytest.raises(Failure) as caught:
        settings(str(path))
    assert caught.value.status == 78


def test_a_file_that_cannot_be_read_is_ex_config(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        settings(str(tmp_path / "none.toml"))
    assert caught.value.status == 78


def test_a_system_configuration_that_cannot_be_read_sends_nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "l.toml").symlink_to("nowhere")
    monkeypatch.delenv("LETTERLOCK_CONFIG", raising=False)
    monkeypatch.setattr(module, "SYSTEM_CONFIG", str(tmp_path / "l.toml"))
    with pytest.raises(Failure, match="cannot be read"):
        settings(None)
