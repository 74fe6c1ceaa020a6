"""Who gave an order over the control socket, and the line of the log about it."""

import logging
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from letterlock.events import LogEvent
from letterlock.mail.printable import printable

log = logging.getLogger("letterlock.admin")
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group
MAX_NAMED = 20  # domains in one line: at the longest names, below the 8 KiB that syslog servers take
_NO_LOGIN = 2**32 - 1  # audit's "not set": a process that no login began, such as a service


@dataclass(frozen=True, slots=True)
class Asker:
    """The user of the process that asks, and the user who logged in when it is another one (sudo, su).

    The kernel knows both; the peer cannot choose them.
    """

    uid: int
    login_uid: int | None = None

    @property
    def name(self) -> str:
        """For the log."""
        return f"uid={self.uid}" if self.login_uid is None else f"uid={self.uid} login={self.login_uid}"


def asker_at(peer: socket.socket, processes: Path = Path("/proc")) -> Asker:
    """Who is at the other end of a UNIX socket (SO_PEERCRED, unix(7); /proc/PID/loginuid, proc(5))."""
    octets = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, uid, _ = _CREDENTIALS.unpack(octets)
    try:
        login = int((processes / str(process) / "loginuid").read_text())
    except (OSError, ValueError):  # it has ended, or the kernel keeps no audit
        login = _NO_LOGIN
    return Asker(int(uid), None if login in (_NO_LOGIN, uid) else login)


def log_order(request: object, answered: Mapping[str, object], asker: Asker) -> None:
    """One line per message that an order changed or showed, with who gave it and why."""
    match request, answered:
        case {"verb": "queue.order", "order": str(order), **given}, {"ids": list(ids)}:
            for message_id in ids:
                _log_one(message_id, order, asker, given.get("reason"))
        case {"verb": "queue.restore", "archive": archive}, {"restored": True, "id": str(message_id)}:
            _log_one(message_id, "import", asker, f"from archive {archive}")
        case {"verb": "queue.content", "id": str(message_id), "whole": whole}, {"found": True}:
            _log_one(message_id, "show", asker, "whole message" if whole else "header")
        case {"verb": "queue.export", "archive": archive, **given}, _:
            contents = "contents in clear" if given.get("in_clear") else "contents as they are stored"
            _log_all("export", asker, f"archive {archive}, {contents}")
        case {"verb": "reload", **given}, {"mistakes": mistakes}:
            _log_all("reload", asker, _together("refused" if mistakes else None, given.get("reason")))
        case {"verb": "memory.forget", **given}, {"forgotten": int(count)} if count:
            _log_all("forget", asker, _together(_named(given.get("domains")), given.get("reason")))
        case {"verb": "policy.purge", **given}, {"purged": int(count)} if count:
            _log_all("purge", asker, _together(f"{count} answers of the policy door", given.get("reason")))


def _together(what: str | None, why: object) -> str | None:
    return ": ".join(str(each) for each in (what, why) if each) or None


def _named(domains: object) -> str:
    """The domains of an order about what is remembered of them; None: of all."""
    if not isinstance(domains, list):
        return "all domains"
    more = len(domains) - MAX_NAMED
    return printable(", ".join(map(str, domains[:MAX_NAMED]))) + (f" and {more} more" if more > 0 else "")


def _log_one(message_id: str, order: str, asker: Asker, reason: object) -> None:
    form = "%(id)s: %(order)s by %(by)s" + (": %(reason)s" if reason else "")
    log.info(LogEvent("order", form, id=message_id, order=order, **_fields(asker), reason=reason))


def _log_all(order: str, asker: Asker, reason: str | None) -> None:
    form = "%(order)s by %(by)s" + (": %(reason)s" if reason else "")
    log.info(LogEvent("order", form, id=None, order=order, **_fields(asker), reason=reason))


def _fields(asker: Asker) -> dict[str, object]:
    return {"by": asker.name, "uid": asker.uid, "login_uid": asker.login_uid}
