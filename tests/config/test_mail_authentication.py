"""`[mail_authentication]`, and the keys of listeners that turn it on and seal."""

from pathlib import Path

import pytest

from letterlock.config import BadConfig, parse
from letterlock.dkim import generate_key
from letterlock.mailauth.dmarc.actions import OBSERVE, Action
from letterlock.mailauth.receiving import ReceivingPolicy

MX = '[[listener]]\nrole = "mx"\nlisten = ["127.0.0.1:25"]\ndomains = ["example.org"]\n'


def wrong(text: str) -> str:
    with pytest.raises(BadConfig) as caught:
        parse(text, "letterlock.toml")
    return str(caught.value)


def test_an_mx_checks_mail_and_no_other_listener_does() -> None:
    relay = '[[listener]]\nlisten = ["127.0.0.2:25"]\n'
    assert [each.authenticates for each in parse(MX + relay, "t.toml").profiles] == [True, False]
    assert not parse(f"{MX}authenticate_mail = false\n", "t.toml").profiles[0].authenticates
    assert parse(f"{relay}authenticate_mail = true\n", "t.toml").profiles[0].authenticates
    assert not parse("", "t.toml").profiles[0].authenticates


def test_without_a_choice_mail_is_only_marked() -> None:
    assert parse(MX, "t.toml").receive.mail_authentication.policy == ReceivingPolicy(dmarc=OBSERVE)


def test_the_choice_is_for_each_policy_and_each_failure() -> None:
    text = '[mail_authentication]\ndmarc_reject = "reject"\ndmarc_quarantine = "quarantine"\nspf_temperror = "defer"\n'
    policy = parse(text, "t.toml").receive.mail_authentication.policy
    assert (policy.dmarc.reject, policy.dmarc.quarantine) == (Action.REJECT, Action.QUARANTINE)
    assert (policy.spf_temperror, policy.dmarc.temperror) == (Action.DEFER, Action.ACCEPT)


def test_a_value_that_is_no_choice_is_named_with_the_choices() -> None:
    report = wrong('[mail_authentication]\ndmarc_reject = "bounce"\n')
    assert "letterlock.toml:2: mail_authentication.dmarc_reject" in report
    assert '"accept", "quarantine" or "reject"' in report


def test_a_seal_needs_a_key_of_its_domain(tmp_path: Path) -> None:
    report = wrong(f'{MX}seal_as = "example.org"\n')
    assert "there is no key of example.org to seal with" in report
    assert "letterlock dkim key example.org" in report
    key = tmp_path / "s.pem"
    key.write_bytes(generate_key())
    key.chmod(0o600)
    text = f'{MX}seal_as = "mail.example.org"\n[dkim."example.org"]\nselectors = {{ s = "{key}" }}\n'
    assert parse(text, "t.toml").profiles[0].seals_as == "mail.example.org"


def test_a_listener_that_checks_nothing_seals_nothing() -> None:
    assert "nothing is checked here that a seal could state" in wrong(
        f'{MX}authenticate_mail = false\nseal_as = "example.org"\n'
    )
