"""`letterlock config from-postfix`: the distribution's default and three realistic configurations, line by line."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from letterlock.accounts.user_file import new_file, write_users
from letterlock.cli.importing import from_postfix
from letterlock.cli.importing.postfix_files import expanded, logical_lines, read_main, read_master, seconds
from letterlock.config import load
from tests.certificates import self_signed
from tests.cli.running import letterlock

DEBIAN_MASTER = """\
smtp      inet  n       -       y       -       -       smtpd
#submission inet n       -       y       -       -       smtpd
pickup    unix  n       -       y       60      1       pickup
cleanup   unix  n       -       y       -       0       cleanup
"""
DEBIAN_MAIN = """\
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
readme_directory = no
compatibility_level = 3.6
smtpd_tls_cert_file=/etc/ssl/certs/ssl-cert-snakeoil.pem
smtpd_tls_key_file=/etc/ssl/private/ssl-cert-snakeoil.key
smtpd_tls_security_level=may
smtp_tls_CApath=/etc/ssl/certs
smtp_tls_security_level=may
smtp_tls_session_cache_database = btree:${data_directory}/smtp_scache
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = mail.example.org
alias_maps = hash:/etc/aliases
alias_database = hash:/etc/aliases
mydestination = $myhostname, example.org, localhost.example.org, , localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
"""
SMARTHOST_MAIN = """\
myhostname = app1.corp.example
mydestination =
inet_interfaces = loopback-only
mynetworks = 127.0.0.0/8, 10.0.0.0/8
relayhost = [smtp.provider.example]:submission
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = hash:@DIR@/sasl_passwd
smtp_tls_security_level = encrypt
smtp_tls_mandatory_protocols = >=TLSv1.2
message_size_limit = 52428800
maximal_queue_lifetime = 2d
bounce_queue_lifetime = 1d
minimal_backoff_time = 5m
default_destination_concurrency_limit = 4
"""
SITE_MAIN = """\
# a site: Dovecot, rspamd, postgrey, partners
mydomain = example.org
myhostname = mx.$mydomain
myorigin = $mydomain
mydestination = $myhostname, localhost
virtual_mailbox_domains = example.org,
    example.net
virtual_transport = lmtp:unix:private/dovecot-lmtp
virtual_alias_maps = hash:@DIR@/virtual, ldap:/etc/postfix/ldap.cf, proxy:pgsql:@DIR@/pgsql.cf,
    socketmap:unix:/run/program/socket:virtual
virtual_mailbox_maps = sqlite:@DIR@/sqlite.cf
smtpd_sender_login_maps = pgsql:@DIR@/pgsql.cf
smtpd_milters = inet:localhost:11332
milter_default_action = accept
smtpd_recipient_restrictions =
    permit_mynetworks
    # a comment in the middle
    permit_sasl_authenticated
    reject_unauth_destination
    check_policy_service inet:127.0.0.1:10023
    reject_rbl_client zen.spamhaus.org
smtp_tls_security_level = dane
smtp_tls_policy_maps = hash:@DIR@/tls_policy
transport_maps = hash:@DIR@/transport
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
delay_warning_time = 4h
smtpd_recipient_limit = 50
no_such_parameter = 1
"""
SITE_MASTER = """\
smtp      inet  n       -       y       -       1       postscreen
submission inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
  -o cleanup_service_name=subcleanup
submissions inet n      -       y       -       -       smtpd
  -o smtpd_tls_wrappermode=yes
127.0.0.1:10025 inet n - y - - smtpd
"""
RELAY_MAIN = """\
myhostname = in.example.com
relay_domains = example.com example.edu
transport_maps = texthash:@DIR@/transport
mynetworks = 192.0.2.0/24
inet_protocols = ipv4
smtp_tls_security_level = dane-only
"""
ACCESS_MAIN = """\
mydestination = example.org
mynetworks = 127.0.0.0/8 [::1]/128 192.0.2.0/24
smtpd_recipient_restrictions = check_client_access cidr:@DIR@/clients, permit_mynetworks,
    check_sender_access hash:@DIR@/senders, permit_sasl_authenticated,
    check_recipient_access texthash:@DIR@/recipients, check_helo_access hash:@DIR@/senders, reject_unauth_destination
"""
TABLES = {
    "clients": "198.51.100.0/24 REJECT you again\n2001:db8::/32 DUNNO\n",
    "senders": "spam.example REJECT\nann@spam.example OK\n<> 450 4.7.1 later\n.sub.example 554 5.7.1 no\neve@ REJECT\n",
    "recipients": "spam.example DISCARD\nold@example.org REJECT gone away\n",
    "pgsql.cf": "hosts = localhost\nuser=mail\npassword = secret-of-mail\ndbname = postfix\n"
    "query = SELECT goto FROM alias WHERE address='%s' AND active = true;\n",
    "sqlite.cf": "dbpath = /var/lib/mail.db\nquery = SELECT maildir FROM mailbox\n  WHERE username = '%u@%d'\n",
    "sasl_passwd": "[smtp.provider.example]:submission ann:secret-of-ann\n",
    "virtual": "info@example.org ann@example.org\n",
    "tls_policy": "partner.example secure match=mx.partner.example:hostname\n.corp.example encrypt\nold.example may\n"
    "pinned.example fingerprint match=AA\n",
    "transport": "example.com smtp:[10.0.0.7]:2525\n.example.edu smtp:mx.example.net\n"
    "example.edu lmtp:inet:10.0.0.8:24\ngone.example error:5.1.2 moved\nann@example.com smtp:x.example\n",
}


LOST_OF_SITE = (
    "ldap:/etc/postfix/ldap.cf",
    "reject_rbl_client zen.spamhaus.org; the rest holds here anyway",
    "no_such_parameter",
    "cleanup_service_name",
    "127.0.0.1:10025",
    "pinned.example",
    "gone.example",
    "ann@example.com",
)


def written(directory: Path, main: str, master: str = DEBIAN_MASTER) -> Path:
    for name, text in TABLES.items():
        (directory / name).write_text(text)
    (directory / "main.cf").write_text(main.replace("@DIR@", str(directory)))
    (directory / "master.cf").write_text(master)
    return directory


async def translated(directory: Path, main: str, master: str = DEBIAN_MASTER) -> tuple[dict[str, Any], list[str], int]:
    """The configuration, and the notes on what was not translated, without the directory."""
    ran = await letterlock("config", "from-postfix", written(directory, main, master))
    notes = [line.replace(f"{directory}/", "") for line in ran.err.splitlines()]
    for number, line in logical_lines(main):
        assert any(note.startswith(f"main.cf:{number}: ") for note in notes), f"nothing was said about: {line}"
    assert "secret" not in ran.out + ran.err
    return tomllib.loads(ran.out), [each for each in notes if ": not translated: " in each], ran.status


async def test_the_default_of_debian_is_translated_whole(tmp_path: Path) -> None:
    made, lost, status = await translated(tmp_path, DEBIAN_MAIN)
    assert (lost, status) == ([], 0)
    assert made["hostname"] == "mail.example.org"
    [listener] = made["listener"]
    assert (listener["role"], listener["domains"]) == ("mx", ["mail.example.org", "example.org"])
    assert listener["listen"] == ["0.0.0.0:25", "[::]:25"]
    assert made["local"]["example.org"] == {"aliases": ["aliases"], "mailboxes": ["system"]}


async def test_a_smarthost_with_a_login_keeps_its_password_to_itself(tmp_path: Path) -> None:
    made, lost, status = await translated(tmp_path, SMARTHOST_MAIN)
    assert made["route"]["*"] == {
        "next_hop": "[smtp.provider.example]",
        "port": 587,
        "tls": "verify",
        "login": {"user": "ann", "password_file": "/etc/letterlock/smarthost.password"},
    }
    assert made["domain"]["*"] == {"tls": "require-tls"}
    assert made["queue"] | {"directory": ""} == {
        "directory": "",
        "lifetime_seconds": 172_800,
        "retry_first_seconds": 300,
    }
    assert made["listener"][0]["listen"] == ["127.0.0.1:25", "[::1]:25"]
    assert made["listener"][0]["relay_networks"] == ["127.0.0.0/8", "10.0.0.0/8"]
    assert [each.partition(" not")[0] for each in lost] == [
        "main.cf:9: smtp_tls_mandatory_protocols:",
        "main.cf:12: bounce_queue_lifetime:",
    ]
    assert status == 1


async def test_a_site_with_dovecot_and_filters(tmp_path: Path) -> None:
    made, lost, _ = await translated(tmp_path, SITE_MAIN, SITE_MASTER)
    assert made["hostname"] == "mx.example.org"
    assert [each["role"] for each in made["listener"]] == ["mx", "submission", "submissions"]
    assert made["listener"][0]["domains"] == ["mx.example.org", "example.org", "example.net"]
    assert made["route"]["example.org"]["next_hop"] == "lmtp:/var/spool/postfix/private/dovecot-lmtp"
    assert made["milter"]["filter1"] == {"address": "127.0.0.1:11332", "when_away": "accept"}
    assert made["policy_service"]["service1"] == {"address": "127.0.0.1:10023"}
    assert all(each["milters"] == ["filter1"] for each in made["listener"])
    assert made["accounts"] == {
        "dovecot": "unix:/var/spool/postfix/private/auth",
        "sender_tables": ["senders"],
    }
    assert made["local"]["example.org"]["aliases"] == ["virtual", "virtual2", "virtual3"]
    assert made["table"]["virtual2"] == {
        "database": "virtual2",
        "query": "SELECT goto FROM alias WHERE address=:key AND active = true",
    }
    assert made["database"]["virtual2"] == {
        "postgresql": "host=localhost dbname=postfix user=mail",
        "password_file": "/etc/letterlock/database.password",
    }
    assert made["table"]["virtual3"] == {"socketmap": "unix:/run/program/socket", "map": "virtual"}
    assert made["table"]["mailboxes"] == {
        "sqlite": "/var/lib/mail.db",
        "query": "SELECT NULL FROM (SELECT maildir FROM mailbox WHERE username = (:local || '@' || :domain)) AS found",
    }
    assert made["domain"]["partner.example"] == {"tls": "verify", "names": ["mx.partner.example"]}
    assert made["domain"]["*.corp.example"] == {"tls": "require-tls"}
    assert "old.example" not in made["domain"]
    assert made["smtp"]["max_recipients"] == 100
    told = "\n".join(lost)
    for words in LOST_OF_SITE:
        assert words in told, words


async def test_a_relay_for_domains_behind_it(tmp_path: Path) -> None:
    made, lost, _ = await translated(tmp_path, RELAY_MAIN)
    assert made["route"]["example.com"] == {"next_hop": "[10.0.0.7]", "port": 2525}
    assert made["route"]["example.edu"] == {"next_hop": "lmtp:[10.0.0.8]:24"}
    assert made["route"]["*.example.edu"] == {"next_hop": "mx.example.net"}
    assert made["listener"][0]["listen"] == ["0.0.0.0:25"]
    assert made["domain"]["*"] == {"tls": "dane-only"}
    assert len(lost) == 2


async def test_access_tables_become_rules_after_those_for_whom_they_do_not_hold(tmp_path: Path) -> None:
    made, lost, status = await translated(tmp_path, ACCESS_MAIN)
    own = ["127.0.0.0/8", "::1/128", "192.0.2.0/24"]
    assert made["rule"] == [
        {"match": {"client": "198.51.100.0/24"}, "action": "reject", "text": "you again"},
        {"match": {"client": own}, "action": "relay"},
        {"match": {"from": ["spam.example", "*.spam.example"]}, "action": "reject"},
        {"match": {"from": "*.sub.example"}, "action": "reject", "text": "no"},
        {"match": {"from": "<>"}, "action": "defer", "text": "later"},
        {"match": {"user": "*"}, "action": "relay"},
        {"match": {"to": "old@example.org"}, "action": "reject", "text": "gone away"},
    ]
    told = "\n".join(lost)
    for words in ("2001:db8::/32", "ann@spam.example", "eve@", " recipients: spam.example", "check_helo_access"):
        assert words in told, words
    assert status == 1


@pytest.mark.parametrize("main", [DEBIAN_MAIN, SITE_MAIN, RELAY_MAIN, ACCESS_MAIN])
async def test_the_result_is_a_configuration_without_mistakes(tmp_path: Path, main: str) -> None:
    certificate, key = self_signed("mail.example.org").write(tmp_path)
    main = main.replace("/etc/ssl/certs/ssl-cert-snakeoil.pem", str(certificate))
    main = main.replace("/etc/ssl/private/ssl-cert-snakeoil.key", str(key))
    extra = f"smtpd_tls_cert_file = {certificate}\nsmtpd_tls_key_file = {key}\n" if "snakeoil" not in main else ""
    ran = await letterlock("config", "from-postfix", written(tmp_path, main + extra, SITE_MASTER))
    write_users(tmp_path / "users", new_file())
    (tmp_path / "database.password").write_text("secret")
    (tmp_path / "database.password").chmod(0o600)
    (tmp_path / "letterlock.toml").write_text(ran.out.replace("/etc/letterlock/", f"{tmp_path}/"))
    assert load(tmp_path / "letterlock.toml").listeners


async def test_a_directory_that_has_none_is_an_error(tmp_path: Path) -> None:
    ran = await letterlock("config", "from-postfix", tmp_path)
    assert (ran.status, "main.cf cannot be read" in ran.err) == (1, True)


def test_values_are_expanded_as_postfix_does() -> None:
    known = {"a": "1", "b": "$a$a", "empty": "", "loop": "$loop x"}
    assert expanded("$b ${a} $(a) $none.${a?yes}${none?no}${none:other}${empty:e}", known) == "11 1 1 .yesothere"
    assert len(expanded("$loop", known)) < 10_000


def test_lines_continue_and_the_last_one_counts() -> None:
    assert [*logical_lines("a = 1\n  2\n# x\n   3\n\nb=2\n")] == [(1, "a = 1 2 3"), (6, "b=2")]
    assert read_main("a = 1\na = 2\nno equals\n")["a"].value == "2"
    [service] = read_master("smtp inet n - y - - smtpd\n -o a=b\n  -o c=d e\nbroken line\n")
    assert [(each.name, each.value) for each in service.overrides] == [("a", "b"), ("c", "d")]


def test_times_have_units() -> None:
    assert [seconds(each, "h") for each in ("4", "4h", "300s", "2d", "1w", "x")] == [
        14400,
        14400,
        300,
        172800,
        604800,
        None,
    ]


def test_a_file_that_is_too_large_is_not_read_by_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_postfix, "MAX_FILE_OCTETS", 8)
    (tmp_path / "table").write_text("a  REJECT\n")
    with pytest.raises(OSError, match="File too large"):
        from_postfix.read_text(tmp_path / "table")
    assert from_postfix.table_text(str(tmp_path / "table")) is None
