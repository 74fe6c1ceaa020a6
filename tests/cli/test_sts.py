"""`letterlock sts`: making a policy, and what to publish."""

from pathlib import Path

from click.testing import CliRunner

from letterlock.cli.main import main
from letterlock.cli.sts_verbs import records
from letterlock.mtasts import StsPolicy, parse_policy


def test_a_policy_and_what_to_publish() -> None:
    result = CliRunner().invoke(main, ["sts", "policy", "Example.ORG", "--mx", "mx.example.org", "--mx", "*.b.example"])
    assert result.exit_code == 0
    policy = parse_policy(result.stdout.encode())
    assert isinstance(policy, StsPolicy)
    assert policy.mx == ("mx.example.org", "*.b.example")
    assert '_mta-sts.example.org. IN TXT "v=STSv1; id=' in result.stderr


def test_the_id_follows_from_the_text_whatever_its_line_ends() -> None:
    one, other = b"version: STSv1\nmode: none\n", b"version: STSv1\nmode: testing\n"
    assert records("a.example", one) == records("a.example", one.replace(b"\n", b"\r\n"))
    assert records("a.example", one)[0] != records("a.example", other)[0]


def test_what_would_be_no_policy_is_refused(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(main, ["sts", "policy", "example.org", "--mx", "not a host"]).exit_code == 1
    assert run(main, ["sts", "policy", "not a domain", "--mx", "mx.example.org"]).exit_code == 2
    pem = tmp_path / "x.pem"
    pem.write_text("nothing")
    options = ["--certificate", str(pem), "--key", str(pem)]
    result = run(main, ["sts", "serve", str(tmp_path), *options])
    assert (result.exit_code, "there is no policy in" in result.stderr) == (1, True)
    assert run(main, ["sts", "serve", str(tmp_path), *options, "--listen", "nowhere"]).exit_code == 2
