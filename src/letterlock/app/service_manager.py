"""Notifications that the service manager asks for: sd_notify(3), and the watchdog of sd_watchdog_enabled(3)."""

import contextlib
import logging
import os
import socket
import time

log = logging.getLogger("letterlock.workers")


def notify(state: str) -> None:
    """Notify systemd (Type=notify) if it asked for it."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as service_manager:
        service_manager.setblocking(False)
        try:
            service_manager.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
        except OSError as error:
            log.warning("cannot notify the service manager: %s", error.strerror)


def notify_ready(status: str) -> None:
    """Notify that the start, or a reload, is over; `systemctl status` shows the words."""
    notify(f"READY=1\nSTATUS={status}")


def notify_reloading() -> None:
    """Notify that a reload begins (Type=notify-reload wants the time, too; systemd.service(5))."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify(f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading the configuration again")


def notify_stopping() -> None:
    """Notify that the end has begun."""
    notify("STOPPING=1\nSTATUS=finishing what is in hand")


def watched() -> bool:
    """Whether the service manager restarts a process that is silent for too long (WatchdogSec=), this one included."""
    microseconds, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    return microseconds.isdigit() and int(microseconds) > 0 and process in (None, str(os.getpid()))
