"""Suggested rules are satisfied by what was observed, and can be pasted."""

from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.config import parse
from letterlock.memory.learning import Sighting
from letterlock.memory.remembered import Difference
from letterlock.memory.suggestion import as_toml, suggestion
from letterlock.routing.destination_rule import TlsRule
from tests.memory.lives import CLEAR, DOMAIN, GOOD, HOST, NOW, after, daily, remembered


@pytest.mark.parametrize(
    ("shown", "tls", "names"),
    [
        (GOOD, "verify", (HOST,)),
        (replace(GOOD, certificate=None), "require-tls", ()),
        (replace(GOOD, dane=True, signed=True), "dane-only", ()),
        (replace(GOOD, dane=True), "verify", (HOST,)),
        (replace(GOOD, hosts=(HOST, "mx2.example.org")), "require-tls", ()),
    ],
    ids=["certificate", "any certificate", "DANE", "DANE behind an unsigned MX", "a host that was never used"],
)
def test_the_strictest_rule_that_holds_is_suggested_and_can_be_read(
    shown: Sighting, tls: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    memory = remembered(shown)
    found = suggestion(memory, NOW)
    assert found is not None
    assert (found.tls, found.names) == (tls, names)
    text = "\n".join(as_toml(memory, found, NOW))
    rule = parse(text, "t.toml", base=tmp_path).rules.for_next_hop(DOMAIN)
    assert rule is not None
    assert (rule.tls, rule.names) == (TlsRule(tls), names)
    assert text.startswith("# TLS on 30 days from 2026-12-17 to 2027-01-15")


def test_nothing_is_suggested_where_anything_speaks_against_it() -> None:
    good = remembered()
    assert suggestion(good, NOW) is not None
    assert suggestion(remembered(days=5), NOW) is None
    assert suggestion(good, NOW + 100 * 86_400) is None
    assert suggestion(after([replace(CLEAR, missing=frozenset({Difference.TLS}))], good), NOW) is None
    assert suggestion(after([*daily(replace(CLEAR, host="old.example.org"), 3), *daily(GOOD)]), NOW) is None
    assert suggestion(remembered(replace(GOOD, domain="[relay.example]")), NOW) is None


def test_an_issuer_cannot_write_into_the_file() -> None:
    evil = replace(GOOD.certificate, issuer='x\n[domain."*"]\ntls = "may"') if GOOD.certificate else None
    memory = remembered(replace(GOOD, certificate=evil))
    found = suggestion(memory, NOW)
    assert found is not None
    text = "\n".join(as_toml(memory, found, NOW))
    assert [line for line in text.splitlines() if line.startswith("[")] == [f'[domain."{DOMAIN}"]']
