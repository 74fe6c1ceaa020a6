"""A network of its own for each worker of pytest-xdist, so that tests that run side by side never meet on a port.

A worker leaves the network of the machine at its start, before it has imported a test: every server and program that
its tests start inherits the new network, which has nothing but a loopback interface. Nothing leaves it either: a test
that needs the internet fails here, on purpose.
"""

import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWNET = 0x4000_0000  # <linux/sched.h>
SIOCSIFFLAGS = 0x8914  # <linux/sockios.h>
IFF_UP = 0x1  # <linux/if.h>
IFREQ = struct.Struct("16sH14x")  # struct ifreq: the name, the flags, the rest of its 32 bytes


class NotPermitted(Exception):
    """The kernel grants no network namespace (CAP_SYS_ADMIN is missing); `str()` is its reason."""


def enter_own_network() -> None:
    """Move this thread, and all that it starts from now on, into a new network with loopback up. Raises NotPermitted.

    `os.unshare` comes with Python 3.12.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise NotPermitted(os.strerror(ctypes.get_errno()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, IFREQ.pack(b"lo", IFF_UP))


def why_not() -> str:
    """Why a process started here could not have a network of its own; empty if it can. Leaves this process alone."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        reason = b""
        try:
            enter_own_network()
        except (NotPermitted, OSError) as error:
            reason = str(error).encode()
        os.write(writer, reason)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        reason = answer.read()
    os.waitpid(child, 0)
    return reason.decode()
