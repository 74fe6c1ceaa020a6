"""Runs one command for the server, bounded and apart: a program of its own, started by deliver/local/command_run.py.

It imports nothing of Letterlock. It limits itself first, starts the command, and stays beside it as the parent of all
that the command starts, processes that try to get away included (PR_SET_CHILD_SUBREAPER). They are all killed when the
command ends, when its time is over, or when the server lets go of the control socket, as it does when it dies. What
became of the command is written to that socket: `exit 75`, `signal 9`, `time`, or `failed` with the reason.
"""

import ctypes
import json
import os
import resource
import select
import signal
import stat
import sys
import time
from typing import Any

PR_SET_NO_NEW_PRIVS = 38  # prctl(2)
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
PR_CAP_AMBIENT = 47  # prctl(2)
PR_CAP_AMBIENT_CLEAR_ALL = 4  # prctl(2)
MAX_DESCRIPTORS = 256  # of each process: what scripts need, many times over
KILL_ROUNDS = 1000  # a group that starts processes faster than it is killed has ended by then, or the server says so
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446  # the same number everywhere
LANDLOCK_VERSION_FLAG = 1  # landlock_create_ruleset(2): ask for the version
LANDLOCK_RULE_PATH_BENEATH = 1  # landlock_add_rule(2)
SCOPES_SINCE = 6  # the version from which on signals to others can be forbidden
SCOPE_SIGNALS = 1 << 1  # landlock_create_ruleset(2)
FILE_RIGHTS = 0b111 | 1 << 14  # of a file: execute, write and read it; and truncate it, in version 3
ALL_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}  # that each version can restrict


def main() -> None:
    """Run what the only argument describes, and say what became of it."""
    settings = json.loads(sys.argv[1])
    control = settings["control"]
    os.set_inheritable(control, False)
    try:
        outcome = _run(settings, control)
    except OSError as error:
        outcome = f"failed {error.strerror}: {error.filename or settings['argv'][0]}"
    except Exception as error:  # noqa: BLE001  # what nobody foresaw makes mail wait, too
        outcome = f"failed internal error: {type(error).__name__}"
    os.write(control, outcome.encode("utf-8", "replace"))


def _run(settings: dict[str, Any], control: int) -> str:
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    if settings["user"] is not None:
        _become(*settings["user"])
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _hide(settings["private"])
    reading, writing = os.pipe()  # closed by a command that was started
    child = os.fork()
    if child == 0:
        _execute(settings, writing)
    os.close(writing)
    for stream in (0, 1, 2):
        os.close(stream)  # the command's: its end is to be seen on the other side
    try:
        why = os.read(reading, 4096).decode()
        return f"failed {why}" if why else _wait(child, control, settings["seconds"])
    finally:
        _kill_all()


def _execute(settings: dict[str, Any], failure: int) -> None:
    """Become the command; never returns."""
    try:
        os.setpgid(0, 0)
        os.chdir("/")
        os.umask(0o077)
        for kind, amount in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
            (resource.RLIMIT_AS, settings["memory"]),
            (resource.RLIMIT_CPU, settings["cpu"]),
        ):
            resource.setrlimit(kind, (amount, amount))
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv(settings["argv"][0], settings["argv"])  # noqa: S606  # no shell is the point
    except (OSError, ValueError) as error:
        os.write(failure, f"{getattr(error, 'strerror', None) or error}: {settings['argv'][0]}".encode())
    finally:
        os._exit(127)


def _wait(child: int, control: int, seconds: float) -> str:
    """Until the command ends, its time is over, or the server is gone."""
    until = time.monotonic() + seconds
    waiting = select.poll()
    ended = os.pidfd_open(child)
    waiting.register(ended, select.POLLIN)
    waiting.register(control, select.POLLIN)
    while (left := until - time.monotonic()) > 0:
        if any(descriptor == control for descriptor, _ in waiting.poll(left * 1000)):
            return "stopped"
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return f"exit {code}" if code >= 0 else f"signal {-code}"
    return "time"


def _kill_all() -> None:
    """Kill every process that the command has started, and those that these start meanwhile."""
    for _ in range(KILL_ROUNDS):
        children = _children()
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it has just ended
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:  # no child is left
            return


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123  # as above
        return [int(word) for word in file.read().split()]


def _become(uid: int, gid: int) -> None:
    """Another user for good: needs the capabilities, and leaves none."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl {option}")


# --- what the command must not see -----------------------------------------------------------------------------------


class _Ruleset(ctypes.Structure):
    _fields_ = [  # ctypes wants a list
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]  # ctypes wants a list


def _hide(private: list[str]) -> None:
    """Have Landlock keep directories from the command, and the server from its signals, where the kernel can.

    Landlock only knows how to allow: that is all but these directories and those that they are in. Raises OSError where
    the kernel has it and it fails: then the command is not run.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION_FLAG)
    if not private or version < 1:  # the guide says what that means
        return
    rights = ALL_RIGHTS[min(version, max(ALL_RIGHTS))]
    wanted = _Ruleset(rights, 0, SCOPE_SIGNALS if version >= SCOPES_SINCE else 0)
    octets = ctypes.sizeof(wanted) if version >= SCOPES_SINCE else ctypes.sizeof(ctypes.c_uint64)
    ruleset = _landlock(libc.syscall(LANDLOCK_CREATE_RULESET, ctypes.byref(wanted), octets, 0))
    hidden = {os.path.realpath(path) for path in private}  # noqa: PTH  # pathlib alone takes as long as all else
    for path in _allowed("/", hidden):
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # not there, or closed to us: then the command cannot use it either
            continue
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        rule = _PathBeneath(rights if is_directory else rights & FILE_RIGHTS, descriptor)
        # If this fails, the path stays forbidden.
        libc.syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, ctypes.byref(rule), 0)
        os.close(descriptor)
    _landlock(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _landlock(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "landlock")
    return result


def _allowed(directory: str, hidden: set[str]) -> list[str]:
    """The paths that together have all but what is hidden."""
    found: list[str] = []
    try:
        with os.scandir(directory) as entries:
            paths = [entry.path for entry in entries if not entry.is_symlink()]  # where a link leads counts by itself
    except OSError:
        return found
    for path in paths:
        if path in hidden:
            continue
        if any(each.startswith(f"{path}/") for each in hidden):
            found += _allowed(path, hidden)
        else:
            found.append(path)
    return found


if __name__ == "__main__":
    main()
