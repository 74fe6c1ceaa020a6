"""Turns at setting up sessions with one host, by its name and by its addresses."""

import pytest

from letterlock.deliver.handshake_slots import HostBusy, Turns

ONE, TWO = "192.0.2.1", "192.0.2.2"


def test_so_many_at_once_and_another_when_one_leaves() -> None:
    turns = Turns(2)
    with turns.take("mx", [ONE], 25):
        with turns.take("mx", [ONE], 25), pytest.raises(HostBusy) as busy:
            turns.take("mx", [ONE], 25)
        assert busy.value.key == "mx"
        turns.take("mx", [ONE], 25)


def test_hosts_do_not_share_turns() -> None:
    turns = Turns(1)
    with turns.take("mx1", [ONE], 25), turns.take("mx2", [TWO], 25):
        assert turns.busy("mx1")
    assert not turns.busy("mx1")


def test_many_names_of_one_address_are_one_host() -> None:
    turns = Turns(1)
    with turns.take("mx1", [ONE], 25), pytest.raises(HostBusy) as busy:
        turns.take("mx2", [ONE], 25)
    assert turns.busy("mx1") is False
    assert busy.value.key == f"[{ONE}]:25"


def test_another_port_is_another_server() -> None:
    turns = Turns(1)
    with turns.take("relay1", ["127.0.0.1"], 2525), turns.take("relay2", ["127.0.0.1"], 2526):
        pass


def test_only_addresses_that_are_not_busy_are_dialled() -> None:
    turns = Turns(1)
    with turns.take("hostile", [ONE], 25), turns.take("honest", [ONE, TWO], 25) as turn:
        assert turn.addresses == [TWO]


def test_after_the_race_only_the_winner_counts() -> None:
    """Nobody can take the turns of a host away by listing its address beside an own one."""
    turns = Turns(1)
    with turns.take("hostile", [ONE, TWO], 25) as turn:
        turn.settle_on(ONE)
        with turns.take("honest", [TWO], 25):
            pass
        assert turns.busy(f"[{ONE}]:25")
    assert not turns.busy(f"[{ONE}]:25")


def test_who_parked_is_called_by_name_and_by_address() -> None:
    turns, freed = Turns(1), list[str]()
    turns.freed = freed.append
    with turns.take("mx", [ONE, TWO], 25) as turn:
        turn.settle_on(TWO)
        assert freed == [f"[{ONE}]:25"]
    assert freed == [f"[{ONE}]:25", "mx", f"[{TWO}]:25"]
    turns.session_free("mx")
    assert freed[-1] == "mx"


def test_a_turn_ends_with_an_exception_too() -> None:
    turns = Turns(1)
    with pytest.raises(ConnectionError), turns.take("mx", [ONE], 25):
        raise ConnectionError
    assert not turns.busy("mx")
