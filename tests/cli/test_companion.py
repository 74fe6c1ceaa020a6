"""`letterlock companion`: a stock Postfix is changed, checked and put back; every trap is named with its repair."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from letterlock.cli import companion as module
from letterlock.cli.companion import companion
from letterlock.companion import setup_apply
from letterlock.companion.postfix_facts import PostfixFacts, read_facts
from letterlock.companion.setup_plan import CannotPlan, Door, has_fixed_mx_policy, plan, with_keys
from letterlock.companion.traps import traps
from tests.interop.programs import find, run

RESOLV = "# by the network\nnameserver 192.0.2.53\nsearch example.org\n"


class Machine:
    """A Postfix configuration, a resolv.conf and a place for Letterlock's files, all below one directory."""

    def __init__(self, directory: Path) -> None:
        find("postconf")
        self.commands: list[tuple[str, ...]] = []
        self.etc, self.spool = directory / "postfix", directory / "spool"
        self.resolv, self.config, self.backups = directory / "resolv.conf", directory / "l.toml", directory / "backup"
        self.etc.mkdir()
        (self.spool / "etc").mkdir(parents=True)
        for name in ("main.cf.proto", "master.cf.proto"):
            shutil.copy(Path("/etc/postfix") / name, self.etc / name.removesuffix(".proto"))
        self.set(queue_directory=str(self.spool), compatibility_level="3.6", myhostname="mx.own.example",
                 mydestination="$myhostname, own.example, localhost")  # fmt: skip
        self.resolv.write_text(RESOLV)
        (self.spool / "etc" / "resolv.conf").write_text(RESOLV)

    def set(self, **parameters: str) -> None:
        run("postconf", "-c", self.etc, "-e", *(f"{name}={value}" for name, value in parameters.items()))
        self.settle()

    def settle(self) -> None:
        """Make main.cf look old: Postfix' programs wait while it is younger than a second or two."""
        os.utime(self.etc / "main.cf", (1, 1))

    def facts(self) -> PostfixFacts:
        return read_facts(self.etc, self.resolv)

    def run(self, verb: str, *more: str) -> Result:
        places = ["--postfix", self.etc, "--resolv-conf", self.resolv]
        places += ["--config", self.config] if verb != "disable" else []
        places += ["--backup-directory", self.backups] if verb != "check" else []
        ran = CliRunner().invoke(companion, [verb, *map(str, places), *more])
        self.settle()
        return ran

    def state(self) -> dict[str, str]:
        files = [self.etc / "main.cf", self.resolv, self.spool / "etc" / "resolv.conf", self.config]
        return {path.name + str(len(path.parts)): path.read_text() for path in files if path.exists()}


def made_machine(directory: Path, patch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(directory)
    patch.setattr(module, "UNIT", directory / "letterlock.service")
    patch.setattr(module, "PACKAGED_UNITS", ())
    patch.setattr(module, "_run", machine.commands.extend)
    return machine


@pytest.fixture(name="machine")
def machine_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return made_machine(tmp_path, monkeypatch)


def test_enable_prints_and_changes_nothing(machine: Machine) -> None:
    before = machine.state()
    printed = machine.run("enable")
    assert printed.exit_code == 0
    assert "smtp_tls_policy_maps=socketmap:inet:127.0.0.1:8642:QUERY'" in printed.output
    assert "ExecStart=" in printed.output
    assert machine.state() == before
    assert not machine.backups.exists()


def test_enable_and_disable_leave_everything_as_it_was(machine: Machine) -> None:
    before, written = machine.state(), machine.facts().written
    assert machine.run("enable", "--apply").exit_code == 0
    facts = machine.facts()
    assert facts.parameters["smtp_tls_security_level"] == "dane"
    assert facts.parameters["smtp_tls_dane_insecure_mx_policy"] == "dane"
    assert facts.parameters["smtp_tls_mandatory_protocols"] == ">=TLSv1.2"
    assert (
        facts.chroot_resolv_conf
        == facts.resolv_conf
        == "nameserver 127.0.0.1\noptions edns0 trust-ad\n# by the network\nsearch example.org\n"
    )
    assert 'upstream = ["192.0.2.53"]' in machine.config.read_text()
    assert machine.commands[-1] == ("postfix", "-c", str(machine.etc), "reload")
    undone = machine.run("disable")
    assert undone.exit_code == 0
    assert machine.facts().written == written
    after = machine.state()
    assert {name: text for name, text in after.items() if "main.cf" not in name} == {
        name: text for name, text in before.items() if "main.cf" not in name
    }
    assert machine.run("disable").exit_code == 1


def test_enable_twice_keeps_what_was_there_at_first(machine: Machine) -> None:
    written = machine.facts().written
    machine.run("enable", "--apply")
    machine.run("enable", "--apply", "--door", "policy", "--door", "resolver", "--door", "relay")
    assert "transport" in machine.facts().parameters["transport_maps"]
    assert 'local_domains = ["mx.own.example", "own.example", "localhost"]' in machine.config.read_text()
    machine.run("disable")
    assert machine.facts().written == written
    assert machine.resolv.read_text() == RESOLV


def test_what_somebody_changed_since_is_left_and_named(machine: Machine) -> None:
    machine.run("enable", "--apply")
    machine.set(smtp_tls_security_level="encrypt")
    machine.resolv.write_text("nameserver 203.0.113.1\n")
    undone = machine.run("disable")
    assert undone.exit_code == 0
    assert "smtp_tls_security_level in main.cf: it was changed since" in undone.output
    assert machine.facts().parameters["smtp_tls_security_level"] == "encrypt"
    assert machine.resolv.read_text() == "nameserver 203.0.113.1\n"


def test_a_link_of_systemd_resolved_is_put_back_as_a_link(machine: Machine, tmp_path: Path) -> None:
    stub = tmp_path / "stub-resolv.conf"
    stub.write_text("nameserver 127.0.0.53\noptions edns0\n")
    machine.resolv.unlink()
    machine.resolv.symlink_to(stub)
    enabled = machine.run("enable", "--apply")
    assert "strips signatures" in enabled.output
    assert not machine.resolv.is_symlink()
    assert stub.read_text().startswith("nameserver 127.0.0.53")
    machine.run("disable")
    assert machine.resolv.readlink() == stub


def test_maps_of_the_operator_come_before_ours_and_other_policy_servers_go(machine: Machine) -> None:
    machine.set(smtp_tls_policy_maps="hash:/etc/postfix/policy, socketmap:inet:127.0.0.1:8461:postfix")
    machine.run("enable", "--apply")
    maps = machine.facts().parameters["smtp_tls_policy_maps"]
    assert maps == "hash:/etc/postfix/policy, socketmap:inet:127.0.0.1:8642:QUERY"


def test_the_policy_door_alone_carries_fingerprints(machine: Machine) -> None:
    machine.run("enable", "--apply", "--door", "policy")
    assert machine.facts().parameters["smtp_tls_fingerprint_digest"] == "sha256"
    assert 'answer = "fingerprint"' in machine.config.read_text()
    assert machine.resolv.read_text() == RESOLV


def test_a_configuration_that_is_there_keeps_all_its_lines(machine: Machine) -> None:
    text = '# mine\nhostname = "mx.example.org"\n\n[resolver] # asks\nupstream = ["192.0.2.1"]\n'
    text += '[domain."a.example"]\ntls = "verify"\n'
    machine.config.write_text(text)
    machine.run("enable", "--apply")
    changed = machine.config.read_text()
    assert set(text.splitlines()) <= set(changed.splitlines())
    assert 'upstream = ["192.0.2.1"]' in changed
    assert "192.0.2.53" not in changed
    machine.run("disable")
    assert machine.config.read_text() == text


def test_a_configuration_with_mistakes_is_not_touched(machine: Machine) -> None:
    machine.config.write_text("hostnam = 1\n")
    failed = machine.run("enable", "--apply")
    assert failed.exit_code == 78
    assert machine.resolv.read_text() == RESOLV
    with pytest.raises(CannotPlan):
        with_keys("[", {})


def test_check_of_a_stock_postfix_names_every_trap_with_its_repair(machine: Machine) -> None:
    machine.config.write_text('[resolver]\nlisten = ["127.0.0.1:1"]\n[policy_server]\nlisten = ["127.0.0.1:1"]\n')
    checked = machine.run("check")
    assert checked.exit_code == 1
    for words in (
        "does not ask for the AD bit", "resolv.conf names 192.0.2.53", "does not ask the policy door",
        "smtp_tls_CAfile is empty", "the policy door inet:127.0.0.1:1 does not answer",
    ):  # fmt: skip
        assert words in checked.output
    problems = checked.output.count("problem  ")
    assert checked.output.count("repair: ") == problems > 5


def changed(facts: PostfixFacts, parameters: Mapping[str, str], **more: object) -> PostfixFacts:
    both = {"parameters": {**facts.parameters, **parameters}, "written": {**facts.written, **parameters}}
    return replace(facts, **(both | more))  # type: ignore[arg-type]  # fields of the facts


@pytest.fixture(name="good", scope="module")
def good_fixture(tmp_path_factory: pytest.TempPathFactory) -> PostfixFacts:
    """A Postfix that `enable` has set up."""
    with pytest.MonkeyPatch.context() as patch:
        machine = made_machine(tmp_path_factory.mktemp("good"), patch)
        machine.run("enable", "--apply")
        return machine.facts()


def problems(facts: PostfixFacts, *, fingerprints: bool = False) -> list[str]:
    found = list(traps(facts, resolver=True, policy=True, fingerprints=fingerprints))
    assert all(bool(each.repair) == (each.level == "problem") for each in found)
    return [each.text for each in found if each.level == "problem"]


def test_what_enable_set_up_has_no_traps(good: PostfixFacts) -> None:
    assert problems(good) == []


TRAPS: tuple[tuple[dict[str, str], dict[str, object], str], ...] = (
    ({"smtp_dns_support_level": ""}, {}, "does not ask for the AD bit"),
    ({"smtp_tls_security_level": "may"}, {}, "not authenticated"),
    ({"smtp_tls_dane_insecure_mx_policy": "may"}, {}, "behind an unsigned MX"),
    ({"smtp_host_lookup": "native"}, {}, "without dns there is no DANE"),
    ({"smtp_tls_CAfile": ""}, {}, "all mail to domains with MTA-STS waits"),
    ({"smtp_tls_policy_maps": "hash:/etc/postfix/x"}, {}, "does not ask the policy door"),
    ({"smtp_tls_policy_maps": "proxy:socketmap:inet:127.0.0.1:8642:QUERY"}, {}, "proxy:"),
    ({"smtp_tls_policy_maps": "socketmap:unix:/run/letterlock/policy:QUERY"}, {}, "cannot see the socket"),
    ({"smtp_tls_policy_maps": "socketmap:inet:127.0.0.1:8642:QUERYwithTLSRPT"}, {}, "rejects the answers"),
    ({"smtp_tls_policy_maps": "socketmap:inet:127.0.0.1:8642:query2"}, {}, "has no map"),
    ({}, {"resolv_conf": "nameserver 127.0.0.53\n"}, "systemd-resolved"),
    ({}, {"resolv_conf": "nameserver 127.0.0.1\nnameserver 192.0.2.1\n"}, "also names 192.0.2.1"),
    ({}, {"resolv_conf": "nameserver 2001:db8::53\n"}, "names 2001:db8::53"),
    ({}, {"resolv_conf": None}, "names nobody"),
    ({}, {"chroot_resolv_conf": None}, "nothing can be looked up"),
    ({}, {"chroot_resolv_conf": RESOLV}, "names 192.0.2.53"),
    ({}, {"overrides": {"smtp/unix/smtp_tls_security_level": "may"}}, "whatever main.cf says"),
)


@pytest.mark.parametrize(("parameters", "more", "words"), TRAPS, ids=[each[2] for each in TRAPS])
def test_each_trap_is_found_alone(
    good: PostfixFacts, parameters: dict[str, str], more: dict[str, object], words: str
) -> None:
    [text] = problems(changed(good, parameters, **more))
    assert words in text


def test_a_digest_that_no_tlsa_record_has_is_a_trap_for_fingerprints(good: PostfixFacts) -> None:
    [text] = problems(changed(good, {"smtp_tls_fingerprint_digest": "md5"}), fingerprints=True)
    assert "md5" in text


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ((3, 7, 11), False),
        ((3, 7, 13), True),
        ((3, 5, 25), False),
        ((3, 9, 1), False),
        ((3, 9, 2), True),
        ((3, 10, 0), True),
    ],
)
def test_which_postfix_has_the_right_default_for_an_insecure_mx(version: tuple[int, ...], fixed: bool) -> None:
    assert has_fixed_mx_policy(version) is fixed


def test_a_newer_postfix_is_asked_for_reports_and_needs_fewer_changes(good: PostfixFacts, tmp_path: Path) -> None:
    newer = replace(changed(good, {"mail_version": "3.10.5"}), written={})
    made = plan(
        newer, [Door.RESOLVER, Door.POLICY], config=tmp_path / "c", config_text=None, resolv_conf=tmp_path / "r"
    )
    assert made.parameters["smtp_tls_policy_maps"] == "socketmap:inet:127.0.0.1:8642:QUERYwithTLSRPT"
    assert "smtp_tls_dane_insecure_mx_policy" not in made.parameters


@pytest.mark.parametrize(
    ("version", "written", "protocols"),
    [
        ("3.7.11", {}, ">=TLSv1.2"),
        ("3.5.25", {}, "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1"),
        ("3.7.11", {"smtp_tls_mandatory_protocols": ">=TLSv1.3"}, None),
    ],
)
def test_rfc8996_4_where_tls_must_hold_postfix_is_given_tls_1_2_unless_the_operator_chose(
    good: PostfixFacts, tmp_path: Path, version: str, written: dict[str, str], protocols: str | None
) -> None:
    facts = replace(changed(good, {"mail_version": version}), written=written)
    made = plan(facts, [Door.RESOLVER], config=tmp_path / "c", config_text=None, resolv_conf=tmp_path / "r")
    assert made.parameters.get("smtp_tls_mandatory_protocols") == protocols


def test_a_resolv_conf_that_another_program_writes_is_pointed_out(good: PostfixFacts) -> None:
    text = f"# Generated by NetworkManager\n{good.resolv_conf}"
    found = list(traps(replace(good, resolv_conf=text), resolver=True, policy=True, fingerprints=False))
    [note] = [each.text for each in found if each.level == "note"]
    assert "Generated by NetworkManager" in note


def test_a_setup_that_failed_halfway_is_undone_without_complaint(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(setup_apply, "set_parameters", fails)
        failed = machine.run("enable", "--apply")
    assert failed.exit_code == 1
    assert "no space left" in failed.output
    undone = machine.run("disable")
    assert undone.exit_code == 0
    assert "changed since" not in undone.output
    assert machine.resolv.read_text() == RESOLV


def test_comments_that_are_no_utf8_survive_enabling_and_disabling(machine: Machine) -> None:
    before = "# réseau\n".encode("latin-1") + RESOLV.encode()
    machine.resolv.write_bytes(before)
    assert machine.run("enable").exit_code == 0
    assert machine.run("enable", "--apply").exit_code == 0
    assert "# réseau\n".encode("latin-1") in machine.resolv.read_bytes()
    assert machine.run("disable").exit_code == 0
    assert machine.resolv.read_bytes() == before


def test_a_configuration_that_is_no_text_is_not_touched(machine: Machine) -> None:
    machine.config.write_bytes(b"# r\xe9seau\n")
    ran = machine.run("enable", "--apply")
    assert (ran.exit_code, ran.output.startswith(f"error: {machine.config} is not UTF-8 text\n  hint: ")) == (78, True)
    assert machine.config.read_bytes() == b"# r\xe9seau\n"


@pytest.mark.parametrize("backup", ["{", "[]", '{"postfix": "/etc/postfix", "files": {}}'])
def test_a_damaged_backup_is_neither_used_nor_overwritten(machine: Machine, backup: str) -> None:
    before = machine.state()
    machine.backups.mkdir()
    (machine.backups / setup_apply.BACKUP).write_text(backup)
    for words in (("enable", "--apply"), ("disable",)):
        ran = machine.run(*words)
        assert ran.exit_code == 1
        assert f"error: {machine.backups / setup_apply.BACKUP} is damaged: " in ran.output
    assert machine.state() == before
    assert (machine.backups / setup_apply.BACKUP).read_text() == backup


def test_a_table_that_is_none_is_told() -> None:
    with pytest.raises(CannotPlan, match=r"`resolver` is no table in the configuration: it is written \[resolver\]"):
        with_keys("resolver = 1\n", {"resolver": {"listen": ["127.0.0.1:53"]}})


def test_a_program_that_is_missing_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    module._run([("no-such-program", "reload")])
    assert "warning: `no-such-program reload` cannot be run: No such file or directory" in capsys.readouterr().err
