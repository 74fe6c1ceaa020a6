"""The configuration: safe defaults, every mistake at once, each with its line and a hint."""

import ipaddress
import ssl
from pathlib import Path

import pytest

from letterlock.config import BadConfig, Endpoint, find, load, locate, parse, reading, system_roots
from letterlock.presence import is_there
from letterlock.routing.destination_rule import TlsRule
from letterlock.shared_defaults import ENVIRONMENT
from letterlock.store.engines import ENGINES
from tests.certificates import authority, self_signed
from tests.identity.hostile_chains import looped, rsa_key


def mistakes(text: str, base: Path | None = None) -> list[tuple[int | None, str, str, str | None]]:
    with pytest.raises(BadConfig) as caught:
        parse(text, "letterlock.toml", base=base)
    return [(mistake.line, mistake.key, mistake.message, mistake.hint) for mistake in caught.value.mistakes]


def test_without_a_file_the_server_listens_on_loopback_and_relays_for_nobody_else() -> None:
    options = load(None)
    assert options.listen == (Endpoint("127.0.0.1", 2525),)
    assert options.profiles[0].tls is None
    assert set(options.profiles[0].relay_networks) == {
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    }


def test_the_queue_goes_below_the_users_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert load(None).queue_directory == tmp_path / "letterlock"


def test_the_store_names_the_servers_directory(tmp_path: Path) -> None:
    (tmp_path / "l.toml").write_text('[queue]\nstore = "sqlite:mail"\n')
    options = load(tmp_path / "l.toml")
    assert options.store.engine == "sqlite"
    assert options.queue_directory == options.state_directory == tmp_path / "mail"
    assert options.drop_directory == tmp_path / "mail-drop"


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        ('store = "mbox:x"', f"unknown store engine 'mbox'; one of: {', '.join(ENGINES)}"),
        ("store = 1", "must be text in quotes, not 1"),
        ('directory = "/a"\nstore = "sqlite:/b"', "names another directory than `directory` (/a)"),
    ],
)
def test_a_store_that_cannot_be_meant_is_a_mistake(queue: str, message: str) -> None:
    [(line, key, told, _)] = mistakes(f"[queue]\n{queue}\n")
    assert (line, key, told) == (queue.count("\n") + 2, "queue.store", message)


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = """\
hostname = "mx.example.org"
hostnam = "x"

[smtp]
listen = ["127.0.0.1:2525",
  "localhost:25"]
max_recipients = "many"

[domain."example.org"]
tls = "verfy"
"""
    found = mistakes(text)
    assert [(line, key) for line, key, _, _ in found] == [
        (2, "hostnam"),
        (5, "smtp.listen[1]"),
        (7, "smtp.max_recipients"),
        (10, 'domain."example.org".tls'),
    ]
    assert found[0][2:] == ("unknown key", 'did you mean "hostname"?')
    assert found[3][2:] == (
        "unknown value 'verfy'; one of: may, require-tls, verify, dane-only",
        'did you mean "verify"?',
    )


def test_the_report_is_what_the_operator_reads() -> None:
    with pytest.raises(BadConfig) as caught:
        parse('[smtp]\nlisten = "127.0.0.1:25"\n', "letterlock.toml")
    assert str(caught.value).splitlines()[0] == "letterlock.toml:2: smtp.listen"
    assert str(caught.value).endswith("1 mistake. Nothing was started.")


def test_broken_toml_is_told_with_its_line() -> None:
    [(line, key, message, _)] = mistakes("[smtp]\nlisten = [\n")
    assert key == ""
    assert message.startswith("is not TOML")
    assert line is None or line >= 2


def test_a_certificate_without_its_key_is_a_mistake(tmp_path: Path) -> None:
    [(line, key, message, hint)] = mistakes('[smtp]\ncertificate = "c.pem"\n', tmp_path)
    assert (line, key) == (2, "smtp.certificate")
    assert "key is not" in message
    assert hint == "TLS needs both"


def test_a_key_of_another_certificate_is_a_mistake(tmp_path: Path) -> None:
    one, other = self_signed("a.test"), self_signed("b.test")
    one.write(tmp_path, "one")
    other.write(tmp_path, "other")
    [(_, key, message, _)] = mistakes('[smtp]\ncertificate = "one.pem"\nkey = "other.key"\n', tmp_path)
    assert key == "smtp.certificate"
    assert "does not belong to" in message


def test_missing_files_are_named(tmp_path: Path) -> None:
    text = '[resolver]\nanchors = ["root.ds"]\n[domain."a.test"]\ntls = "verify"\ntrust = "ca.pem"\n'
    found = mistakes(text, tmp_path)
    assert [(line, key) for line, key, _, _ in found] == [(2, "resolver.anchors[0]"), (5, 'domain."a.test".trust')]
    assert all("No such file" in message for _, _, message, _ in found)


def test_names_without_verify_mean_nothing_and_are_refused() -> None:
    [(line, key, _, _)] = mistakes('[domain."a.test"]\ntls = "require-tls"\nnames = ["mx.a.test"]\n')
    assert (line, key) == (3, 'domain."a.test".names')


def test_rules_reach_the_policy_with_their_place() -> None:
    options = parse('[domain."Faß.de"]\ntls = "require-tls"\n', "letterlock.toml")
    rule = options.rules.for_next_hop("xn--fa-hia.de")
    assert rule is not None
    assert rule.tls is TlsRule.REQUIRE_TLS
    assert "letterlock.toml" in rule.source


def test_a_negative_anchor_has_a_reason_and_an_end() -> None:
    text = '[resolver.negative."broken.test"]\nreason = "expired signatures"\nuntil = 2027-01-31\n'
    [negative] = parse(text, "letterlock.toml").resolver.negative_anchors
    assert (str(negative.zone), negative.reason, negative.until) == ("broken.test.", "expired signatures", 1801353600.0)
    found = mistakes('[resolver.negative."broken.test"]\nuntil = "soon"\nreson = "x"\n')
    assert [(line, key) for line, key, _, _ in found] == [
        (1, 'resolver.negative."broken.test".reason'),
        (2, 'resolver.negative."broken.test".until'),
        (3, 'resolver.negative."broken.test".reson'),
    ]
    assert found[2][3] == 'did you mean "reason"?'


def test_sha1_can_be_switched_off() -> None:
    assert {5, 7} <= parse("", "defaults").resolver.algorithms
    assert not {5, 7} & parse("[resolver]\nsha1 = false\n", "letterlock.toml").resolver.algorithms


def test_an_unreadable_file_is_one_clear_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        load(tmp_path / "absent.toml")


def test_locate_finds_keys_in_every_form_of_toml() -> None:
    text = 'a.b = 1\n["x y"]\n"k=1" = 2\n[t]\n  u = {v = 1}\n'
    lines = locate(text)
    assert lines[("a", "b")] == 1
    assert lines[("x y",)] == 2
    assert lines[("t", "u")] == 5


def test_the_systems_roots_are_there_and_warn_of_nothing() -> None:
    assert len(system_roots().certificates) > 50
    assert system_roots().name == "system"
    assert system_roots().left_out == ()


def test_a_root_that_cannot_be_used_is_left_out_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weak, good = looped(rsa_key(1024).public_key(), rsa_key(1024), 1, subject="Weak"), authority().der
    (tmp_path / "ca.pem").write_text("".join(map(ssl.DER_cert_to_PEM_cert, (weak, good))))
    text = '[domain."a.test"]\ntls = "verify"\ntrust = "ca.pem"\n'
    rule = parse(text, "letterlock.toml", base=tmp_path).rules.for_next_hop("a.test")
    assert rule is not None
    assert rule.trust is not None
    assert rule.trust.certificates == (good,)
    why = "the key of Weak is too short: RSA with 1024 bits; at least 2048 are required"
    assert rule.trust.left_out == (why,)
    assert f"1 of the 2 roots of {tmp_path / 'ca.pem'} cannot be used: {why}" in caplog.text


def test_a_file_of_roots_that_cannot_be_used_is_a_mistake(tmp_path: Path) -> None:
    weak = looped(rsa_key(1024).public_key(), rsa_key(1024), 1, subject="Weak")
    (tmp_path / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(weak))
    [(_, _, message, _)] = mistakes('[domain."a.test"]\ntls = "verify"\ntrust = "ca.pem"\n', tmp_path)
    assert "holds no certificate that can be trusted: the key of Weak is too short" in message


def test_a_file_without_certificates_is_no_trust(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing\n")
    text = '[domain."a.test"]\ntls = "verify"\ntrust = "ca.pem"\n'
    [(_, key, message, _)] = mistakes(text, tmp_path)
    assert key == 'domain."a.test".trust'
    assert "holds no certificates" in message


def test_a_system_configuration_that_cannot_be_read_is_not_taken_for_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "l.toml").symlink_to("nowhere")
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr(reading, "SYSTEM_CONFIG", str(tmp_path / "l.toml"))
    with pytest.raises(BadConfig, match="cannot be read: No such file"):
        load(find(None))


def test_only_what_is_surely_absent_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert is_there(tmp_path / "file")
    assert is_there(tmp_path / "dangling")
    assert is_there(tmp_path / ("long" * 100))  # nobody can say, so reading it has to
    assert not is_there(tmp_path / "none")
    assert not is_there(tmp_path / "file" / "none")


@pytest.mark.parametrize(
    "text",
    [
        '[local."example.org"]\n[local."Example.ORG"]\n',
        '[dkim."example.org"]\ndirectory = "a"\n[dkim."EXAMPLE.org"]\ndirectory = "b"\n',
        '[dkim."example.org"]\nselectors = { s1 = "a.pem", S1 = "b.pem" }\n',
        '[resolver.negative]\n"a.example" = { reason = "x" }\n"A.example" = { reason = "y" }\n',
        '[dns_list."bl.example"]\n[dns_list."BL.example"]\n',
    ],
)
def test_of_two_names_of_one_domain_none_is_lost_without_a_word(text: str) -> None:
    assert any(message.endswith(" are the same") for _, _, message, _ in mistakes(text))
