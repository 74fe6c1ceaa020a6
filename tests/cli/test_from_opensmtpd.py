"""`letterlock config from-opensmtpd`: the distribution's default and three realistic configurations, line by line."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from letterlock.accounts.user_file import new_file, write_users
from letterlock.cli.importing.opensmtpd_translation import SmtpdTranslator, read_smtpd
from letterlock.cli.importing.translation import TranslationFate
from letterlock.config import load
from tests.certificates import self_signed
from tests.cli.running import letterlock

DEBIAN = """\
# This is the smtpd server system-wide configuration file.
table aliases file:/etc/aliases
listen on localhost
action "local" maildir alias <aliases>
action "relay" relay
match for local action "local"
match from local for any action "relay"
"""
SMARTHOST = """\
table aliases file:@DIR@/aliases
table secrets file:@DIR@/secrets
listen on lo0
action "local_mail" mbox alias <aliases>
action "outbound" relay host smtp+tls://bob@smtp.example.com:587 \\
    auth <secrets>
match from local for local action "local_mail"
match from local for any action "outbound"
"""
SITE = """\
domains = "{ example.org, example.net }"
pki mail.example.org cert "@DIR@/server.pem"
pki mail.example.org key "@DIR@/server.key"
table aliases file:@DIR@/aliases
table domains { example.org, "example.net" }   # ours
filter "rspamd" proc-exec "filter-rspamd"
smtp max-message-size 35M
queue ttl 4d
bounce warn-interval 4h
srs key "s3cret"
listen on socket
listen on all tls pki mail.example.org filter "rspamd"
listen on 0.0.0.0 port submission tls-require pki mail.example.org auth
listen on eth0 smtps pki mail.example.org auth
action "mailboxes" lmtp "/run/dovecot/lmtp" rcpt-to alias <aliases>
action "outbound" relay helo mail.example.org
match from any for domain <domains> action "mailboxes"
match for local action "mailboxes"
match from src { 10.0.0.0/8 } for any action "outbound"
match auth from any for any action "outbound"
match from any mail-from "@spam.example" for any reject
"""
BACKUP = """\
table relays { 192.0.2.0/24 }
listen on 192.0.2.25
action "behind" relay host smtp://10.0.0.7:2525
action "far" relay host smtps://mx.example.com
action "run" mda "/usr/bin/procmail"
match from any for domain { example.com example.edu } action "behind"
match from any for domain "far.example" action "far"
match from any for domain "run.example" action "run"
match from any for any action "behind"
match tag X for domain "x.example" action "behind"
"""


def written(directory: Path, text: str) -> Path:
    (directory / "aliases").write_text("postmaster: root\n")
    (directory / "secrets").write_text("bob username:secret-of-bob\n")
    self_signed("mail.example.org").write(directory)
    (directory / "smtpd.conf").write_text(text.replace("@DIR@", str(directory)))
    return directory / "smtpd.conf"


async def translated(directory: Path, text: str) -> tuple[dict[str, Any], list[str], int]:
    """The configuration, and the notes on what was not translated."""
    file = written(directory, text)
    ran = await letterlock("config", "from-opensmtpd", file)
    notes = [line.replace(f"{directory}/", "") for line in ran.err.splitlines()]
    for statement in read_smtpd(file.read_text(), "smtpd.conf", lambda _: None):
        assert any(note.startswith(f"{statement.place}: ") for note in notes), f"nothing was said about: {statement}"
    assert "secret" not in ran.out
    assert "secret-of-bob" not in ran.err
    return tomllib.loads(ran.out), [each for each in notes if ": not translated: " in each], ran.status


async def test_the_default_of_debian_is_translated_whole(tmp_path: Path) -> None:
    made, lost, status = await translated(tmp_path, DEBIAN)
    assert (lost, status) == ([], 0)
    [listener] = made["listener"]
    assert listener == {"role": "relay", "listen": ["127.0.0.1:25", "[::1]:25"]}
    assert "*" not in made["route"]


async def test_a_smarthost_keeps_its_password_to_itself(tmp_path: Path) -> None:
    made, lost, _ = await translated(tmp_path, SMARTHOST)
    assert made["route"]["*"] == {
        "next_hop": "[smtp.example.com]",
        "port": 587,
        "tls": "verify",
        "login": {"user": "username", "password_file": "/etc/letterlock/smarthost.password"},
    }
    assert len(lost) == 1
    assert "mbox: mail ends at LMTP servers" in lost[0]


async def test_a_site_with_dovecot_and_users(tmp_path: Path) -> None:
    made, lost, status = await translated(tmp_path, SITE)
    assert [each["role"] for each in made["listener"]] == ["mx", "submission"]
    mx, submission = made["listener"]
    assert mx["domains"] == ["example.org", "example.net"]
    assert mx["relay_networks"] == ["127.0.0.0/8", "::1/128", "10.0.0.0/8"]
    assert submission["listen"] == ["0.0.0.0:587"]
    assert submission["certificate"] == f"{tmp_path}/server.pem"
    assert made["route"]["example.net"] == {"next_hop": "lmtp:/run/dovecot/lmtp"}
    assert made["local"]["example.org"]["aliases"] == ["aliases"]
    assert made["smtp"]["max_message_octets"] == 35 << 20
    assert (made["queue"]["lifetime_seconds"], made["queue"]["delay_notice_seconds"]) == (345_600, 14_400)
    told = "\n".join(lost)
    for words in ("proc-exec", "srs", "eth0", "filter;"):
        assert words in told, words
    assert (len(lost), status) == (4, 1)
    assert made["rule"] == [
        {"match": {"to": ["example.org", "example.net"]}, "action": "deliver"},
        {"match": {"to": [made["hostname"]], "client": ["127.0.0.0/8", "::1/128"]}, "action": "deliver"},
        {"match": {"client": ["10.0.0.0/8"]}, "action": "relay"},
        {"match": {"user": "*"}, "action": "relay"},
        {"match": {"from": ["@spam.example"]}, "action": "reject"},
        {"action": "reject"},
    ]


ORDERED = """\
table bad { "@spam.example", "eve@other.example" }
listen on all
action "local" lmtp "/run/dovecot/lmtp"
action "out" relay
match from any mail-from <bad> for any reject
match from any for domain "example.org" rcpt-to "list@example.org" reject
match from any for domain "example.org" action "local"
match from any tag X for domain "x.example" reject
match ! from src 10.0.0.0/8 for domain "y.example" action "local"
match from any for any action "out"
match for any action "out"
"""


async def test_rules_become_rules_in_their_order_and_none_opens_a_relay(tmp_path: Path) -> None:
    made, lost, status = await translated(tmp_path, ORDERED)
    assert made["rule"] == [
        {"match": {"from": ["@spam.example", "eve@other.example"]}, "action": "reject"},
        {"match": {"to": ["list@example.org"]}, "action": "reject"},
        {"match": {"to": ["example.org"]}, "action": "deliver"},
        {"match": {"client": ["127.0.0.0/8", "::1/128"]}, "action": "relay"},
        {"action": "reject"},
    ]
    assert status == 1
    told = "\n".join(lost)
    for words in ("smtpd.conf:8: match from any: not", "no rule here negates", "an open relay"):
        assert words in told, words


async def test_a_backup_server_is_never_an_open_relay(tmp_path: Path) -> None:
    made, lost, _ = await translated(tmp_path, BACKUP)
    assert made["listener"][0]["domains"] == ["example.com", "example.edu", "far.example", "run.example"]
    assert made["route"]["example.com"] == {"next_hop": "[10.0.0.7]", "port": 2525}
    assert "*" not in made["route"]
    told = "\n".join(lost)
    for words in ("an open relay", "smtps://mx.example.com", "mda: mail ends", "no rule here asks for tag"):
        assert words in told, words


@pytest.mark.parametrize("text", [DEBIAN, SITE, ORDERED])
async def test_the_result_is_a_configuration_without_mistakes(tmp_path: Path, text: str) -> None:
    ran = await letterlock("config", "from-opensmtpd", written(tmp_path, text))
    write_users(tmp_path / "users", new_file())
    made = ran.out.replace("/etc/letterlock/users", str(tmp_path / "users")).replace(
        "/etc/aliases", f"{tmp_path}/aliases"
    )
    (tmp_path / "letterlock.toml").write_text(made)
    assert load(tmp_path / "letterlock.toml").listeners


async def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert (await letterlock("config", "from-opensmtpd", tmp_path / "smtpd.conf")).status == 1


def test_includes_end_and_macros_are_replaced() -> None:
    loop = 'a = "x.example"\nmatch for domain $a action b\ninclude "again"\n'
    found = [*read_smtpd(loop, "f", lambda _: loop)]
    assert found[0].words == ("match", "for", "domain", "x.example", "action", "b")
    assert len(found) < 30
    [table] = read_smtpd("table t {\n a, # one\n b }\n", "f", lambda _: None)
    assert table.words[2].split() == ["{", "a,", "b", "}"]


@pytest.mark.parametrize("text", [DEBIAN, SMARTHOST, SITE, BACKUP])
def test_a_statement_that_is_cut_off_anywhere_is_noted(text: str) -> None:
    whole = [*read_smtpd(text, "smtpd.conf", lambda _: None)]
    for number, statement in enumerate(whole):
        for length in range(len(statement.words)):
            cut = replace(statement, words=statement.words[:length])
            statements = [*whole[:number], cut, *whole[number + 1 :]]
            made = SmtpdTranslator(statements, lambda _: "x y", "h.example").translate()
            assert cut.place in {note.place for note in made.notes}


def test_braces_that_do_not_match_are_noted() -> None:
    for text in ("}\nlisten on lo\n", "table t { a\nlisten on lo\n"):
        made = SmtpdTranslator([*read_smtpd(text, "s", lambda _: None)], lambda _: None, "h.example").translate()
        assert [note.fate for note in made.notes][:1] == [TranslationFate.LOST]


def test_networks_that_cannot_be_read_are_not_called_translated() -> None:
    text = 'listen on lo\ntable nets file:/none\naction "out" relay\nmatch from src <nets> for any action "out"\n'
    made = SmtpdTranslator([*read_smtpd(text, "s", lambda _: None)], lambda _: None, "h.example").translate()
    assert [note.fate for note in made.notes if note.place == "s:4"] == [TranslationFate.LOST]
