"""How much is sent at once on which machine, and the reason that is shown for it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from letterlock.cli.main import main
from letterlock.config import parse
from letterlock.config.capacity import LEAST, MOST, SET, Capacity, capacity
from letterlock.machine import Machine
from letterlock.shares import share

MEBIBYTE = 1 << 20
LARGE = Machine(memory_octets=1 << 40, processors=2, descriptors=1 << 20)


def chosen(
    machine: Machine = LARGE, *, workers: int = 2, connections: int = 500, per_destination: int = 10, **keys: int
) -> Capacity:
    names = ("max_concurrent", "max_idle_sessions", "max_connections_per_host")
    unset: dict[str, int | None] = dict.fromkeys(names)
    return capacity(
        machine, workers=workers, max_connections=connections, per_destination=per_destination, **(unset | keys)
    )


@pytest.mark.parametrize(
    ("machine", "workers", "expected", "why"),
    [
        (LARGE, 2, 1000, "500 for each of 2 processors"),
        (LARGE, 1, 500, "500 for the processor that workers use"),
        (LARGE, 8, 1000, "500 for each of 2 processors"),
        (Machine(1 << 40, 64, 1 << 20), 64, MOST, "the most on any machine"),
        (Machine(1024 * MEBIBYTE, 2, 1 << 20), 2, 268, "for 1,024 MiB"),
        (Machine(256 * MEBIBYTE, 1, 1 << 20), 1, 67, "for 256 MiB"),
        (Machine(64 * MEBIBYTE, 1, 1 << 20), 1, LEAST, "the least, for 64 MiB"),
        (Machine(1 << 40, 2, 4096), 1, 255, "for 4,096 file descriptors"),
        (Machine(1 << 40, 2, 1024), 1, LEAST, "the least, for 1,024 file descriptors"),
    ],
)
def test_the_scarcest_means_decide(machine: Machine, workers: int, expected: int, why: str) -> None:
    found = chosen(machine, workers=workers)
    assert found.max_concurrent.value == expected
    assert found.max_concurrent.why.startswith(why)


def test_what_one_host_sees_does_not_grow_with_the_machine() -> None:
    large, small = chosen(Machine(1 << 50, 256, 1 << 20), workers=256), chosen(Machine(64 * MEBIBYTE, 1, 1024))
    assert large.max_connections_per_host == small.max_connections_per_host


def test_sessions_are_kept_for_as_many_hosts_as_mail_goes_to() -> None:
    assert chosen().max_idle_sessions.value == 1000
    assert chosen(max_concurrent=10).max_idle_sessions.value == 100


def test_who_lets_a_destination_have_more_lets_its_host_have_more() -> None:
    assert chosen(per_destination=60).max_connections_per_host.value == 60
    options = parse('[route."a.test"]\nnext_hop = "relay.test"\nmax_concurrent = 45\n', "t.toml")
    assert options.deliver.max_connections_per_host == 45


def test_what_the_file_says_holds() -> None:
    found = chosen(max_concurrent=7, max_idle_sessions=8, max_connections_per_host=9)
    assert [each.value for each in found.by_key.values()] == [7, 8, 9]
    assert {each.why for each in found.by_key.values()} == {SET}
    text = "[delivery]\nmax_concurrent = 7\nmax_idle_sessions = 8\nmax_connections_per_host = 9\n"
    deliver = parse(text, "t.toml").deliver
    assert (deliver.max_concurrent, deliver.max_idle_sessions, deliver.max_connections_per_host) == (7, 8, 9)


def test_workers_divide_what_was_chosen() -> None:
    options = parse("workers = 2", "t.toml")
    parts = [share(options, 2, number).deliver for number in (0, 1)]
    assert sum(part.max_concurrent for part in parts) == options.deliver.max_concurrent
    assert sum(part.max_connections_per_host for part in parts) == options.deliver.max_connections_per_host


def test_config_show_has_the_value_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text("[delivery]\nmax_idle_sessions = 33\n")
    done = CliRunner().invoke(main, ["config", "show", "--json", "--config", str(path)])
    shown = {each["key"]: each for each in json.loads(done.stdout)["keys"]}
    assert shown["delivery.max_concurrent"]["value"] >= LEAST
    assert shown["delivery.max_concurrent"]["from"].startswith("default: ")
    assert (shown["delivery.max_idle_sessions"]["value"], shown["delivery.max_idle_sessions"]["from"]) == (
        33,
        f"{path}:2",
    )
