"""HandshakeSlots at setting up sessions with one host, by its name and by its addresses."""

import pytest

from letterlock.deliver.handshake_slots import HandshakeSlots, HostBusy

ONE, TWO = "192.0.2.1", "192.0.2.2"


def test_so_many_at_once_and_another_when_one_leaves() -> None:
    handshake_slots = HandshakeSlots(2, 100)
    with handshake_slots.take("mx", [ONE], 25):
        with handshake_slots.take("mx", [ONE], 25), pytest.raises(HostBusy) as busy:
            handshake_slots.take("mx", [ONE], 25)
        assert busy.value.key == "mx"
        handshake_slots.take("mx", [ONE], 25)


def test_hosts_do_not_share_turns() -> None:
    handshake_slots = HandshakeSlots(1, 100)
    with handshake_slots.take("mx1", [ONE], 25), handshake_slots.take("mx2", [TWO], 25):
        assert handshake_slots.busy("mx1")
    assert not handshake_slots.busy("mx1")


def test_many_names_of_one_address_are_one_host() -> None:
    handshake_slots = HandshakeSlots(1, 100)
    with handshake_slots.take("mx1", [ONE], 25), pytest.raises(HostBusy) as busy:
        handshake_slots.take("mx2", [ONE], 25)
    assert handshake_slots.busy("mx1") is False
    assert busy.value.key == f"[{ONE}]:25"


def test_another_port_is_another_server() -> None:
    handshake_slots = HandshakeSlots(1, 100)
    with handshake_slots.take("relay1", ["127.0.0.1"], 2525), handshake_slots.take("relay2", ["127.0.0.1"], 2526):
        pass


def test_only_addresses_that_are_not_busy_are_dialled() -> None:
    handshake_slots = HandshakeSlots(1, 100)
    with handshake_slots.take("hostile", [ONE], 25), handshake_slots.take("honest", [ONE, TWO], 25) as turn:
        assert turn.addresses == [TWO]


def test_after_the_race_only_the_winner_counts() -> None:
    """Nobody can take the turns of a host away by listing its address beside an own one."""
    handshake_slots = HandshakeSlots(1, 100)
    with handshake_slots.take("hostile", [ONE, TWO], 25) as turn:
        turn.settle_on(ONE)
        with handshake_slots.take("honest", [TWO], 25):
            pass
        assert handshake_slots.busy(f"[{ONE}]:25")
    assert not handshake_slots.busy(f"[{ONE}]:25")


def test_who_parked_is_called_by_name_and_by_address() -> None:
    handshake_slots, freed = HandshakeSlots(1, 100), list[str]()
    handshake_slots.freed = freed.append
    with handshake_slots.take("mx", [ONE, TWO], 25) as turn:
        turn.settle_on(TWO)
        assert freed == [f"[{ONE}]:25"]
    assert freed == [f"[{ONE}]:25", "mx", f"[{TWO}]:25"]
    handshake_slots.session_free("mx", ONE, 25)
    assert freed[-2:] == ["mx", f"[{ONE}]:25"]


def test_a_turn_ends_with_an_exception_too() -> None:
    handshake_slots = HandshakeSlots(1, 100)
    with pytest.raises(ConnectionError), handshake_slots.take("mx", [ONE], 25):
        raise ConnectionError
    assert not handshake_slots.busy("mx")


def test_open_sessions_count_until_they_end() -> None:
    slots, freed = HandshakeSlots(4, 2), list[str]()
    slots.freed = freed.append
    ends = []
    for _ in range(2):
        with slots.take("mx", [ONE], 25):
            ends.append(slots.opened("mx", ONE, 25))
    with pytest.raises(HostBusy, match="max_connections_per_host") as busy:
        slots.take("mx", [ONE], 25)
    assert (busy.value.key, slots.fillings, slots.busy("mx")) == ("mx", 1, True)
    freed.clear()
    ends.pop()()
    assert freed == ["mx", f"[{ONE}]:25"]
    slots.take("mx", [ONE], 25)


def test_many_names_of_one_address_share_its_connections() -> None:
    slots = HandshakeSlots(4, 1)
    slots.opened("mx1", ONE, 25)
    with pytest.raises(HostBusy) as busy:
        slots.take("mx2", [ONE], 25)
    assert busy.value.key == f"[{ONE}]:25"
    assert slots.take("mx2", [ONE, TWO], 25).addresses == [TWO]


def test_an_idle_session_makes_room() -> None:
    slots = HandshakeSlots(4, 1)
    ends = [slots.opened("mx", ONE, 25)]

    def end_one(_key: str) -> bool:
        ends.pop()()
        return True

    slots.make_room = end_one
    slots.take("mx", [ONE], 25)
    assert not ends


def test_nobody_is_called_to_a_host_whose_connections_are_all_in_use() -> None:
    slots, freed = HandshakeSlots(4, 1), list[str]()
    slots.freed = freed.append
    with slots.take("mx", [ONE], 25):
        end = slots.opened("mx", ONE, 25)
    assert freed == [], "the handshake is over, and the session that it made is the only one there may be"
    slots.session_free("mx", ONE, 25)
    assert freed == ["mx", f"[{ONE}]:25"], "an idle one can be used"
    freed.clear()
    end()
    assert freed == ["mx", f"[{ONE}]:25"]
