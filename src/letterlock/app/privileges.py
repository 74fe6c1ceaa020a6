"""From root to the service user: a place for the queue, and no way back.

Whatever the service user can write, an attacker who has become that user can replace by a link at any moment. So root
changes nothing there: it walks to the queue directory one component at a time, by descriptors, through directories that
only root can write; it gives away the one directory that it has just made; and what it finds there already must belong
to the service user. Everything below is made later, by the service user.
"""

import logging
import os
import pwd
import stat
from collections import deque
from pathlib import Path

log = logging.getLogger("letterlock.app.server")
MAX_LINKS = 40  # as in Linux (path_resolution(7))
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NotPermitted(Exception):
    """The queue directory cannot be had safely. `str()` says why, with a hint."""


def take_directory(directory: Path, user: str | None) -> None:
    """Make the queue directory, readable for its owner only, and become `user` for good.

    As root without a user, and as anybody else, only the directory is made. Raises NotPermitted.
    """
    if os.geteuid() != 0 or user is None:
        _make(directory)
        if os.geteuid() == 0:
            log.warning("running as root: set `user` in the configuration to give it up after the sockets are bound")
        return
    entry = pwd.getpwnam(user)
    _make_for(entry, Path.cwd() / directory)
    try:
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        raise NotPermitted(f"cannot become user {user}: {error.strerror}") from None
    if not os.access(os.__file__, os.R_OK):
        library = Path(os.__file__).parent
        log.warning("user %s cannot read Python's library in %s: install it where that user can", user, library)
    _make(directory)
    _require_own(directory, user)


def make_for_user(directory: Path, user: str | None) -> None:
    """As root, make another directory for the service user, where no other user can have changed it; else do nothing.

    Raises NotPermitted.
    """
    if os.geteuid() == 0 and user is not None:
        _make_for(pwd.getpwnam(user), Path.cwd() / directory)


def make_directory(directory: Path, user: str | None) -> None:
    """Make the queue directory, readable for its owner only: as root for the service user. Raises NotPermitted."""
    make_for_user(directory, user)
    _make(directory)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        hint = "set [queue] directory to where this user may write"
        raise NotPermitted(f"queue directory {directory}: {error.strerror}\n  hint: {hint}") from None


def _make_for(entry: pwd.struct_passwd, directory: Path) -> None:
    """Make the directory as root, and give it to the user, if only root can write on the way to it.

    Where somebody else can, nothing is made: the user may do that. Raises NotPermitted.
    """
    at = os.open("/", _DIRECTORY)
    left, links, made = deque(directory.parts[1:]), 0, False
    try:
        while left:
            found = os.fstat(at)
            if found.st_uid != 0 or found.st_mode & _OTHERS_WRITE:
                return
            name = left.popleft()
            target = _link(name, at)
            if target is not None:
                links += 1
                at = _follow(target, at, links, left)
                continue
            made = _make_below(at, name, 0o755 if left else 0o700)
            at = _enter(name, at)
        if made:
            os.fchown(at, entry.pw_uid, entry.pw_gid)
    except OSError as error:
        raise NotPermitted(f"directory {directory}: {error.strerror}") from None
    finally:
        os.close(at)


def _link(name: str, at: int) -> str | None:
    """Where a symbolic link leads; None when there is none. Only root can have made it."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError:  # whatever else it is, it is no link
        return None


def _follow(target: str, at: int, links: int, left: deque[str]) -> int:
    """Go on where a link leads: the directory to go on from."""
    if links > MAX_LINKS:
        raise OSError(0, "too many symbolic links")
    parts = Path(target).parts
    absolute = parts[:1] == ("/",)
    left.extendleft(reversed(parts[1:] if absolute else parts))
    return _enter("/", at) if absolute else at


def _make_below(at: int, name: str, mode: int) -> bool:
    """Whether there was no such directory, and there is now."""
    try:
        os.mkdir(name, mode, dir_fd=at)
    except FileExistsError:  # whose it is, its opener checks
        return False
    return True


def _enter(name: str, at: int) -> int:
    below = os.open(name, _DIRECTORY, dir_fd=at)
    os.close(at)
    return below


def _require_own(directory: Path, user: str) -> None:
    """As the service user, check that the directory is ours. Raises NotPermitted."""
    try:
        found = [(directory, directory.stat()), *((each, each.lstat()) for each in directory.iterdir())]
    except OSError as error:
        hint = f"it must belong to {user}, who must be able to get there"
        raise NotPermitted(f"queue directory {directory}: {error.strerror}\n  hint: {hint}") from None
    for path, status in found:
        if status.st_uid != os.geteuid():
            hint = f"if this server's mail is there, give it to {user} (chown) while the server is stopped"
            raise NotPermitted(f"{path} belongs to user {_name(status.st_uid)}, not to {user}\n  hint: {hint}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
