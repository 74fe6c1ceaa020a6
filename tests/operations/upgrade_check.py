"""From the first release to this checkout with mail in the queue, and back: nothing may be lost, nothing half-read.

    python -m tests.operations.upgrade_check

Builds the wheel of 0.1.0 from its commit and one of this checkout, installs one after the other into a virtual
environment by pip, as an operator does, and lets each serve the same queue: two workers, contents encrypted, messages
that wait, one held, one of 3 MB. The old server ends once in peace and once by SIGKILL. Then the old version
is installed again, and must refuse the newer queue without changing a byte. Needs the git history; takes a minute.
"""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST_RELEASE = "fc3bf48"  # version 0.1.0
SECONDS = 60.0
MESSAGES = 60
LARGE = "x" * 77 + "\r\n"
LARGE_LINES = 40_000  # 3 MB: more than stays in the database
HELD = 3  # the number of the message that is held


def build(source: Path, out: Path) -> Path:
    """The wheel of a source tree."""
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out))
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    return wheel


def checked_out(commit: str, into: Path) -> Path:
    """The files of a commit."""
    into.mkdir()
    archive = subprocess.run(("git", "archive", commit), cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(("tar", "-x", "-C", str(into)), input=archive, check=True)
    return into


class Environment:
    """A virtual environment with this one's dependencies, and one Letterlock at a time."""

    def __init__(self, path: Path, config: Path) -> None:
        self._bin = path / "bin"
        self._config = config
        subprocess.run((sys.executable, "-m", "venv", str(path)), check=True)
        packages = next(Path(each) for each in sys.path if each.endswith("site-packages"))
        (own,) = path.glob("lib/python*/site-packages")
        (own / "dependencies.pth").write_text(f"{packages}\n")  # what is added this way adds no .pth: no checkout

    def install(self, wheel: Path) -> str:
        """Install a version in the place of the other; its name."""
        pip = (str(self._bin / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run((*pip, "--no-deps", "--force-reinstall", str(wheel)), check=True)
        return self.run("letterlock", "--version").stdout.split()[-1]

    def command(self, name: str, *words: str) -> tuple[str, ...]:
        return (str(self._bin / name), *words)

    def run(self, name: str, *words: str, text: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run one of its commands."""
        command = self.command(name, *words)
        environment = {"PATH": os.environ["PATH"], "LETTERLOCK_CONFIG": str(self._config)}
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, env=environment, timeout=SECONDS
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def ask(self, *words: str) -> str:
        """What a command about the queue prints."""
        return self.run("letterlock", "queue", *words, "--config", str(self._config)).stdout

    @contextmanager
    def serving(self, end: signal.Signals = signal.SIGTERM) -> Iterator[None]:
        """Serve until the end of the block, and end as told."""
        command = self.command("letterlock", "serve", "--config", str(self._config))
        log = self._config.with_suffix(".log").open("ab")
        with log, subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as server:
            try:
                self._wait_until_ready(server)
                yield
            finally:
                os.killpg(server.pid, end)
                server.wait(SECONDS)

    def _wait_until_ready(self, server: "subprocess.Popen[bytes]") -> None:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and server.poll() is None:
            if self.run("letterlock", "queue", "list", "--config", str(self._config), check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(self._config.with_suffix(".log").read_text()[-2000:])


def send(port: int, numbers: range, large: int | None = None) -> int:
    """Send messages with these numbers over SMTP until the server ends; how many it took."""
    taken = 0
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        replies = connection.makefile("rb")

        def say(text: str, wanted: bytes) -> None:
            connection.sendall(text.encode())
            while (line := replies.readline())[3:4] == b"-":
                pass
            if line[:3] != wanted:
                raise ConnectionError(line)

        say("", b"220")
        say("EHLO client.example\r\n", b"250")
        for number in numbers:
            body = LARGE * LARGE_LINES if number == large else f"body {number}\r\n"
            say("MAIL FROM:<me@example.org>\r\n", b"250")
            say("RCPT TO:<ann@example.net>\r\n", b"250")
            say("DATA\r\n", b"354")
            say(f"Subject: message {number}\r\n\r\n{body}.\r\n", b"250")
            taken += 1
    return taken


def ids(listed: str) -> set[str]:
    """The ids in a listing."""
    return set(re.findall(r'"id": *"([0-9A-Z]{10,})"', listed))


def octets(directory: Path) -> Mapping[str, str]:
    """The hash of each file; SQLite's shared memory is no content."""
    files = (each for each in sorted(directory.rglob("*")) if each.is_file() and not each.name.endswith("-shm"))
    return {str(each.relative_to(directory)): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def configuration(folder: Path, port: int, *, deliver: bool) -> str:
    """A server that reaches nobody, or delivers into a Maildir."""
    route = f'[route."example.net"]\nnext_hop = "maildir:{folder}/mail"\n' if deliver else ""
    return (
        f'hostname = "relay.example.org"\nworkers = 2\n[smtp]\nlisten = ["127.0.0.1:{port}"]\n'
        f'[queue]\ndirectory = "{folder}/queue"\nkey_file = "{folder}/queue.key"\n'
        f'[resolver]\nupstream = ["127.0.0.1:9"]\n{route}'
    )


def arrived(folder: Path) -> dict[str, str]:
    """Subjects in the Maildir, and the bodies."""
    found = {}
    for path in (folder / "mail" / "new").iterdir():
        header, _, body = path.read_bytes().decode().replace("\r\n", "\n").partition("\n\n")
        (subject,) = re.findall(r"(?m)^Subject: (.*)$", header)
        assert subject not in found, f"{subject} came twice"
        found[subject] = body
    return found


def check(folder: Path) -> None:
    """All of it. Raises AssertionError."""
    config = folder / "letterlock.toml"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config.write_text(configuration(folder, port, deliver=False))
    os.umask(0o077)
    (folder / "queue.key").write_text(subprocess.check_output(("openssl", "rand", "-base64", "32"), text=True))
    old = build(checked_out(FIRST_RELEASE, folder / "old"), folder / "old-dist")
    new = build(ROOT, folder / "new-dist")
    environment = Environment(folder / "venv", config)

    print("installed", environment.install(old))
    with environment.serving():
        assert send(port, range(MESSAGES // 2), large=1) == MESSAGES // 2
        first = sorted(ids(environment.ask("list", "--json")))
        environment.ask("hold", first[HELD])
    with environment.serving(signal.SIGKILL):
        taken = MESSAGES // 2 + send(port, range(MESSAGES // 2, MESSAGES))
        before = ids(environment.ask("list", "--json"))
    print(f"{taken} messages accepted by it, {len(before)} wait; one is held; it was killed")
    assert len(before) == taken == MESSAGES

    print("upgraded to", environment.install(new))
    with environment.serving():
        after = environment.ask("list", "--json")
        assert ids(after) == before
        assert after.count('"held"') >= 1
        more = send(port, range(MESSAGES, MESSAGES + 5))
    queue = octets(folder / "queue")
    print(f"the same {len(before)} wait, and {more} more were accepted")

    print("downgraded to", environment.install(old))
    refused = environment.run("letterlock", "serve", "--config", str(config), check=False)
    print(f"  {refused.stderr.strip()}")
    assert refused.returncode != 0
    assert "newer" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert octets(folder / "queue") == queue, "the refusal changed the queue"

    environment.install(new)
    config.write_text(configuration(folder, port, deliver=True) + "create_mailboxes = true\n")
    with environment.serving():
        environment.ask("release", "--all", "--yes")
        environment.ask("retry", "--all", "--yes")
        until = time.monotonic() + SECONDS
        while ids(environment.ask("list", "--json")) and time.monotonic() < until:
            time.sleep(0.1)
    found = arrived(folder)
    wanted = {f"message {number}": f"body {number}\n" for number in range(MESSAGES + more)}
    wanted["message 1"] = LARGE.replace("\r\n", "\n") * LARGE_LINES
    assert found == wanted, f"lost or changed: {sorted(set(wanted) - set(found))}"
    print(f"{len(found)} messages arrived once, unchanged: nothing lost")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        check(Path(made))
