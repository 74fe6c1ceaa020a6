"""The container image, built and run: python -m tests.operations.container_check

Builds packaging/Containerfile with buildah, runs the image with podman as docs/guides/install.md says, and lets it
relay: as process 1, without root or capabilities, on a read-only root, with 256 MB of memory (a control group's limit),
300 file descriptors and IPv6 only. It is asked for its health, reloaded, stopped, killed and started again under load:
no accepted message may be lost, and nothing may be written but to the queue's volume.

What differs from `docker build` on a machine with a registry: the image that the file names as its base is made here by
debootstrap (Debian 12 with its own Python 3.11, in /usr, where the real one has a newer 3.11 in /usr/local), and pip
takes the wheels of the lock file from a folder, by their hashes. Needs root, buildah, podman, runc and debootstrap; the
base is kept in .make. Takes two minutes.
"""

import json
import os
import re
import shlex
import smtplib
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from tests.interop.programs import find, need_root

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "packaging" / "Containerfile"
BASE = ROOT / ".make" / "container-base.tar"
SECONDS = 60.0  # a guard against hanging, not a measure
MEMORY_MB = 256
DESCRIPTORS = 300
PROCESSES = 1024  # podman's default is more than a host may allow
ADDRESS, RECEIVER = "2001:db8::1", "2001:db8::2"
NAME = "letterlock-check"
LARGE = 8_000_000
CONFIGURATION = f"""\
hostname = "relay.example.org"
workers = 2

[smtp]
listen = ["[{ADDRESS}]:2525"]
relay_networks = ["2001:db8::/32"]
max_message_octets = 10000000

[queue]
directory = "/var/lib/letterlock"
drop_directory = false
retry_first_seconds = 1

[resolver]
upstream = ["[2001:db8::53]:53"]

[route."example.net"]
next_hop = "[IPv6:{RECEIVER}]"
"""


def run(*command: str, check: bool = True) -> str:
    """What a program prints; it is shown if the program fails."""
    done = subprocess.run(
        [find(command[0]), *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=10 * SECONDS,
    )
    if check and done.returncode != 0:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + SECONDS
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain until {what}")
        time.sleep(0.1)


def make_base() -> None:
    """What stands for the base image: a Debian 12 with Python, in an archive."""
    if BASE.exists():
        return
    print("making a Debian 12 with debootstrap (once)", flush=True)
    BASE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        packages = "--include=ca-certificates,python3,python3-venv"
        run("debootstrap", "--variant=minbase", packages, "bookworm", made)
        Path(made, "usr/local/bin/python").symlink_to("/usr/bin/python3")
        run("tar", "-C", made, "--one-file-system", "-cf", f"{BASE}.new", ".")
    Path(f"{BASE}.new").rename(BASE)


class Engine:
    """buildah and podman, with images and containers of their own in a folder."""

    def __init__(self, folder: Path) -> None:
        self._store = ("--root", f"{folder}/store", "--runroot", f"{folder}/run", "--storage-driver", "overlay")
        self._podman = ("--cgroup-manager", "cgroupfs", "--runtime", "runc", "--tmpdir", str(folder / "tmp"))

    def buildah(self, *words: str) -> str:
        return run("buildah", *self._store, *words)

    def podman(self, *words: str, check: bool = True) -> str:
        return run("podman", *self._store, *self._podman, "--events-backend", "file", *words, check=check)

    def import_base(self, name: str) -> None:
        """Give the archive the name of the base image."""
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", container, str(BASE), "/")
        self.buildah("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        self.buildah("commit", "--quiet", "--rm", container, name)

    def build(self, wheels: Path) -> Mapping[str, Any]:
        """Build the file as it is (no network leads out of here); what the image says of itself."""
        settings = wheels.with_name("pip.conf")
        settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        volumes = ("--volume", f"{wheels}:/wheels:ro", "--volume", f"{settings}:/etc/pip.conf:ro")
        place = ("--pull=never", "--isolation", "chroot", "--format", "docker")
        self.buildah("build", *place, *volumes, "-f", str(FILE), "-t", "letterlock", str(ROOT))
        (image,) = json.loads(self.podman("image", "inspect", "letterlock"))
        found: Mapping[str, Any] = image
        return found

    def healthy(self) -> bool:
        """Whether the image's own health check succeeds now."""
        words = ("healthcheck", "run", NAME)
        command = ("podman", *self._store, *self._podman, "--events-backend", "file", *words)
        return subprocess.run([find(command[0]), *command[1:]], capture_output=True, check=False).returncode == 0

    def state(self) -> Mapping[str, Any]:
        """What the engine knows of the container."""
        (container,) = json.loads(self.podman("inspect", NAME))
        found: Mapping[str, Any] = container["State"]
        return found


class Receiver:
    """An SMTP server on the only network there is; it keeps the subjects."""

    def __init__(self) -> None:
        self.arrived: Counter[str] = Counter()

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        content = envelope.content
        assert isinstance(content, bytes)
        self.arrived.update(re.findall(r"(?mi)^Subject: (\w+)", content[:4000].decode("ascii", "replace")))
        return "250 taken"


class Sender:
    """Sends messages one after the other until it is told to stop; it knows which were accepted."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self._number = 0

    def send(self, how_many: int, size: int = 200) -> None:
        """Send so many; what a connection that breaks leaves open counts as not accepted."""
        with smtplib.SMTP(ADDRESS, 2525, timeout=SECONDS) as client:
            for _ in range(how_many):
                self._number += 1
                name = f"message{self._number}"
                body = "x" * 77 + "\r\n"
                text = f"Subject: {name}\r\n\r\n{body * (size // len(body))}"
                client.sendmail("me@example.org", ["ann@example.net"], text)
                self.accepted.append(name)

    def has_sent(self, wanted: int) -> bool:
        """Whether so many were accepted."""
        return len(self.accepted) >= wanted

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Send in the background until the block ends."""
        done = threading.Event()

        def work() -> None:
            while not done.is_set():
                try:
                    self.send(5)
                except (OSError, smtplib.SMTPException):
                    time.sleep(0.1)  # the server is down, as is meant

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(SECONDS)


def documented_options() -> Sequence[str]:
    """The options of `docker run` in the guide that do not name this machine's ports and folders."""
    page = (ROOT / "docs" / "guides" / "install.md").read_text()
    (command,) = re.findall(r"^docker run (.*?) letterlock$", page, re.MULTILINE | re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    pairs = zip(words, [*words[1:], ""], strict=True)
    others = {at for at, (word, _) in enumerate(pairs) if word in ("-p", "-v", "--name", "--detach")}
    taken = others | {at + 1 for at in others if words[at] != "--detach"}
    return [word for at, word in enumerate(words) if at not in taken]


def check_image(image: Mapping[str, Any]) -> None:
    """The image keeps what the file says."""
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["letterlock"]
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert "/var/lib/letterlock" in config["Volumes"]
    assert image["Healthcheck"]["Test"][:3] == ["CMD", "letterlock", "queue"], "the health check was lost"
    print(f"built: {image['Size'] // 1_000_000} MB with its base")


def check_process(engine: Engine) -> None:
    """Process 1 is the server, may do nothing, and can write nowhere else."""
    status = engine.podman("exec", NAME, "cat", "/proc/1/status")
    assert re.search(r"^Name:\s+letterlock", status, re.MULTILINE), status
    assert re.search(r"^Uid:\s+10001\s+10001", status, re.MULTILINE), status
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE), status
    for place in ("/etc/x", "/usr/lib/letterlock/x", "/x"):
        assert "Read-only" in engine.podman("exec", NAME, "touch", place, check=False), place


def check_reload(engine: Engine, config: Path) -> None:
    """A new limit is offered after SIGHUP and after the command; a mistake changes nothing."""

    def offered() -> str:
        with smtplib.SMTP(ADDRESS, 2525, timeout=SECONDS) as client:
            client.ehlo()
            return client.esmtp_features["size"]

    config.write_text(CONFIGURATION.replace("10000000", "10000001"))
    engine.podman("kill", "--signal", "HUP", NAME)
    until("SIGHUP is obeyed", lambda: offered() == "10000001")
    config.write_text(CONFIGURATION.replace("10000000", '"many"'))
    refused = engine.podman("exec", NAME, "letterlock", "reload", check=False)
    assert "max_message_octets" in refused, refused
    assert offered() == "10000001"
    config.write_text(CONFIGURATION.replace("10000000", "10000002"))
    engine.podman("exec", NAME, "letterlock", "reload")
    until("the order is obeyed", lambda: offered() == "10000002")


def check_memory() -> None:
    """The control group has its limit, and how near the server came to it."""
    for limit in Path("/sys/fs/cgroup").glob("**/libpod-*/memory.limit_in_bytes"):  # version 1
        assert int(limit.read_text()) == MEMORY_MB << 20
        print(f"most memory: {int(limit.with_name('memory.max_usage_in_bytes').read_text()) >> 20} of {MEMORY_MB} MB")
        return
    for limit in Path("/sys/fs/cgroup").glob(
        "**/libpod-*/memory.max"
    ):  # version 2; its peak is newer than some kernels
        assert int(limit.read_text()) == MEMORY_MB << 20
        return
    raise AssertionError("the container has no limit of memory")


def check(engine: Engine, folder: Path) -> None:
    """Run the image, and let it relay."""
    config = folder / "etc" / "letterlock.toml"
    config.parent.mkdir()
    config.write_text(CONFIGURATION)
    receiver, sender = Receiver(), Sender()
    sink = Controller(receiver, hostname=RECEIVER, port=25, data_size_limit=2 * LARGE)
    sink.start()
    options = (*documented_options(), "--read-only-tmpfs=false", "--network", "host", "--detach", "--name", NAME)
    limits = ("--ulimit", f"nofile={DESCRIPTORS}:{DESCRIPTORS}")
    volumes = ("--volume", "letterlock:/var/lib/letterlock", "--volume", f"{config.parent}:/etc/letterlock:ro")
    processes = ("--ulimit", f"nproc={PROCESSES}:{PROCESSES}")

    print("podman run", shlex.join((*options, *limits)))
    engine.podman("run", *options, *limits, *processes, *volumes, "letterlock")
    until("it is healthy", engine.healthy)
    check_process(engine)
    sender.send(20)
    for _ in range(3):
        sender.send(1, LARGE)
    check_reload(engine, config)
    with sender.at_work():
        for order, status in (("stop", 0), ("kill", 137), ("stop", 0)):
            before = len(sender.accepted)
            until("more is accepted", partial(sender.has_sent, before + 50))
            engine.podman(order, NAME)
            until("it has ended", lambda: not engine.state()["Running"])
            found = engine.state()
            assert (found["ExitCode"], found["OOMKilled"]) == (status, False), found
            print(f"{order}: exit status {status}, {len(sender.accepted)} messages accepted so far", flush=True)
            engine.podman("start", NAME)
            until("it is healthy again", engine.healthy)
    until("all have arrived", lambda: set(sender.accepted) <= set(receiver.arrived))
    check_memory()
    changed = engine.podman("diff", NAME).split("\n")
    assert not [each for each in changed if each.startswith(("A ", "C /usr", "D "))], changed
    engine.podman("stop", NAME)
    assert engine.state()["ExitCode"] == 0
    sink.stop()
    twice = sum(receiver.arrived.values()) - len(receiver.arrived)
    print(f"{len(sender.accepted)} messages accepted, all arrived, {twice} of them twice (after the kill)")


def main() -> int:
    """Build and check in name spaces of their own; 0, or an exception."""
    for program in ("buildah", "podman", "runc", "debootstrap"):
        need_root(program)
    if "inside" not in sys.argv:
        make_base()
        spaces = ("unshare", "--mount", "--net", "--propagation", "private")
        with tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True) as made:  # a disk
            lock = str(ROOT / "requirements.lock")
            wheels = ("--require-hashes", "-r", lock, "-d", f"{made}/wheels")
            run(sys.executable, "-m", "pip", "download", "--quiet", *wheels)
            command = (*spaces, sys.executable, "-m", "tests.operations.container_check", "inside", made)
            return subprocess.run([find(command[0]), *command[1:]], check=False).returncode
    folder = Path(sys.argv[-1])
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "delete", "127.0.0.1/8", "dev", "lo")
    for address in (ADDRESS, RECEIVER):
        run("ip", "address", "add", f"{address}/128", "dev", "lo", "nodad")
    engine = Engine(folder)
    try:
        (base,) = set(re.findall(r"^FROM (\S+)", FILE.read_text(), re.MULTILINE))
        engine.import_base(base)
        check_image(engine.build(folder / "wheels"))
        check(engine, folder)
    except BaseException:
        print(engine.podman("logs", "--tail", "30", NAME, check=False))
        raise
    finally:
        engine.podman("rm", "--force", NAME, check=False)
        run("umount", f"{folder}/store/overlay", check=False)
    return 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
