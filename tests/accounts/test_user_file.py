"""The file of users: written whole, read with its mistakes named, and silent about who exists."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from letterlock.accounts.guessing import FORGET_SECONDS, MAX_FAILURES_OF_CLIENT, GuessLimiter
from letterlock.accounts.user_file import BadUsers, Users, make_user, new_file, parse_users, read_users, write_users
from letterlock.cli.users import users as command
from letterlock.state.rate_file import RateFile

ANN = "ann@example.org"


def write(path: Path, *names: str) -> Path:
    content = new_file() if not path.exists() else read_users(path)
    for name in names:
        content.users[name] = make_user(name, "secret", (name,))
    write_users(path, content)
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "users", ANN, "bob@example.net")
    assert path.stat().st_mode & 0o777 == 0o600
    content = read_users(path)
    assert list(content.users) == [ANN, "bob@example.net"]
    assert content.users[ANN].addresses == (ANN,)
    assert "argon2" not in repr(content.users[ANN])
    path.chmod(0o640)
    write(path, "cat@example.net")
    assert path.stat().st_mode & 0o777 == 0o640
    assert read_users(path).secret == content.secret
    assert [each.name for each in tmp_path.iterdir()] == ["users"]


def test_rfc9106_3_passwords_fit_or_not(tmp_path: Path) -> None:
    users = Users(write(tmp_path / "users", ANN))
    assert users.password_fits(ANN, "secret")
    assert not users.password_fits(ANN, "Secret")
    assert not users.password_fits("nobody", "nobody"), "the hash that stands for nobody opens nothing"


def test_a_wrong_user_costs_what_a_wrong_password_costs(tmp_path: Path) -> None:
    users = Users(write(tmp_path / "users", ANN))
    user = users.get(ANN)
    assert user is not None
    assert users._nobody.split("$")[:4] == user.argon2.split("$")[:4], "both are checked against a hash of one cost"


def test_a_false_credential_is_always_the_same_and_of_the_form_of_a_true_one(tmp_path: Path) -> None:
    path = write(tmp_path / "users", ANN)
    first, second = Users(path), Users(path)
    assert first.credential("nobody") == second.credential("nobody")
    assert first.credential("nobody").salt != first.credential("somebody").salt
    true, false = first.credential(ANN), first.credential("nobody")
    assert (len(true.salt), true.iterations) == (len(false.salt), false.iterations)


def test_a_changed_file_is_read_again_and_one_with_mistakes_changes_nothing(tmp_path: Path) -> None:
    users = Users(write(tmp_path / "users", ANN))
    write(tmp_path / "users", "bob@example.net")
    users.refresh()
    assert users.get("bob@example.net") is not None
    (tmp_path / "users").write_text("bob\n")
    with pytest.raises(BadUsers, match="line 1: a line has name"):
        users.refresh()
    assert users.get(ANN) is not None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a b c", "a line has name"),
        ("a $argon2i$v=19$m=1,t=1,p=1$AA$AA SCRAM a@b.test", "no argon2id hash"),
        ("a $argon2id$v=19$m=9999999,t=1,p=1$AA$AA SCRAM a@b.test", "costs too much"),
        ("a $argon2id$v=19$m=19456,t=1,p=1$AA$AA SCRAM a@b.test", "cannot be computed"),
        (f"a $argon2id$v=19$m=19456,t=1,p=1${'A' * 22}$AA SCRAM a@b.test", "no SCRAM-SHA-256 credential"),
    ],
)
def test_a_line_that_is_no_user_is_named(line: str, why: str) -> None:
    with pytest.raises(BadUsers, match=f"line 2: .*{why}"):
        parse_users(f"# comment\n{line}\n")


def test_a_user_is_there_once() -> None:
    line = make_user(ANN, "x", (ANN,)).line()
    with pytest.raises(BadUsers, match="there twice"):
        parse_users(f"{line}\n{line}\n")


@pytest.mark.parametrize(
    ("name", "password", "address"),
    [("a b", "x", ANN), ("a", "", ANN), ("a", "\x07", ANN), ("a", "x", "a"), ("#", "x", ANN)],
)
def test_what_cannot_be_a_user_is_refused(name: str, password: str, address: str) -> None:
    with pytest.raises(BadUsers):
        make_user(name, password, (address,))


def test_failures_are_slower_and_slower_and_forgotten() -> None:
    limiter = GuessLimiter(RateFile(None, ""))
    assert [limiter.failed("192.0.2.1", "ann", 0) for _ in range(7)] == [1, 2, 4, 8, 16, 16, 16]
    assert limiter.failed("192.0.2.2", "ann", 0) == 16, "an account is slow for every client"
    assert limiter.failed("192.0.2.3", "bob", 0) == 1
    assert limiter.failed("192.0.2.1", "ann", FORGET_SECONDS) == 1
    limiter.succeeded("192.0.2.2", "ann")
    assert limiter.failed("192.0.2.2", "ann", FORGET_SECONDS) == 1


def test_a_client_is_put_off_and_an_ipv6_client_is_its_network() -> None:
    limiter = GuessLimiter(RateFile(None, ""))
    for number in range(MAX_FAILURES_OF_CLIENT):
        assert not limiter.is_put_off("2001:db8::1", 0)
        limiter.failed(f"2001:db8::{number:x}", None, 0)
    assert limiter.is_put_off("2001:db8::ffff", 0)
    assert not limiter.is_put_off("2001:db8:0:1::1", 0)
    assert not limiter.is_put_off("2001:db8::1", FORGET_SECONDS)


def test_who_goes_on_guessing_has_as_many_guesses_in_each_quarter_of_an_hour() -> None:
    limiter, guesses = GuessLimiter(RateFile(None, "")), 0
    for second in range(4 * int(FORGET_SECONDS)):
        if not limiter.is_put_off("192.0.2.1", second):
            limiter.failed("192.0.2.1", None, second)
            guesses += 1
    assert 4 * MAX_FAILURES_OF_CLIENT <= guesses <= 5 * MAX_FAILURES_OF_CLIENT


def test_users_are_added_changed_listed_and_removed(tmp_path: Path) -> None:
    config = tmp_path / "letterlock.toml"
    config.write_text('[accounts]\nfile = "users"\n')

    def run(*words: str, stdin: str = "") -> tuple[int, str]:
        ran = CliRunner().invoke(command, ["--config", str(config), *words], input=stdin)
        return ran.exit_code, ran.output

    assert run("list") == (0, "")
    behind = CliRunner().invoke(command, ["list", "--config", str(config)])
    assert (behind.exit_code, behind.output) == (0, ""), "the option may stand behind the verb, as elsewhere"
    assert run("add", ANN, stdin="secret\n") == (0, f"added {ANN}\n")
    assert run("add", ANN, stdin="secret\n")[0] == 1
    assert run("add", "bob", stdin="secret\n")[0] == 1, "bob is no address"
    assert run("add", "bob", "--sends-as", "@example.net", stdin="secret\n")[0] == 0
    assert run("list") == (0, f"{ANN}  {ANN}\nbob  @example.net\n")
    assert run("passwd", "bob", stdin="other\n") == (0, "changed bob\n")
    assert Users(tmp_path / "users").password_fits("bob", "other")
    after = CliRunner().invoke(command, ["list", "-v", "--config", str(config)])
    assert f"configuration: {config}" in after.stderr, "the option may stand behind the verb, as at all others"
    before = CliRunner().invoke(command, ["--config", str(config), "-v", "list"])
    assert f"configuration: {config}" in before.stderr
    assert run("remove", ANN) == (0, f"removed {ANN}\n")
    assert run("remove", ANN)[0] == 1
    assert run("list") == (0, "bob  @example.net\n")
    config.write_text("")
    assert run("list")[0] == 1


def test_a_password_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    config = tmp_path / "letterlock.toml"
    config.write_text('[accounts]\nfile = "users"\n')
    write_users(tmp_path / "users", new_file())
    ran = CliRunner().invoke(command, ["--config", str(config), "add", ANN], input=b"\xff\xfe\n")
    assert (ran.exit_code, ran.stderr) == (1, "error: the password is not UTF-8 text\n")
