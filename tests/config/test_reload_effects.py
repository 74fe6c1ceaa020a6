"""What a reload changes: each key either takes effect, or is named as waiting for a restart."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from letterlock.config import find, load, parse, queue_directory, reading
from letterlock.config.options import CONSUMERS
from letterlock.config.reload_effects import reloaded, values, waiting_for_restart
from letterlock.keys import Key, declared
from letterlock.shared_defaults import ENVIRONMENT
from tests.certificates import authority, self_signed

KEYS = {each.key.path: each.key for consumer in CONSUMERS for each in declared(consumer).values()}
OTHERS: Mapping[str, str] = {
    "memory.mode": '"hold"',
    "accounts.file": '"users"',
    "accounts.dovecot": '"unix:/run/dovecot/auth"',
    "accounts.domain": '"example.org"\ndovecot = "127.0.0.1:9"',
    "accounts.sqlite": '"users.db"\nquery = "SELECT p FROM u WHERE n = :user"',
    "accounts.query": '"SELECT p FROM u WHERE n = :user"\nsqlite = "users.db"',
    "accounts.database": '"mail"\nquery = "SELECT p FROM u WHERE n = :user"\n[database.mail]\npostgresql = "dbname=m"',
    "accounts.scram_secret_file": '"scram"\nquery = "SELECT p FROM u WHERE n = :user"\nsqlite = "users.db"',
    "accounts.remember_logins_seconds": "60",
    "accounts.sender_tables": '["senders"]\ndovecot = "127.0.0.1:9"\n[table.senders]\nfile = "/senders"',
    "hostname": '"other.example"',
    "user": '"nobody"',
    "workers": "3",
    "memory_octets": "2_000_000",
    "smtp.listen": '["127.0.0.1:26"]',
    "smtp.certificate": '"server.pem"\nkey = "server.key"',
    "smtp.relay_networks": '["192.0.2.0/24"]',
    "smtp.tls_required_no_networks": "[]",
    "smtp.postmaster": '"p@example.org"',
    "smtp.own_addresses": '["192.0.2.1"]',
    "statistics.count": "false",
    "delivery.implicit_tls": "true",
    "smtp.accept_nul": "true",
    "resolver.listen": '["127.0.0.1:5353"]',
    "resolver.allow": '["192.0.2.0/24"]',
    "policy_server.listen": '["127.0.0.1:8642", "unix:policy"]',
    "policy_server.local_domains": '["example.org"]',
    "policy_server.answer": '"fingerprint"',
    "policy_server.allow": '["192.0.2.0/24"]',
    "policy_server.relay": '"smtp:[::1]:26"',
    "policy_server.transport": '"all"',
    "queue.directory": '"elsewhere"',
    "queue.drop_directory": "false",
    "queue.key_file": '"queue.key"',
    "queue.min_free_octets": "1",
    "queue.store": '"sqlite:elsewhere"',
    "queue.retry_max_seconds": "5000",
    "resolver.upstream": '["192.0.2.53"]',
    "resolver.anchors": '["anchors"]',
    "resolver.sha1": "false",
    "delivery.source_address": '["127.0.0.1"]',
    "delivery.ignore_ehlo": '["CHUNKING"]',
    "delivery.loopback_hosts": "true",
    "delivery.mta_sts": "false",
    "delivery.public_roots": '"roots.pem"',
    "mail_authentication.authserv_id": '"example.org"',
    "mail_authentication.trusted_sealers": '["lists.example"]',
    "mail_authentication.dmarc_reject": '"reject"',
    "mail_authentication.dmarc_quarantine": '"quarantine"',
    "mail_authentication.dmarc_temperror": '"defer"',
    "mail_authentication.no_author": '"reject"',
    "mail_authentication.spf_fail": '"reject"',
    "mail_authentication.spf_temperror": '"defer"',
    "resolver.timeout_seconds": "20",
    "tls_reports.collect": "true",
    "tls_reports.send": "true",
    "tls_reports.from": '"tls@example.org"',
    "tls_reports.organization": '"Example"',
    "tls_reports.postfix_socket": '"/run/tlsrpt.sock"',
    "tls_reports.emit_socket": '"/run/other.sock"',
    "dmarc_reports.send": "true",
    "dmarc_reports.from": '"dmarc@example.org"',
    "dmarc_reports.organization": '"Example"',
    "metrics.listen": '"127.0.0.1:9725"',
    "metrics.host_names": '["a.example"]',
    "metrics.public": "true",
    "metrics.count": "false",
    "smtp.max_message_octets": "2000",
    "smtp.max_line_octets": "2000",
}
"""A value for each key that is another than the default; numbers without an entry get 200, or what limits allow."""


def other_number(key: Key) -> str:
    """A number within the limits of a key that is hardly the default."""
    if key.most is not None and key.most < 200:
        return str(key.most)
    return str(max(200, key.least or 0, key.above or 0))


@pytest.fixture(name="directory", scope="module")
def directory_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    self_signed("mx.example").write(directory)
    authority("Authority").credential.write(directory, "roots")
    (directory / "queue.key").write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n")
    (directory / "queue.key").chmod(0o600)
    (directory / "users").touch(0o600)
    (directory / "scram").touch(0o600)
    (directory / "scram").write_text("sixteen characters\n")
    (directory / "anchors").write_text(". IN DS 20326 8 2 " + "0" * 64 + "\n")
    return directory


@pytest.mark.parametrize("path", [path for path in KEYS if path != "smtp.key"])
def test_a_changed_key_takes_effect_or_is_named(directory: Path, path: str) -> None:
    key, value = KEYS[path], OTHERS.get(path) or other_number(KEYS[path])
    text = f"[{key.table}]\n" if key.table else ""
    running = parse("", "t.toml", base=directory)
    read = parse(f"{text}{key.name} = {value}\n", "t.toml", base=directory)
    after = reloaded(running, read)
    changed = {
        each.key.path for (each, old), (_, new) in zip(values(running), values(after), strict=True) if old != new
    }
    waiting = set(waiting_for_restart(running, read))
    if key.restart:
        assert not changed
        assert waiting == {path}
    else:
        assert path in changed
        assert not waiting
    assert waiting_for_restart(after, read) == tuple(waiting)


def test_rules_and_routes_take_effect() -> None:
    read = parse('[domain."example.org"]\ntls = "verify"\n[route."x.example"]\nnext_hop = "[192.0.2.1]"', "t.toml")
    after = reloaded(parse("", "t.toml"), read)
    assert after.rules is read.rules
    assert after.route_settings is read.route_settings
    assert after.digest == read.digest


def test_the_configuration_is_found_in_the_same_order_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, system = tmp_path / "named.toml", tmp_path / "system.toml"
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr(reading, "SYSTEM_CONFIG", str(system))
    assert find(None) is None
    system.write_text("")
    assert find(None) == system
    monkeypatch.setenv(ENVIRONMENT, str(named))
    assert find(None) == named
    assert find(tmp_path / "given.toml") == tmp_path / "given.toml"
    assert load(find(system)).source == str(system)


def test_the_queue_of_a_running_server_is_found_by_a_file_with_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text('nonsense = 1\n[queue]\ndirectory = "q"\nlifetime_seconds = "x"\n')
    assert queue_directory(path) == tmp_path / "q"
    for text in ("[queue\n", "queue = 3\n", "[queue]\ndirectory = 3\n"):
        path.write_text(text)
        assert queue_directory(path) is None
