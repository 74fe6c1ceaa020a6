"""Commands fail in one form: `error:` on standard error, and a status of their own."""

from pathlib import Path

from click.testing import CliRunner

from letterlock.cli import command_failed
from letterlock.cli.users import users

COMMANDS = Path(command_failed.__file__).parent


def test_a_command_that_fails_writes_error_in_small_letters(tmp_path: Path) -> None:
    config = tmp_path / "letterlock.toml"
    config.write_text('hostname = "mx.example.org"\n')
    done = CliRunner().invoke(users, ["list", "--config", str(config)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == 'error: the configuration has no file of users\n  hint: [accounts] file = "users"\n'


def test_no_command_writes_it_otherwise() -> None:
    found = [path.name for path in COMMANDS.rglob("*.py") if "click.ClickException(" in path.read_text()]
    assert found == []
