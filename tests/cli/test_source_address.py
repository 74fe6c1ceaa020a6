"""An address to send from that this machine does not have is told before anything is started."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from letterlock.cli.check.command import check
from letterlock.cli.serve import serve


@pytest.mark.parametrize("arguments", [[], ["--check-config"]])
def test_serve_ends_with_status_78(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text('[delivery]\nsource_address = ["192.0.2.1"]\n')
    ran = CliRunner().invoke(serve, [*arguments, "--config", str(path)])
    assert ran.exit_code == 78
    assert f"{path}:2: delivery.source_address\n  mail cannot be sent from 192.0.2.1: " in ran.stderr


def test_check_ends_with_status_78(tmp_path: Path) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text('[route."a.test"]\nnext_hop = "b.test"\nsource_address = ["2001:db8::1"]\n')
    ran = CliRunner().invoke(check, ["--config", str(path), "a.test"])
    assert ran.exit_code == 78
    assert 'route."a.test".source_address' in ran.stderr


def test_one_that_it_has_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text('[delivery]\nsource_address = ["127.0.0.1"]\n')
    ran = CliRunner().invoke(serve, ["--check-config", "--config", str(path)])
    assert ran.exit_code == 0
