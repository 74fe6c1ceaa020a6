"""`letterlock dkim`: keys, records, and what is published."""

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from letterlock.cli import dkim
from letterlock.config import ResolverOptions
from letterlock.dkim import read_signing_key, zone_line
from letterlock.lab.box import running_box
from letterlock.lab.scenarios import Attack
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Security
from tests.cli.running import asking, letterlock
from tests.mailauth.answers import failure, txt

NAME = "s1._domainkey.example.org"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(dkim.dkim, arguments)


def made(path: Path, *options: str) -> Result:
    return run("key", "example.org", "--selector", "s1", "--file", str(path), *options)


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_a_key_is_made_and_its_record_printed(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "key.pem"
    ran = made(path, "--algorithm", algorithm)
    assert ran.exit_code == 0, ran.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = read_signing_key(path.read_bytes(), "example.org", "s1")
    assert ran.stdout == zone_line(NAME, key.record) + "\n"
    assert f"k={algorithm}; p=" in ran.stdout
    again = run("record", str(path), "example.org", "s1")
    assert (again.exit_code, again.stdout) == (0, ran.stdout)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("precious")
    ran = made(path)
    assert ran.exit_code == 1
    assert "exists; nothing was written" in ran.stderr
    assert path.read_text() == "precious"
    assert ran.stdout == ""


def test_the_file_is_named_after_domain_and_selector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("key", "Example.ORG", "--algorithm", "ed25519")
    assert ran.exit_code == 0
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("example.org.ed25519-20")
    assert ran.stdout.startswith(
        file.name.removeprefix("example.org.").removesuffix(".pem") + "._domainkey.example.org."
    )


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [(None, 0, "No such file"), ("x", 0o600, "no unencrypted private key"), ("x", 0o640, "hint: chmod 600")],
)
def test_files_without_a_usable_key(tmp_path: Path, content: str | None, mode: int, message: str) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    ran = run("record", str(path), "example.org", "s1")
    assert ran.exit_code == 1
    assert message in ran.stderr


def test_names_that_are_none_are_usage_errors() -> None:
    assert run("key", "-").exit_code == 2
    assert run("key", "example.org", "--selector", "a b").exit_code == 2
    assert run("key", "example.org", "--bits", "1024").exit_code == 2


def checked(monkeypatch: pytest.MonkeyPatch, answer: Answer | LookupFailure, *options: str) -> Result:
    async def ask(name: str, options: ResolverOptions) -> Answer | LookupFailure:
        assert name == NAME
        return answer

    monkeypatch.setattr(dkim, "_ask", ask)
    return run("check", "example.org", "s1", *options)


def test_a_published_key_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "key.pem", tmp_path / "other.pem"
    made(path)
    made(other)
    record = read_signing_key(path.read_bytes(), "example.org", "s1").record
    answer = txt(NAME, record, security=Security.SECURE)
    ran = checked(monkeypatch, answer, "--key", str(path))
    assert ran.exit_code == 0
    assert ran.stdout == f"{NAME} (secure): RSA, 2048 bits\n  it belongs to the private key\n"
    ran = checked(monkeypatch, answer, "--key", str(other), "--json")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout) == {
        "name": NAME,
        "security": "secure",
        "algorithm": "rsa-sha256",
        "bits": 2048,
        "testing": False,
        "reason": None,
        "detail": "RSA, 2048 bits",
        "belongs_to_key": False,
    }
    assert "does not belong" in checked(monkeypatch, answer, "--key", str(other)).stdout
    assert "t=y" in checked(monkeypatch, txt(NAME, f"{record}; t=y")).stdout


def test_absent_and_unknown_are_two_statuses(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = checked(monkeypatch, txt(NAME))
    assert (ran.exit_code, "publishes no key" in ran.stdout) == (1, True)
    for kind, state in ((FailureKind.BOGUS, "bogus"), (FailureKind.TIMEOUT, "indeterminate")):
        ran = checked(monkeypatch, failure(NAME, kind), "--json")
        assert (ran.exit_code, json.loads(ran.stdout)["security"]) == (3, state)


async def test_the_question_is_validated() -> None:
    async with running_box(Attack.NONE) as box:
        ran = await letterlock("dkim", "check", "dane-ee.test", "s1", *asking(box))
    assert ran.status == 1
    assert ran.out.startswith("s1._domainkey.dane-ee.test (secure): the domain publishes no key under this selector")


def test_half_a_key_is_not_left_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    ran = made(tmp_path / "key.pem")
    assert (ran.exit_code, ran.stderr) == (1, f"error: {tmp_path / 'key.pem'}: No space left on device\n")
    assert not (tmp_path / "key.pem").exists()
