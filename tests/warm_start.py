"""`letterlock` in a process of its own, without the half second of CPU that a new interpreter takes to import it.

A first process imports every verb once and then forks: each command runs in a fork of it, with the arguments,
environment, working directory and standard streams that its caller has, as `python -m letterlock`. It ends as any
interpreter does. How an interpreter starts is not shown this way: a few tests start one.

    async with asyncio.timeout(60):
        ended = await command("check", "a.test")

A request is one message on a Unix socket: JSON, with the three streams attached. The answer is its process id and,
when it has ended, its exit status, four bytes each. A signal's number, as one byte, is sent on to the command, and the
end of the connection kills it with all that it started.
"""

import array
import asyncio
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

STREAMS = 3  # standard input, output and error
MAX_REQUEST_OCTETS = 200_000  # below the kernel's default for one message, 212,992 (net.core.wmem_default)
PID_OCTETS = STATUS_OCTETS = 4
CLOSED = -1  # in place of a stream that the command shall not have


class Request(NamedTuple):
    """What to run. `streams`: three descriptors; CLOSED where the command has none."""

    arguments: list[str]
    environment: Mapping[str, str]
    directory: str
    streams: tuple[int, int, int]


# ---- the process that has imported everything


def serve(address: str) -> None:
    """Fork for each request until standard input ends. Returns in each fork, where the command is to be run."""
    _import_every_verb()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    gc.freeze()  # a fork shares these pages until somebody writes to them, as a collection would
    print("ready", flush=True)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(listener, select.POLLIN)
    running: dict[int, _Running] = {}
    while True:
        for ready, _ in poll.poll():
            if ready in running:
                _attend(ready, running, poll)
            elif ready == listener.fileno():
                connection, _ = listener.accept()
                request = _received(connection)
                if (pid := os.fork()) == 0:
                    _become(request)
                    return
                connection.send(pid.to_bytes(PID_OCTETS))
                _watch(_Running(connection, pid, os.pidfd_open(pid)), request, running, poll)
            else:  # standard input: the tests have ended
                for each in running.values():
                    os.killpg(each.pid, signal.SIGKILL)
                sys.exit(0)


class _Running(NamedTuple):
    connection: socket.socket
    pid: int
    pidfd: int


def _watch(started: _Running, request: Request, running: dict[int, _Running], poll: select.poll) -> None:
    for stream in request.streams:
        if stream != CLOSED:
            os.close(stream)
    for each in (started.connection.fileno(), started.pidfd):
        running[each] = started
        poll.register(each, select.POLLIN)


def _attend(ready: int, running: dict[int, _Running], poll: select.poll) -> None:
    """Pass a signal on, or the exit status back; a client that has gone needs its command no more."""
    connection, pid, pidfd = running[ready]
    if ready != pidfd:
        if wanted := connection.recv(1):
            os.kill(pid, wanted[0])
            return
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    for each in (connection.fileno(), pidfd):
        poll.unregister(each)
        del running[each]
    os.close(pidfd)
    with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have gone
        connection.send(os.waitstatus_to_exitcode(status).to_bytes(STATUS_OCTETS, signed=True))


def _import_every_verb() -> None:
    verbs = importlib.import_module("letterlock.cli.main").VERBS
    for module in (*(verb.module for verb in verbs.values()), "letterlock.app.server", "letterlock.app.supervisor"):
        importlib.import_module(module)


def _received(connection: socket.socket) -> Request:
    message, ancillary, _, _ = connection.recvmsg(MAX_REQUEST_OCTETS, socket.CMSG_SPACE(STREAMS * 4))
    passed = array.array("i")
    for level, kind, octets in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            passed.frombytes(octets[: len(octets) - len(octets) % passed.itemsize])
    wanted = json.loads(message)
    streams = [passed.pop(0) if is_open else CLOSED for is_open in wanted["open"]]
    return Request(
        wanted["arguments"], wanted["environment"], wanted["directory"], (streams[0], streams[1], streams[2])
    )


def _become(request: Request) -> None:
    """Make this fork look like a new interpreter that was started for `request`."""
    kept = [os.dup(each) if each != CLOSED else CLOSED for each in request.streams]
    while min([each for each in kept if each != CLOSED], default=STREAMS) < STREAMS:
        kept = [os.dup(each) if each != CLOSED else CLOSED for each in kept]  # out of the way of 0, 1 and 2
    for number, descriptor in enumerate(kept):
        if descriptor == CLOSED:
            os.close(number)
        else:
            os.dup2(descriptor, number)
    _forget_coverage()
    os.setsid()  # a group of its own, which is killed as one
    os.closerange(STREAMS, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.directory)
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = (  # type: ignore[misc]
        _stream(0, "rb", "strict"),
        _stream(1, "wb", "strict"),
        _stream(2, "wb", "backslashreplace"),
    )
    sys.argv = [sys.argv[0], *request.arguments]


def _forget_coverage() -> None:
    """Leave what was executed before the fork to the process that executed it: to save it again costs 0.1 s."""
    if (coverage := sys.modules.get("coverage")) and (measured := coverage.Coverage.current()):
        measured._collector._clear_data()


def _stream(number: int, mode: str, errors: str) -> io.TextIOWrapper | None:
    """A standard stream as the interpreter opens it (create_stdio in Python/pylifecycle.c)."""
    try:
        os.fstat(number)
    except OSError:
        return None
    raw = open(number, mode, buffering=-1, closefd=False)  # noqa: SIM115  # a descriptor, open for good
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    by_line = raw.isatty() or number == STREAMS - 1
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="\n", line_buffering=by_line)


def main() -> None:
    """Serve, and in a fork run the command; the interpreter then ends as it does after every program."""
    serve(sys.argv[1])
    runpy.run_module("letterlock", run_name="__main__", alter_sys=True)


# ---- its clients


class _Warm:
    """The process that has imported everything, for all tests of this process."""

    process: "subprocess.Popen[str] | None" = None
    directory: "tempfile.TemporaryDirectory[str] | None" = None

    def address(self) -> str:
        if self.process is None:
            self.directory = tempfile.TemporaryDirectory()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm_start", self._socket()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parent.parent,
            )
            assert self.process.stdout is not None
            assert self.process.stdout.readline() == "ready\n"
        return self._socket()

    def _socket(self) -> str:
        assert self.directory is not None
        return f"{self.directory.name}/socket"

    def stop(self) -> None:
        if self.process is not None:
            assert self.directory is not None
            self.process.communicate()
            self.directory.cleanup()
            self.process = None


_warm = _Warm()
stop = _warm.stop


class Started:
    """A command that runs, in a process group of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int.from_bytes(connection.recv(PID_OCTETS))
        self.status: int | None = None

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self._connection.send(bytes([number]))

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit status; negative if a signal ended it. To cancel this kills it."""
        if self.status is None:
            with self._connection:
                self._connection.setblocking(False)
                status = await asyncio.get_running_loop().sock_recv(self._connection, STATUS_OCTETS)
            self.status = int.from_bytes(status, signed=True)
        return self.status

    def wait_for(self, seconds: float) -> int:
        """The same for tests without an event loop. Raises TimeoutError, and kills it."""
        with self._connection:
            self._connection.settimeout(seconds)
            self.status = int.from_bytes(self._connection.recv(STATUS_OCTETS), signed=True)
        return self.status


def start(
    arguments: Sequence[str], streams: tuple[int, int, int], environment: Mapping[str, str] | None = None
) -> Started:
    """Start a command with these descriptors as its streams; the caller's own copies stay open."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(_warm.address())
    request = {
        "arguments": [*arguments],
        "environment": dict(os.environ if environment is None else environment),
        "directory": str(Path.cwd()),
        "open": [each != CLOSED for each in streams],
    }
    socket.send_fds(connection, [json.dumps(request).encode()], [each for each in streams if each != CLOSED])
    return Started(connection)


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    status: int
    out: bytes
    err: bytes


async def command(
    *arguments: str, given: bytes | None = None, out: int | None = None, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run `letterlock` to its end.

    `given`: its standard input, else it has ours. `out`: its standard output, which is not read then.
    """
    its_input, input_end = os.pipe() if given is not None else (os.dup(0), CLOSED)
    output_end, its_output = os.pipe()
    errors_end, its_errors = os.pipe()
    try:
        started = start(arguments, (its_input, its_output if out is None else out, its_errors), environment)
    finally:
        for each in (its_input, its_output, its_errors):
            os.close(each)
    if given is not None:
        await asyncio.to_thread(_write_all, input_end, given)
    written, errors, status = await asyncio.gather(_read_all(output_end), _read_all(errors_end), started.wait())
    return Ended(status, written, errors)


def run(*arguments: str, seconds: float, environment: Mapping[str, str] | None = None) -> Ended:
    """The same for tests without an event loop: run `letterlock` to its end, with empty standard input."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
        started = start(arguments, (nothing.fileno(), out.fileno(), err.fileno()), environment)
        status = started.wait_for(seconds)
        out.seek(0)
        err.seek(0)
        return Ended(status, out.read(), err.read())


def _write_all(descriptor: int, octets: bytes) -> None:
    with open(descriptor, "wb") as pipe:  # a descriptor
        try:
            pipe.write(octets)
            pipe.flush()
        except BrokenPipeError:
            return  # it ended without reading


async def _read_all(descriptor: int) -> bytes:
    reader, transport = await reading(descriptor)
    try:
        return await reader.read()
    finally:
        transport.close()


async def reading(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    """A reader of a pipe's end; the transport closes it."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader, transport


if __name__ == "__main__":
    main()
