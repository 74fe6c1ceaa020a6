"""The importers on the defaults of distributions: each setting is translated or listed, and the result can be used.

The settings are those that are active in the files as installed; comments, and most services that are no listeners,
are left out. The name of the machine is added, which Postfix asks the system for.
"""

import tomllib
from pathlib import Path

import pytest

from letterlock.accounts.user_file import new_file, write_users
from letterlock.cli.importing.opensmtpd_translation import read_smtpd
from letterlock.cli.importing.postfix_files import logical_lines
from letterlock.config import load
from tests.certificates import self_signed
from tests.cli.running import letterlock

UPSTREAM = """\
myhostname = mail.example.org
compatibility_level = 3.10
queue_directory = /var/spool/postfix
command_directory = {prefix}/sbin
daemon_directory = {prefix}/libexec/postfix
data_directory = /var/lib/postfix
mail_owner = postfix
unknown_local_recipient_reject_code = 550
debug_peer_level = 2
debugger_command =
    PATH=/bin:/usr/bin:/usr/local/bin:/usr/X11R6/bin
    ddd $daemon_directory/$process_name $process_id & sleep 5
sendmail_path = {prefix}/sbin/sendmail
newaliases_path = {prefix}/bin/newaliases
mailq_path = {prefix}/bin/mailq
setgid_group = postdrop
html_directory = no
manpage_directory = {prefix}/share/man
sample_directory = {prefix}/etc/postfix
readme_directory = no
inet_protocols = ipv4
shlib_directory = {prefix}/lib/postfix
meta_directory = {prefix}/libexec/postfix
"""
FEDORA = (
    UPSTREAM.format(prefix="/usr").replace("inet_protocols = ipv4", "inet_protocols = all")
    + """\
inet_interfaces = localhost
mydestination = $myhostname, localhost.$mydomain, localhost
alias_maps = lmdb:/etc/aliases
alias_database = lmdb:/etc/aliases
smtpd_tls_cert_file = /etc/pki/tls/certs/postfix.pem
smtpd_tls_key_file = /etc/pki/tls/private/postfix.key
smtpd_tls_security_level = may
smtp_tls_CApath = /etc/pki/tls/certs
smtp_tls_CAfile = /etc/pki/tls/certs/ca-bundle.crt
smtp_tls_security_level = may
"""
)
ENTERPRISE = FEDORA.replace("lmdb:", "hash:").replace("compatibility_level = 3.10\n", "")
ARCH = UPSTREAM.format(prefix="/usr") + "alias_maps = lmdb:/etc/postfix/aliases\nalias_database = $alias_maps\n"
FREEBSD = UPSTREAM.format(prefix="/usr/local") + "mynetworks_style = host\nsmtp_tls_CApath = /etc/ssl/certs\n"
UBUNTU = """\
smtpd_banner = $myhostname ESMTP $mail_name (Ubuntu)
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
myorigin = /etc/mailname
mydestination = $myhostname, mail.example.org, mail, localhost.localdomain, localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
"""
MASTER = """\
smtp      inet  n       -       n       -       -       smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
        -o syslog_name=${multi_instance_name?{$multi_instance_name}:{postfix}}/$service_name
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
postlog   unix-dgram n  -       n       -       1       postlogd
"""


@pytest.mark.parametrize(
    ("main", "role"),
    [(FEDORA, "mx"), (ENTERPRISE, "mx"), (ARCH, "relay"), (FREEBSD, "relay"), (UBUNTU, "mx")],
    ids=["fedora", "enterprise-linux", "arch", "freebsd", "ubuntu"],
)
async def test_postfix_as_installed(tmp_path: Path, main: str, role: str) -> None:
    certificate, key = self_signed("mail.example.org").write(tmp_path)
    for pair in (("/etc/pki/tls/certs/postfix.pem", "/etc/pki/tls/private/postfix.key"),
                 ("/etc/ssl/certs/ssl-cert-snakeoil.pem", "/etc/ssl/private/ssl-cert-snakeoil.key")):  # fmt: skip
        main = main.replace(pair[0], str(certificate)).replace(pair[1], str(key))
    (tmp_path / "main.cf").write_text(main)
    (tmp_path / "master.cf").write_text(MASTER)
    ran = await letterlock("config", "from-postfix", tmp_path)
    for number, line in logical_lines(main):
        assert f"main.cf:{number}: " in ran.err, f"nothing was said about: {line}"
    assert "not translated" not in ran.err
    assert ran.status == 0
    (tmp_path / "letterlock.toml").write_text(ran.out)
    options = load(tmp_path / "letterlock.toml")
    assert [each.profile.role for each in options.listeners] == [role]
    assert not any(each.profile.may_relay("192.0.2.1") for each in options.listeners), "nobody else relays"


OPENBSD = """\
table aliases file:/etc/mail/aliases
listen on socket
listen on lo0
action "local_mail" mbox alias <aliases>
action "outbound" relay
match from local for local action "local_mail"
match from local for any action "outbound"
"""
PORTABLE = """\
table aliases file:{aliases}
listen on localhost
action "local" maildir alias <aliases>
action "relay" relay
match for local action "local"
match from local for any action "relay"
"""


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (OPENBSD, ['action "local_mail" mbox']),
        (PORTABLE.format(aliases="/etc/smtpd/aliases"), []),
        (PORTABLE.format(aliases="/etc/mail/aliases"), []),
        (PORTABLE.format(aliases="/etc/aliases").replace(" maildir ", " mbox "), ['action "local" mbox']),
    ],
    ids=["openbsd", "arch", "freebsd", "fedora"],
)
async def test_opensmtpd_as_installed(tmp_path: Path, text: str, lost: list[str]) -> None:
    """An mbox is the only thing that has no counterpart."""
    (tmp_path / "smtpd.conf").write_text(text)
    ran = await letterlock("config", "from-opensmtpd", tmp_path / "smtpd.conf")
    for each in read_smtpd(text, "smtpd.conf", lambda _: None):
        assert f"{each.place}: " in ran.err, f"nothing was said about: {each.words}"
    untranslated = [line for line in ran.err.splitlines() if ": not translated: " in line]
    assert len(untranslated) == len(lost)
    assert all(words in line for words, line in zip(lost, untranslated, strict=True))
    (tmp_path / "letterlock.toml").write_text(ran.out)
    write_users(tmp_path / "users", new_file())
    options = load(tmp_path / "letterlock.toml")
    assert all(str(each.endpoints[0].address) in ("127.0.0.1", "::1") for each in options.listeners)
    assert not any(each.profile.may_relay("192.0.2.1") for each in options.listeners), "nobody else relays"


HOSTING = """\
myhostname = mx.example.org
mydestination = mx.example.org
virtual_mailbox_domains = example.net, proxy:pgsql:@/domains.cf
virtual_mailbox_maps = pgsql:@/boxes.cf
virtual_alias_maps = hash:@/virtual
virtual_alias_domains = hash:@/forwarded, ldap:@/x.cf
virtual_transport = lmtp:unix:private/dovecot-lmtp
relay_domains = texthash:@/relayed
alias_maps = hash:@/aliases
"""


async def test_domains_in_tables_and_commands_in_aliases(tmp_path: Path) -> None:
    database = (
        "hosts = localhost\nuser = mail\npassword = secret\ndbname = mail\nquery = SELECT x FROM y WHERE z='%s'\n"
    )
    for name, text in {
        "main.cf": HOSTING.replace("@", str(tmp_path)),
        "master.cf": MASTER,
        "domains.cf": database,
        "boxes.cf": database,
        "virtual": "info@example.net ann@example.net\n",
        "forwarded": "old.example OK\n",
        "relayed": "branch.example OK\n",
        "aliases": 'root: ann, "|/usr/bin/vacation ann"\n',
        "database.password": "secret\n",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "database.password").chmod(0o600)
    ran = await letterlock("config", "from-postfix", tmp_path)
    lost = [line for line in ran.err.splitlines() if ": not translated: " in line]
    assert len(lost) == 1
    assert "ldap:" in lost[0]
    (tmp_path / "letterlock.toml").write_text(ran.out.replace("/etc/letterlock/", f"{tmp_path}/"))
    options = load(tmp_path / "letterlock.toml")
    [listener] = options.listeners
    assert listener.profile.domains == {"mx.example.org", "example.net"}
    tables = [each.table.name for each in listener.profile.domain_tables]
    assert tables == ["virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"]
    assert [await each.have("branch.example") for each in listener.profile.domain_tables[::2]] == [False, True]
    site = options.receive.site
    assert site is not None
    hosted = await site.directory.settings("old.example")
    assert hosted is not None
    assert (hosted.mailboxes, [each.name for each in hosted.aliases]) == ((), ["virtual"])
    assert tomllib.loads(ran.out)["hosted"]["virtual_mailbox_domains"] == {
        "aliases": ["virtual"],
        "mailboxes": ["mailboxes"],
        "sub_address_delimiter": "",
        "next_hop": "lmtp:/var/spool/postfix/private/dovecot-lmtp",
    }
    assert "allow_commands = true" in ran.out
    assert "allow_maildirs" not in ran.out
