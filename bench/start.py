"""How long `letterlock-sendmail` and `letterlock-mailq` take, from exec to exit: `python -m bench.start`.

Median and best of 20 runs each, in turn, beside the bare interpreter. The servers answer at once and keep nothing, so
that what is measured is the command. Each is started as three kinds of installation start it: by the script that uv
writes, by the one that pip writes (which loads `re`), and by hand without `site` (`-I -S`: no .pth files).
"""

import contextlib
import io
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROUNDS = 20
GOAL_MS = 20.0
SOURCE = Path(__file__).parents[1] / "src"
MESSAGE = b"Subject: nightly job\n\nall is well\n" + b"x" * 72 + b"\n"
REPLIES = {
    b"EHLO": b"250-s.example\r\n250-SIZE 26214400\r\n250 8BITMIME\r\n",
    b"DATA": b"354 go\r\n",
    b"QUIT": b"221 bye\r\n",
}
SCRIPTS = {
    "uv": "import sys\nfrom {module} import main\nsys.exit(main())\n",
    "pip": "import re\nimport sys\nfrom {module} import main\nsys.exit(main())\n",
    "-I -S": f"import sys\nsys.path.insert(0, {str(SOURCE)!r})\nfrom {{module}} import main\nsys.exit(main())\n",
}
COMMANDS = {"sendmail": "letterlock.sendmail.command", "mailq": "letterlock.sendmail.mailq"}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, _servers(Path(name)) as config:
        runs = {"python -c pass": ([sys.executable, "-c", "pass"], "")} | _runs(Path(name), str(config))
        found: dict[str, list[float]] = {label: [] for label in runs}
        for _ in range(ROUNDS):
            for label, (command, expected) in runs.items():
                found[label].append(_run(command, expected))
    print(f"{'':<28} {'median':>8} {'best':>8}   of {ROUNDS} runs, ms; goal {GOAL_MS:.0f}")
    for label, times in found.items():
        print(f"{label:<28} {statistics.median(times):>8.1f} {min(times):>8.1f}")


def _runs(directory: Path, config: str) -> dict[str, tuple[list[str], str]]:
    """What to run, and what it must print."""
    found = {}
    for command, module in COMMANDS.items():
        for kind, text in SCRIPTS.items():
            script = directory / f"{command} {kind}.py"
            script.write_text(text.format(module=module))
            interpreter = [sys.executable, *(kind.split() if kind.startswith("-") else [])]
            arguments = ["-f", "ann@example.org", "bob@example.net"] if command == "sendmail" else []
            expected = "" if command == "sendmail" else "Requests."
            found[f"{command}, {kind}"] = ([*interpreter, str(script), "-C", config, *arguments], expected)
    return found


def _run(command: list[str], expected: str) -> float:
    """Milliseconds that a command took."""
    start = time.perf_counter()
    ran = subprocess.run(command, input=MESSAGE, capture_output=True, check=False)
    took = 1000 * (time.perf_counter() - start)
    assert expected in ran.stdout.decode(), ran
    assert ran.returncode == 0, ran
    return took


@contextlib.contextmanager
def _servers(directory: Path) -> Iterator[Path]:
    """A mail server and a control socket that answer at once; the configuration that leads to them."""
    with (
        socket.create_server(("127.0.0.1", 0)) as mail,
        contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as control,
    ):
        control.bind(str(directory / "control.sock"))
        control.listen()
        for listener, talk in ((mail, _talk_mail), (control, _talk_control)):
            threading.Thread(target=_serve, args=(listener, talk), daemon=True).start()
        config = directory / "letterlock.toml"
        listen = f"127.0.0.1:{mail.getsockname()[1]}"
        config.write_text(f'[smtp]\nlisten = ["{listen}"]\n\n[queue]\ndirectory = "{directory}"\n')
        yield config


def _serve(listener: socket.socket, talk: Callable[[io.BufferedRWPair], None]) -> None:
    with contextlib.suppress(OSError):  # closed at the end
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as file:
                talk(file)


def _talk_mail(file: io.BufferedRWPair) -> None:
    _say(file, b"220 s.example\r\n")
    in_content = False
    while line := file.readline():
        if in_content and line != b".\r\n":
            continue
        in_content = line == b"DATA\r\n"
        _say(file, REPLIES.get(line[:4], b"250 ok\r\n"))
        if line == b"QUIT\r\n":
            return


def _talk_control(file: io.BufferedRWPair) -> None:
    if b"queue.problems" in file.readline():
        _say(file, b'{"problems": {}}\n')
        return
    recipient = {"recipient": "bob@example.net", "state": "queued", "held_because": None, "reason": "refused"}
    message = {"id": "M1", "sender": "ann@example.org", "size": 4096, "accepted_at": 0, "recipients": [recipient]}
    _say(file, json.dumps({"messages": [message] * 20, "more": False}).encode() + b"\n")


def _say(file: io.BufferedRWPair, octets: bytes) -> None:
    file.write(octets)
    file.flush()


if __name__ == "__main__":
    main()
