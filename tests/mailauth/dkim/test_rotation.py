"""The steps of a change of keys: none is skipped, none is taken early, and what is stored comes back."""

import json

import pytest

from letterlock.mailauth.dkim.rotation import (
    DamagedRotation,
    KeyPhase,
    Keys,
    awaits_server,
    begun,
    forgotten,
    from_json,
    is_under_way,
    new_selector,
    retired,
    switched,
    to_json,
    used,
)
from letterlock.mailauth.dkim.signature import Algorithm

RSA, ED25519 = Algorithm.RSA_SHA256, Algorithm.ED25519_SHA256
KEPT = 12 * 86_400.0
OLD: Keys = used(switched(begun((), [("r1", RSA), ("e1", ED25519)], 0.0), {"r1", "e1"}, 1.0), KEPT, 2.0)


def phases(keys: Keys) -> dict[str, str]:
    return {each.selector: each.phase.value for each in keys}


def test_a_whole_change_of_keys() -> None:
    assert not is_under_way(OLD)
    keys = begun(OLD, [("r2", RSA)], 100.0)
    assert phases(keys) == {"r1": "signing", "e1": "signing", "r2": "next"}
    keys = switched(keys, {"r2"}, 200.0)
    assert phases(keys) == {"r1": "retiring", "e1": "signing", "r2": "signing"}
    keys = used(keys, KEPT, 300.0)
    assert phases(retired(keys, 300.0 + KEPT - 1)) == phases(keys)
    keys = retired(keys, 300.0 + KEPT)
    assert phases(keys) == {"r1": "retired", "e1": "signing", "r2": "signing"}
    assert is_under_way(keys)
    keys = forgotten(keys, {"r1", "e1", "r2"})
    assert phases(keys) == {"e1": "signing", "r2": "signing"}
    assert not is_under_way(keys)


def test_a_key_that_not_every_server_shows_does_not_sign() -> None:
    keys = begun(OLD, [("r2", RSA), ("e2", ED25519)], 100.0)
    assert switched(keys, set(), 200.0) == keys
    assert phases(switched(keys, {"e2"}, 200.0)) == {
        "r1": "signing",
        "e1": "retiring",
        "r2": "next",
        "e2": "signing",
    }


def test_the_time_of_an_old_record_begins_when_the_server_uses_the_new_key() -> None:
    keys = switched(begun(OLD, [("r2", RSA)], 100.0), {"r2"}, 200.0)
    assert awaits_server(keys)
    assert retired(keys, 1e12) == keys
    again = used(used(keys, KEPT, 300.0), KEPT, 9_999.0)
    assert not awaits_server(again)
    assert [each.until for each in again if each.phase is KeyPhase.RETIRING] == [300.0 + KEPT]


def test_first_keys_await_the_server_as_well() -> None:
    keys = switched(begun((), [("r1", RSA)], 0.0), {"r1"}, 1.0)
    assert awaits_server(keys)
    assert is_under_way(keys)


def test_the_algorithm_of_the_new_key_decides_what_it_replaces() -> None:
    keys = switched(begun(OLD[:1], [("e2", ED25519)], 100.0), {"e2"}, 200.0)
    assert phases(keys) == {"r1": "signing", "e2": "signing"}


def test_selectors_are_not_used_twice() -> None:
    assert new_selector(RSA, "20261126", set()) == "rsa-20261126"
    assert new_selector(ED25519, "20261126", {"ed25519-20261126", "ed25519-20261126-2"}) == "ed25519-20261126-3"


def test_what_is_stored_comes_back() -> None:
    keys = used(switched(begun(OLD, [("r2", RSA)], 100.5), {"r2"}, 200.0), KEPT, 300.0)
    assert from_json(to_json(keys)) == keys


@pytest.mark.parametrize(
    "change",
    [
        {"selector": "../../etc/passwd"},
        {"selector": ""},
        {"selector": "A.B/../c"},
        {"phase": "whatever"},
        {"algorithm": "rsa-sha1"},
        {"since": "now"},
        {"until": "then"},
        {"used": 1},
    ],
)
def test_what_was_not_written_by_us_is_damaged(change: dict[str, object]) -> None:
    stored = json.loads(to_json(OLD))
    stored["keys"][0] |= change
    with pytest.raises(DamagedRotation):
        from_json(json.dumps(stored))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"version": 2, "keys": []}', "[" * 100_000])
def test_other_files_are_damaged(text: str) -> None:
    with pytest.raises(DamagedRotation):
        from_json(text)


def test_a_selector_twice_is_damaged() -> None:
    with pytest.raises(DamagedRotation):
        from_json(to_json(OLD + OLD))
