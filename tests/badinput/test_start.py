"""`letterlock serve` that cannot start says why and what to do, and starts nothing."""

import socket
from pathlib import Path

import pytest

from letterlock.store.sqlite.sqlite_store import FILE
from tests.certificates import self_signed
from tests.interop.letterlock import Done, letterlock, serving, write_config
from tests.interop.nameservers import Place
from tests.interop.programs import loopback_prefix

EX_CONFIG = 78

GOOD = """\
hostname = "mx.example.org"
[smtp]
listen = ["@LISTEN@"]
[queue]
directory = "@QUEUE@"
[resolver]
upstream = ["127.0.0.1:9"]
"""


@pytest.fixture(name="place")
def place_fixture() -> Place:
    """Where a server of this test may listen."""
    return Place.free(f"{loopback_prefix()}.1")


def serve(directory: Path, place: Place, config: str) -> Done:
    """Start a server that must not start."""
    return letterlock("serve", "--config", str(write_config(directory, place, config)), seconds=20)


def test_all_mistakes_of_a_configuration_at_once_with_line_and_hint(tmp_path: Path, place: Place) -> None:
    config = (
        'hostnme = "mx.example.org"\n'
        "[smtp]\n"
        'listen = ["127.0.0.1"]\n'
        "max_message_octets = -5\n"
        "[queue]\n"
        'directory = "@QUEUE@"\n'
        'retry_first_seconds = "soon"\n'
        '[domain."example.org"]\n'
        'tls = "verfy"\n'
    )
    done = serve(tmp_path, place, config)
    assert done.status == EX_CONFIG, done
    for number, key in (
        (1, "hostnme"),
        (3, "listen"),
        (4, "max_message_octets"),
        (7, "retry_first_seconds"),
        (9, "tls"),
    ):
        assert f"letterlock.toml:{number}: " in done.stderr, done.stderr
        assert key in done.stderr, done.stderr
    assert 'did you mean "hostname"' in done.stderr
    assert 'did you mean "verify"' in done.stderr
    assert "5 mistakes. Nothing was started." in done.stderr
    assert not (tmp_path / "queue").exists()


def test_a_file_that_is_not_toml_names_the_line(tmp_path: Path, place: Place) -> None:
    done = serve(tmp_path, place, 'hostname = "mx.example.org"\n[smtp\n')
    assert done.status == EX_CONFIG, done
    assert "letterlock.toml:2" in done.stderr


def test_a_missing_configuration_file(tmp_path: Path) -> None:
    done = letterlock("serve", "--config", str(tmp_path / "nowhere.toml"))
    assert done.status == EX_CONFIG, done
    assert "nowhere.toml" in done.stderr
    assert "No such file" in done.stderr


def test_a_port_in_use(tmp_path: Path, place: Place) -> None:
    with socket.create_server((place.address, place.port)):
        done = serve(tmp_path, place, GOOD)
    assert done.status == 1, done
    assert f"{place.address}:{place.port}" in done.stderr
    assert "Address already in use" in done.stderr
    assert "hint:" in done.stderr


def test_an_address_that_this_machine_does_not_have(tmp_path: Path) -> None:
    done = serve(tmp_path, Place("192.0.2.1", 2525), GOOD)
    assert done.status == 1, done
    assert "192.0.2.1:2525" in done.stderr


def test_a_certificate_that_does_not_fit_its_key(tmp_path: Path, place: Place) -> None:
    certificate, _ = self_signed("mx.example.org").write(tmp_path, "one")
    _, key = self_signed("mx.example.org").write(tmp_path, "two")
    config = GOOD.replace("[queue]", f'certificate = "{certificate}"\nkey = "{key}"\n[queue]')
    done = serve(tmp_path, place, config)
    assert done.status == EX_CONFIG, done
    assert str(key) in done.stderr or str(certificate) in done.stderr
    assert "letterlock.toml:4" in done.stderr


def test_a_certificate_that_is_none(tmp_path: Path, place: Place) -> None:
    (tmp_path / "cert.pem").write_text("this is no certificate\n")
    config = GOOD.replace("[queue]", 'certificate = "cert.pem"\nkey = "cert.pem"\n[queue]')
    done = serve(tmp_path, place, config)
    assert done.status == EX_CONFIG, done
    assert "cert.pem" in done.stderr


def test_a_certificate_without_its_key(tmp_path: Path, place: Place) -> None:
    certificate, _ = self_signed("mx.example.org").write(tmp_path, "one")
    done = serve(tmp_path, place, GOOD.replace("[queue]", f'certificate = "{certificate}"\n[queue]'))
    assert done.status == EX_CONFIG, done
    assert "key is not" in done.stderr


@pytest.mark.parametrize(
    "directory", ["taken/queue", "/proc/letterlock"], ids=["below a file", "on a closed file system"]
)
def test_a_queue_that_cannot_be_written(tmp_path: Path, place: Place, directory: str) -> None:
    (tmp_path / "taken").write_text("a file, not a directory\n")
    done = serve(tmp_path, place, GOOD.replace("@QUEUE@", str(tmp_path / directory)))
    assert done.status == 1, done
    assert str(tmp_path / directory) in done.stderr
    assert "hint:" in done.stderr


def test_a_queue_file_that_is_no_queue(tmp_path: Path, place: Place) -> None:
    with serving(tmp_path, place, GOOD):
        pass
    queue = tmp_path / "queue" / FILE
    assert queue.exists(), list(queue.parent.iterdir())
    queue.write_bytes(b"this is no database, and it is long enough to be looked at" * 100)
    done = serve(tmp_path, place, GOOD)
    assert done.status == 1, done
    assert "queue" in done.stderr


def test_a_second_server_on_the_same_queue(tmp_path: Path, place: Place) -> None:
    with serving(tmp_path, place, GOOD) as first:
        (tmp_path / "second").mkdir()
        config = GOOD.replace("@QUEUE@", str(tmp_path / "queue"))
        done = serve(tmp_path / "second", Place.free(place.address), config)
        assert done.status == 1, done
        assert str(tmp_path / "queue") in done.stderr
        assert first.queue("list").status == 0


def test_the_queue_verb_without_a_server(tmp_path: Path, place: Place) -> None:
    config = write_config(tmp_path, place, GOOD)
    done = letterlock("queue", "list", "--config", str(config))
    assert done.status != 0, done
    assert "hint:" in done.stderr


def test_an_unknown_verb_is_a_usage_error() -> None:
    done = letterlock("srve")
    assert done.status == 2, done
    assert "srve" in done.stderr
