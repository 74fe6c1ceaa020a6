"""Settings that can be used and are dangerous."""

import time

import pytest

from letterlock.app import surroundings as module
from letterlock.app.surroundings import surroundings, warn_of_surroundings
from letterlock.config import parse
from letterlock.config.dangers import dangers

MX = '[[listener]]\nrole = "mx"\nlisten = ["127.0.0.1:2525"]\ndomains = ["a.example", "b.example"]\n'


def warnings(text: str) -> list[str]:
    return list(dangers(parse(f'hostname = "mx.example.org"\n{text}', "t.toml"), time.time()))


def test_an_mx_whose_domains_have_no_route() -> None:
    (found,) = warnings(MX + '[route."a.example"]\nnext_hop = "[192.0.2.1]"\n')
    assert found.startswith("an mx accepts mail for b.example, and no route says where it goes")
    assert not warnings(MX + '[route."*"]\nnext_hop = "[192.0.2.1]"\n')
    many = ", ".join(f'"{letter}.example"' for letter in "abcdefg")
    (found,) = warnings(MX.replace('"a.example", "b.example"', many))
    assert "a.example, b.example, c.example and 4 more" in found


def test_a_maildir_for_everybody() -> None:
    for path in ("/var/mail", "/var/mail/{domain}"):
        (found,) = warnings(f'[route."a.example"]\nnext_hop = "maildir:{path}"\n')
        assert "is one mailbox for all recipients" in found
        assert "maildir:/var/mail/{domain}/{local}" in found
    assert not warnings('[route."a.example"]\nnext_hop = "maildir:/var/mail/{domain}/{local}"\n')


def test_the_systems_name_may_be_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("letterlock.config.building._system_hostname", lambda: "mx_1.example.org")
    (found,) = dangers(parse("", "t.toml"), time.time())
    assert "mx_1 has an underscore" in found


def test_clock_and_reverse_names_are_warned_of_at_start_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nameless(address: str) -> tuple[str, list[str], list[str]]:
        raise OSError(address)

    monkeypatch.setattr(module, "clock_is_synchronised", lambda: False)
    monkeypatch.setattr(module, "_sending_addresses", lambda _: iter(("192.0.2.1",)))
    monkeypatch.setattr("socket.gethostbyaddr", nameless)
    options = parse("", "t.toml")
    assert [found.level for found in surroundings(options)] == ["warning", "warning"]
    with caplog.at_level("WARNING", "letterlock.serve"):
        warn_of_surroundings(options).join(20)
    assert "the clock is not synchronised" in caplog.text
    assert "192.0.2.1 has no reverse name" in caplog.text


@pytest.mark.parametrize("table", ["tls_reports", "dmarc_reports"])
def test_reports_that_nobody_signs_are_warned_of(table: str) -> None:
    text = f'[{table}]\nsend = true\nfrom = "r@reports.example.org"\n'
    assert any(f"[{table}] sends reports from reports.example.org" in each for each in warnings(text))
    signed = text + '[dkim."example.org"]\nselectors = { s1 = "s1.pem" }\n'
    assert not any("reports" in each for each in dangers(parse(signed, "t.toml", secrets=False), time.time()))
