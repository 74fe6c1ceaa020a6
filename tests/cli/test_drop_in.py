"""`letterlock serve --print-drop-in`: what the systemd unit has to allow."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from letterlock.cli.serve import serve

UNIT = Path(__file__).parents[2] / "packaging" / "letterlock.service"


def printed(tmp_path: Path, text: str) -> list[str]:
    config = tmp_path / "letterlock.toml"
    config.write_text(text)
    ran = CliRunner().invoke(serve, ["--config", str(config), "--print-drop-in"])
    assert ran.exit_code == 0, ran.output
    return ran.output.splitlines()


def settings(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("#")]


def route(template: str) -> str:
    return f'[route."example.org"]\nnext_hop = "maildir:{template}"\n'


def test_the_unit_as_shipped_is_enough_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib")
    assert "StateDirectory=letterlock letterlock-drop\n" in UNIT.read_text()
    assert settings(printed(tmp_path, "")) == []


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("/var/mail/{domain}/{local}", ["ReadWritePaths=-/var/mail"]),
        ("/srv/mail-{domain}/{local}", ["ReadWritePaths=-/srv"]),
        ("/home/{local}/Maildir", ["ReadWritePaths=-/home", "ProtectHome=no"]),
        ("/srv/my mail/100%/{local}", ['ReadWritePaths="-/srv/my mail/100%%"']),
        ("/var/tmp/{local}", ["ReadWritePaths=-/var/tmp", "PrivateTmp=no"]),  # noqa: S108
        ("/var/lib/letterlock/mail/{local}", []),
    ],
)
def test_the_fixed_part_of_a_maildir_is_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, wanted: list[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib")
    lines = printed(tmp_path, route(template))
    assert settings(lines) == (["[Service]", *wanted] if wanted else [])


def test_a_queue_and_a_drop_elsewhere_are_to_be_written_too(tmp_path: Path) -> None:
    text = '[queue]\ndirectory = "/srv/queue"\ndrop_directory = "/srv/drop"\n' + route("/srv/queue/{local}")
    assert settings(printed(tmp_path, text)) == ["[Service]", "ReadWritePaths=-/srv/queue", "ReadWritePaths=-/srv/drop"]
    assert "ReadWritePaths=-/srv/q-drop" in printed(tmp_path, '[queue]\ndirectory = "/srv/q"\n')
    assert settings(printed(tmp_path, '[queue]\ndirectory = "/srv/q"\ndrop_directory = false\n')) == [
        "[Service]",
        "ReadWritePaths=-/srv/q",
    ]


def test_the_directory_of_a_policy_socket_is_to_be_written_too(tmp_path: Path) -> None:
    text = '[policy_server]\nlisten = ["127.0.0.1:8642", "unix:/var/spool/postfix/private/letterlock"]\n'
    found = settings(printed(tmp_path, text + '[queue]\ndirectory = "/srv/q"\ndrop_directory = false\n'))
    assert "ReadWritePaths=-/var/spool/postfix/private" in found
