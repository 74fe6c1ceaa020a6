"""How much memory this machine has for us (cgroups(7))."""

from pathlib import Path

import pytest

from letterlock.config import parse
from letterlock.machine import LEAST_OCTETS, MOST_OCTETS, SHARE, content_octets, memory_octets

MEBIBYTE = 1 << 20


def place(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{256 * MEBIBYTE}\n"}, 256),
        (
            {
                "proc/self/cgroup": "0::/system.slice/letterlock.service\n",
                "sys/fs/cgroup/system.slice/letterlock.service/memory.max": "max\n",
                "sys/fs/cgroup/system.slice/memory.max": f"{300 * MEBIBYTE}\n",
            },
            300,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,memory:/box\n0::/box\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{200 * MEBIBYTE}\n",
            },
            200,
        ),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{100 * MEBIBYTE}\n"}, 100),
    ],
)
def test_a_control_group_may_have_less_than_the_machine(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert memory_octets(place(tmp_path, files)) == expected * MEBIBYTE


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert memory_octets(tmp_path) > 64 * MEBIBYTE


@pytest.mark.parametrize(("has", "gets"), [(1, LEAST_OCTETS), (1000 * MEBIBYTE, 250 * MEBIBYTE), (1 << 50, None)])
def test_contents_get_a_share_within_bounds(tmp_path: Path, has: int, gets: int | None) -> None:
    root = place(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{has}\n"})
    assert content_octets(root) == (gets or max(LEAST_OCTETS, min(MOST_OCTETS, memory_octets() // SHARE)))


def test_half_is_for_mail_that_comes_in_and_half_for_mail_that_goes_out() -> None:
    options = parse("memory_octets = 200000000", "t.toml")
    assert options.receive.max_inflight_octets == options.deliver.max_content_octets == 100_000_000
