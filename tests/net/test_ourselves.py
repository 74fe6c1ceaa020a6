"""Which addresses are this server itself (RFC 5321 section 5.1)."""

import socket
from pathlib import Path

import pytest

from letterlock.net import ourselves as module
from letterlock.net.ourselves import Ourselves


@pytest.mark.parametrize(
    ("listening", "address", "port", "ours"),
    [
        (("127.0.0.1", 25), "127.0.0.1", 25, True),
        (("127.0.0.1", 2525), "127.0.0.1", 25, False),  # a filter or another server beside us
        (("127.0.0.1", 25), "127.0.0.2", 25, False),
        (("127.0.0.1", 25), "::ffff:127.0.0.1", 25, True),
        (("127.0.0.1", 25), "0.0.0.0", 25, True),
        (("192.0.2.1", 25), "0.0.0.0", 25, False),
        (("0.0.0.0", 25), "0.0.0.0", 25, True),
        (("0.0.0.0", 25), "127.0.0.1", 25, True),
        (("0.0.0.0", 25), "127.99.0.1", 25, True),
        (("0.0.0.0", 25), "192.0.2.1", 25, False),  # TEST-NET is nobody's
        (("0.0.0.0", 25), "0.0.0.0", 26, False),
        (("0.0.0.0", 25), "::1", 25, False),
        (("::", 25), "::", 25, True),
        (("::", 25), "::1", 25, True),
        (("::", 25), "2001:db8::1", 25, False),
        (("::1", 25), "::", 25, True),
        (("2001:db8::1", 25), "2001:0db8:0::1", 25, True),
        (("fe80::1", 25), "fe80::1%lo", 25, True),
    ],
)
def test_rfc5321_5_1_where_we_listen(listening: tuple[str, int], address: str, port: int, ours: bool) -> None:
    assert Ourselves([listening]).listens(address, port) is ours


def test_rfc5321_5_1_behind_nat_our_public_addresses_are_ours() -> None:
    ourselves = Ourselves([("192.168.0.9", 2525)], own=["203.0.113.5", "2001:db8::5"])
    assert ourselves.listens("203.0.113.5", 25)
    assert ourselves.listens("203.0.113.5", 2525)
    assert ourselves.listens("2001:DB8::5", 25)
    assert not ourselves.listens("203.0.113.5", 587)
    assert not ourselves.listens("203.0.113.6", 25)


def test_listening_everywhere_an_address_of_an_interface_is_ours() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.connect(("192.0.2.1", 9))
        except OSError:
            return  # a machine without a network has no such address
        address = trial.getsockname()[0]
    assert Ourselves([("0.0.0.0", 25)]).listens(address, 25)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_addresses_of_this_machine_are_for_routes_only_but_in_a_laboratory(address: str) -> None:
    assert Ourselves([]).only_by_route(address)
    assert not Ourselves([], loopback=True).only_by_route(address)
    assert not Ourselves([]).only_by_route("192.0.2.1")


LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo\n"
LINK = "fe800000000000000000000000000001 02 40 20 80     eth0\n"
GLOBAL = "20010db8000000000000000000000001 02 40 00 80     eth0\n"
UNIQUE_LOCAL = "fd000000000000000000000000000001 02 40 00 80     eth0\n"


@pytest.mark.parametrize(
    ("addresses", "found"),
    [("", False), (LOOPBACK + LINK, False), (LOOPBACK + LINK + GLOBAL, True), (UNIQUE_LOCAL, True)],
)
def test_a_machine_has_ipv6_with_an_address_for_more_than_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addresses: str, found: bool
) -> None:
    monkeypatch.setattr(module, "_IPV6_ADDRESSES", tmp_path / "if_inet6")
    (tmp_path / "if_inet6").write_text(addresses)
    assert Ourselves([]).has_ipv6() is found
    assert Ourselves([], loopback=True).has_ipv6()


def test_a_kernel_without_ipv6_has_no_list_of_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IPV6_ADDRESSES", tmp_path / "if_inet6")
    assert not Ourselves([]).has_ipv6()


def test_where_addresses_cannot_be_found_out_there_may_be_ipv6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IPV6_ADDRESSES", tmp_path / "nowhere" / "if_inet6")
    assert Ourselves([]).has_ipv6()
    monkeypatch.setattr(module, "_IPV6_ADDRESSES", tmp_path)  # a folder cannot be read
    assert Ourselves([]).has_ipv6()


def test_an_address_that_comes_is_noticed_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IPV6_ADDRESSES", tmp_path / "if_inet6")
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    ourselves = Ourselves([])
    assert not ourselves.has_ipv6()
    (tmp_path / "if_inet6").write_text(GLOBAL)
    assert not ourselves.has_ipv6()
    now[0] += 5.0
    assert ourselves.has_ipv6()
