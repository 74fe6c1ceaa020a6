"""`[[listener]]`, and the short form in `[smtp]`."""

import ipaddress
from pathlib import Path

import pytest

from letterlock.config import BadConfig, Endpoint, load, parse
from letterlock.receive.profiles import Role
from letterlock.receive.relay import LOOPBACK
from tests.certificates import authority


def wrong(text: str, base: Path | None = None) -> str:
    with pytest.raises(BadConfig) as caught:
        parse(text, "letterlock.toml", base=base)
    return str(caught.value)


def test_the_short_form_is_one_relay() -> None:
    options = parse('[smtp]\nlisten = ["127.0.0.1:25", "[::1]:25"]\n', "t.toml")
    [listener] = options.listeners
    assert listener.endpoints == options.listen == (Endpoint("127.0.0.1", 25), Endpoint("::1", 25))
    assert (listener.profile.role, listener.profile.relay_networks) == (Role.RELAY, LOOPBACK)


def test_several_listeners_with_several_addresses_each() -> None:
    options = parse(
        '[smtp]\nrelay_networks = ["192.0.2.0/24"]\n'
        '[[listener]]\nlisten = ["127.0.0.1:25", "127.0.0.2:25"]\n'
        '[[listener]]\nrole = "mx"\nlisten = ["127.0.0.3:25"]\ndomains = ["Bücher.example"]\n',
        "t.toml",
    )
    relay, mx = options.profiles
    assert [str(each) for each in options.listen] == ["127.0.0.1:25", "127.0.0.2:25", "127.0.0.3:25"]
    assert relay.relay_networks == (ipaddress.ip_network("192.0.2.0/24"),)
    assert not relay.relay_own_machine
    assert (mx.relay_networks, mx.relay_own_machine) == ((), False)
    assert mx.domains == {"xn--bcher-kva.example"}


def test_a_listener_has_its_own_certificate_or_that_of_smtp(tmp_path: Path) -> None:
    authority().leaf("a.test").write(tmp_path, "a")
    authority().leaf("b.test").write(tmp_path, "b")
    more = 'relay_networks = ["192.0.2.0/24"]\n'
    options = parse(
        '[smtp]\ncertificate = "a.pem"\nkey = "a.key"\n'
        f'[[listener]]\nrole = "submission"\nlisten = ["127.0.0.1:587"]\n{more}'
        f'[[listener]]\nrole = "submissions"\nlisten = ["127.0.0.1:465"]\n{more}certificate = "b.pem"\nkey = "b.key"\n',
        "t.toml",
        base=tmp_path,
    )
    assert [each.tls and each.tls.certificate_path.name for each in options.profiles] == ["a.pem", "b.pem"]
    assert [(each.requires_tls, each.implicit_tls) for each in options.profiles] == [(True, False), (True, True)]


def test_both_forms_at_once_are_one_mistake_that_shows_the_new_form() -> None:
    report = wrong('[smtp]\nlisten = ["192.0.2.1:25"]\n[[listener]]\nlisten = ["127.0.0.1:25"]\n')
    assert report == (
        "letterlock.toml:2: smtp.listen\n"
        "  is given together with [[listener]]\n"
        "  hint: replace it by a table of its own: [[listener]] with "
        'role = "relay" and listen = ["192.0.2.1:25"]\n'
        "1 mistake. Nothing was started."
    )


@pytest.mark.parametrize(
    ("table", "at", "hint"),
    [
        ("", "listener[0].listen", None),
        ('listen = ["127.0.0.1:25"]\nrole = "mta"', "listener[0].role", None),
        ('listen = ["127.0.0.1:25"]\nrole = "mx"', "listener[0].role", 'add domains = ["example.org"]'),
        ('listen = ["127.0.0.1:25"]\ndomains = ["a.test"]', "listener[0].domains", 'write role = "mx"'),
        (
            'listen = ["127.0.0.1:25"]\nrole = "submission"',
            "listener[0].role",
            'add [accounts] with file = "users", or relay_networks = ["192.0.2.0/24"] here',
        ),
        (
            'listen = ["127.0.0.1:25"]\nrole = "submissions"\nrelay_networks = ["192.0.2.0/24"]',
            "listener[0].role",
            "give certificate and key here or in [smtp]",
        ),
        ('listen = ["127.0.0.1:25"]\nkey = "k.pem"', "listener[0].key", "TLS needs both"),
        ('listen = ["127.0.0.1:25"]\ndomain = ["a.test"]', "listener[0].domain", 'did you mean "domains"?'),
    ],
)
def test_a_listener_that_means_nothing_is_a_mistake_with_its_place(table: str, at: str, hint: str | None) -> None:
    report = wrong(f"[[listener]]\n{table}\n")
    assert f": {at}\n" in report
    assert hint is None or f"hint: {hint}\n" in report
    assert report.endswith("1 mistake. Nothing was started.")


def test_a_mistake_in_a_later_listener_is_told_with_its_line() -> None:
    text = '[[listener]]\nlisten = ["127.0.0.1:25"]\n\n[[listener]]\nlisten = ["127.0.0.2:25"]\nrole = "rely"\n'
    assert wrong(text).splitlines()[:3] == [
        "letterlock.toml:6: listener[1].role",
        "  unknown role 'rely'; one of: relay, mx, submission, submissions",
        '  hint: did you mean "relay"?',
    ]


def test_more_certificates_need_a_usual_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    certificate, key = authority().leaf("mail.example.net").write(tmp_path / "a")
    pair = f'certificates = [{{ certificate = "{certificate}", key = "{key}" }}]\n'
    listener = '[[listener]]\nlisten = ["127.0.0.1:0"]\n'
    path = tmp_path / "letterlock.toml"
    path.write_text(listener + pair)
    with pytest.raises(BadConfig, match="needs a certificate for clients that ask for no name"):
        load(path)
    path.write_text(f'{listener}certificate = "{certificate}"\nkey = "{key}"\n{pair}')
    [profile] = load(path).profiles
    assert [each.names for each in profile.tls_by_name] == [("mail.example.net",)]
