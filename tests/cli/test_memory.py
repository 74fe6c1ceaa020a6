"""`letterlock memory`: list, show, forget, suggest, beside a server that does not run."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from letterlock.cli import status
from letterlock.cli.check.text import memory_words
from letterlock.cli.memory_verbs import memory
from letterlock.config import load
from letterlock.memory.remembered import Difference
from letterlock.policy.evidence import DestinationEvidence, MemoryUnreadable
from letterlock.routing.destination_rule import MemoryMode, TlsRule
from letterlock.routing.routes import NextHop
from letterlock.state.remembered_domains import FILE, DomainMemoryStore
from tests.memory.lives import CLEAR, DOMAIN, GOOD, NOW, after, daily, remembered


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A configuration whose server knows two domains; at one of them TLS is gone."""
    path = tmp_path / "letterlock.toml"
    path.write_text(f'[queue]\ndirectory = "{tmp_path}"\n')
    now, store = time.time(), DomainMemoryStore.open(tmp_path)
    lost = replace(CLEAR, domain="gone.example", at=now, missing=frozenset({Difference.TLS}), held=True)
    gone = [replace(each, domain="gone.example") for each in daily(GOOD, until=now - 60)]
    await store.learn([*daily(GOOD, until=now), *gone, lost], now)
    await store.close()
    return path


def run(config: Path, *words: str) -> tuple[int, str]:
    ended = CliRunner().invoke(memory, [*words, "--config", str(config)])
    return ended.exit_code, ended.output


def test_list_and_show(config: Path) -> None:
    status, text = run(config, "list")
    assert status == 0
    assert f"{DOMAIN}  tls certificate\n" in text
    assert "gone.example  tls certificate  GONE: tls at mx.example.org since" in text
    assert "mail waits" in text
    assert DOMAIN not in run(config, "list", "--changed")[1].replace("mx." + DOMAIN, "")
    status, text = run(config, "show", "Example.ORG")
    assert status == 0
    assert "TLS          on 30 days from" in text
    assert "issued by Test Root" in text
    assert json.loads(run(config, "show", DOMAIN, "--json")[1])["domain"] == DOMAIN
    assert run(config, "show", "other.example")[0] == 1
    rows = [json.loads(line) for line in run(config, "list", "--json")[1].splitlines()]
    assert [row["domain"] for row in rows] == [DOMAIN, "gone.example"]


def test_forget_needs_no_server(config: Path) -> None:
    assert run(config, "forget", "gone.example") == (0, "1 domain forgotten\n")
    assert run(config, "show", "gone.example")[0] == 1
    assert run(config, "forget")[0] == 2
    assert run(config, "forget", "--all") == (0, "1 domain forgotten\n")


def test_suggest_prints_rules_that_are_not_there_yet(config: Path) -> None:
    status, text = run(config, "suggest")
    assert status == 0
    assert f'[domain."{DOMAIN}"]\ntls = "verify"\n' in text
    assert "gone.example" not in text
    assert json.loads(run(config, "suggest", "--json")[1])["rules"][0]["domain"] == DOMAIN
    config.write_text(config.read_text() + text)
    assert run(config, "suggest") == (
        0,
        "no rule to suggest: nothing was seen long enough, or your rules demand it already\n",
    )


def test_what_is_suggested_can_be_pasted_below_the_rules_that_are_there(config: Path) -> None:
    """Found by trying: a domain with a table got a second one, which TOML forbids."""
    table = f'[domain."{DOMAIN}"]\ntls = "may"\nmemory = "hold"\n'
    config.write_text(config.read_text() + table)
    text = run(config, "suggest")[1]
    assert f'# in its table at {config}:3:\n#   tls = "verify"\n' in text
    config.write_text(config.read_text() + text)
    assert load(config).rules.for_next_hop(DOMAIN) is not None


def test_a_suggested_table_keeps_what_the_rule_that_it_takes_the_place_of_says_of_memory(config: Path) -> None:
    wide = '[domain."*"]\ntls = "require-tls"\nmemory = "hold"\nminimum_version = "1.3"\n'
    config.write_text(config.read_text() + wide)
    config.write_text(config.read_text() + run(config, "suggest")[1])
    rule = load(config).rules.for_next_hop(DOMAIN)
    assert rule is not None
    assert (rule.domain, rule.tls, rule.memory) == (DOMAIN, TlsRule.VERIFY, MemoryMode.HOLD)
    assert rule.minimum_version == "TLSv1.3"


def test_a_damaged_file_is_said_and_begun_anew(config: Path) -> None:
    (config.parent / FILE).write_bytes(b"no database at all" * 100)
    status, text = run(config, "list")
    assert status == 1
    assert "letterlock memory forget --all" in text
    assert run(config, "forget", "--all") == (0, "0 domains forgotten\n")
    assert run(config, "list")[0] == 0


def test_check_names_memory_among_what_applies() -> None:
    evidence = DestinationEvidence(next_hop=NextHop(DOMAIN), mx=None, rule=None, at=NOW, memory_mode=MemoryMode.HOLD)
    lost = replace(CLEAR, missing=frozenset({Difference.TLS}))
    assert memory_words(evidence) == ""
    assert memory_words(replace(evidence, memory=remembered())) == "hold: TLS on 30 days since 2026-12-17"
    assert memory_words(replace(evidence, memory=after([lost], remembered()))).endswith("; gone: tls")
    assert memory_words(replace(evidence, memory=remembered(days=2))) == "hold: not established yet"
    assert memory_words(replace(evidence, memory=MemoryUnreadable("x"))) == "hold: could not find out: x"
    assert memory_words(replace(evidence, memory=remembered(), memory_mode=MemoryMode.OFF)) == ""


def test_status_says_what_mail_waits_for_and_since_when() -> None:
    alarm = {"domain": "example.org", "host": "mx.evil.example", "what": "mx-host", "since": NOW, "held": True}
    observed = {**alarm, "held": False}
    [line] = status._of_memory({"trouble": None, "alarms": [alarm, observed]})
    since = "2027-01-15 08:00 UTC"
    assert line.startswith(f"mail to example.org waits because mx-host at mx.evil.example changed on {since}: ")
    assert line.endswith("letterlock memory show example.org")


@pytest.mark.parametrize("verb", [["list"], ["show", "example.org"], ["suggest"], ["forget", "example.org"]])
def test_a_memory_that_cannot_be_read_is_not_called_empty(tmp_path: Path, verb: list[str]) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text(f'[queue]\ndirectory = "{tmp_path}"\n')
    (tmp_path / FILE).symlink_to(FILE)
    status, text = run(path, *verb)
    assert (status, "Traceback" in text) == (1, False)
    assert "nothing is remembered" not in text
    assert f"{tmp_path / FILE}" in text


def test_a_damaged_memory_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text(f'[queue]\ndirectory = "{tmp_path}"\n')
    (tmp_path / FILE).write_bytes(b"no database, however long it may be" * 100)
    status, text = run(path, "show", "example.org")
    assert status == 1
    assert "error:" in text
    assert "is damaged" in text
