"""Domain names: A-labels in lower case, and what is not one."""

import pytest

from letterlock.mail.names import InvalidName, is_ip_address, literal_address, normalise


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Example.ORG.", "example.org"),
        ("faß.de", "xn--fa-hia.de"),
        ("fass.de", "fass.de"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("_25._tcp.mx.example.org", "_25._tcp.mx.example.org"),
        ("localhost", "localhost"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
    ],
)
def test_names_become_lower_case_a_labels(given: str, expected: str) -> None:
    assert normalise(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        "",
        ".",
        "a..b",
        "-a.test",
        "a-.test",
        "a b.test",
        "a" * 64 + ".test",
        "a." * 127 + "a",
        "a\x00b.test",
        "[1.2.3.4]",
    ],
)
def test_what_is_not_a_domain_name_is_refused(given: str) -> None:
    with pytest.raises(InvalidName):
        normalise(given)


def test_rfc5321_4_1_3_address_literals() -> None:
    assert literal_address("[192.0.2.1]") == "192.0.2.1"
    assert literal_address("[IPv6:2001:DB8:0::1]") == "2001:db8::1"
    assert literal_address("[IPv6:fe80::1%eth0.7]") == "fe80::1%eth0.7"
    for bad in (
        "[192.0.2]",
        "[IPv6:192.0.2.1]",
        "[2001:db8::1]",
        "192.0.2.1",
        "[]",
        "[IPv6:fe80::1%a\r\nb]",
        "[IPv6:::1%\xe4]",
    ):
        with pytest.raises(InvalidName):
            literal_address(bad)


def test_addresses_where_names_belong_are_recognised() -> None:
    assert is_ip_address("192.0.2.1.")
    assert is_ip_address("2001:db8::1")
    assert not is_ip_address("192.0.2.1.example")
