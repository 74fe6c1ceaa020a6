"""What packages and containers are made from: files that agree with the code, and rules that a linter would hold."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from letterlock.config import load
from tests.interop.programs import run

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
CONTAINER = (PACKAGING / "Containerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """The instructions of the container file, without comments, each on one line."""
    lines = "\n".join(line for line in CONTAINER.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines.splitlines()) if word]


def test_every_base_image_has_an_exact_version() -> None:
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert images
    assert all(re.fullmatch(r"docker\.io/library/python:\d+\.\d+\.\d+-slim-bookworm", image) for image in images)


def test_the_container_ends_as_a_user_with_a_number_that_is_not_root() -> None:
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users == ["10001:10001"]
    after = [word for word, _ in instructions()][[word for word, _ in instructions()].index("USER") :]
    assert "RUN" not in after


def test_commands_of_the_container_are_lists_so_that_signals_reach_the_server() -> None:
    commands = [rest for word, rest in instructions() if word in ("CMD", "ENTRYPOINT")]
    assert len(commands) == 2
    assert all(command.startswith("[") for command in commands)


def test_the_container_has_a_health_check_and_keeps_no_cache_of_pip() -> None:
    words = dict(instructions())
    assert "CMD [" in words["HEALTHCHECK"]
    assert "VOLUME" in words
    assert all("--no-cache-dir" in part for _, rest in instructions() for part in re.findall(r"pip install[^&]*", rest))


def test_the_container_adds_nothing_from_outside_and_copies_only_what_is_there() -> None:
    assert not [word for word, _ in instructions() if word == "ADD"]
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]
    assert all((ROOT / name).exists() for names in copied for name in names)
    assert not re.search(r"curl|wget|apt-get|sudo|chmod 777", CONTAINER)


@pytest.mark.parametrize("name", ["debian/letterlock.toml", "container.toml"])
def test_a_packaged_configuration_has_no_mistake(name: str) -> None:
    options = load(PACKAGING / name)
    assert str(options.queue_directory) == "/var/lib/letterlock"


def test_the_debian_package_listens_on_loopback_only() -> None:
    listen = load(PACKAGING / "debian/letterlock.toml").listen
    assert [each.address for each in listen] == ["127.0.0.1"]


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_a_maintainer_script_is_shell_and_stops_at_the_first_error(script: str) -> None:
    path = PACKAGING / "debian" / script
    assert path.read_text().startswith("#!/bin/sh\nset -e\n")
    assert run("sh", "-n", path) == ""


def test_what_runs_is_locked_and_nothing_that_only_builds() -> None:
    command = [sys.executable, str(ROOT / "tools/runtime_requirements.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^([\w.-]+)==", printed, re.MULTILINE))
    assert {"click", "cryptography", "dnspython", "pydantic-core", "cffi"} <= names
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[^\w.-]", each)[0] for each in declared} <= names
    assert not names & {"hatchling", "pluggy", "pytest"}
    assert printed.count("--hash=sha256:") >= len(names)
    with_driver = subprocess.run([*command, "psycopg"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^([\w.-]+)==", with_driver, re.MULTILINE)) - names == {"psycopg"}
