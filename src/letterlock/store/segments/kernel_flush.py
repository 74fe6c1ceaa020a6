"""Flushes that the kernel's own threads wait for (Linux AIO, `IOCB_CMD_FDSYNC`, since 4.18); an eventfd says when.

A thread of ours that waits in fdatasync(2) takes the interpreter from the event loop before it and after it. With what
it does around that, this costs a sixth of the CPU time of a message that comes and goes in cleartext. io_submit(2),
which libc has no function for, only queues the flush for a worker of the kernel.
"""

import asyncio
import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable
from typing import Self

Flushed = Callable[[OSError | None], None]
"""Is called in the event loop: what was written before the flush is on disk, or why that is not known."""

_NUMBERS = {  # io_setup, io_destroy, io_getevents, io_submit
    "x86_64": (206, 207, 208, 209),
    "aarch64": (0, 1, 4, 2),
    "riscv64": (0, 1, 4, 2),
}
_FDSYNC = 3  # IOCB_CMD_FDSYNC
_NOTIFY = 1  # IOCB_FLAG_RESFD: an eventfd is notified
_REQUEST = struct.Struct("=QIIHhIQQqQII")  # struct iocb: 64 octets
_EVENT = struct.Struct("=QQqq")  # struct io_event: whose it is, the request, the result, a second one
AT_ONCE = 1  # a writer has one flush under way at a time


class KernelFlush:
    """One flush at a time, of any descriptor. All of it is called in the event loop."""

    def __init__(self) -> None:
        """Raises OSError where the kernel, a container's filter or the processor's kind does not allow it."""
        numbers = _NUMBERS.get(platform.machine()) if sys.maxsize > 2**32 else None
        if numbers is None or not hasattr(os, "eventfd"):
            raise OSError(f"system calls of {platform.machine()} are not known")
        self._setup, self._destroy, self._getevents, self._submit = map(ctypes.c_long, numbers)
        self._system_call = ctypes.CDLL(None, use_errno=True).syscall
        self._context = ctypes.c_ulong(0)
        self._request = ctypes.create_string_buffer(_REQUEST.size)
        self._requests = (ctypes.c_void_p * AT_ONCE)(ctypes.addressof(self._request))
        self._results = ctypes.create_string_buffer(_EVENT.size * AT_ONCE)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._flushed: Flushed | None = None
        try:
            self._call(self._setup, AT_ONCE, ctypes.byref(self._context))
        except OSError:
            os.close(self._event)
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._event, self._ended)

    @classmethod
    def if_allowed(cls) -> Self | None:
        """None where the constructor raises OSError: flushes are a thread's task there."""
        try:
            return cls()
        except OSError:  # nothing is lost by it but time
            return None

    def start(self, descriptor: int, flushed: Flushed) -> None:
        """Flush a file as fdatasync(2) does, and call `flushed` when that has ended.

        Raises OSError when nothing was begun: the file system has no such flush (EINVAL), or the system has too many
        requests (EAGAIN). `flushed` is not called then.
        """
        if self._flushed is not None:
            raise OSError("a flush is under way")
        values = (0, 0, 0, _FDSYNC, 0, descriptor, 0, 0, 0, 0, _NOTIFY, self._event)
        _REQUEST.pack_into(self._request, 0, *values)
        self._call(self._submit, self._context, AT_ONCE, self._requests)
        self._flushed = flushed

    def close(self) -> None:
        """Free what it took; no flush may be under way."""
        self._loop.remove_reader(self._event)
        os.close(self._event)
        self._call(self._destroy, self._context)

    def _ended(self) -> None:
        os.eventfd_read(self._event)
        error: OSError | None = None
        try:
            self._call(self._getevents, self._context, AT_ONCE, AT_ONCE, self._results, None)  # it is there
            if (result := _EVENT.unpack_from(self._results)[2]) < 0:
                error = OSError(-result, os.strerror(-result))
        except OSError as unknown:
            error = unknown
        flushed, self._flushed = self._flushed, None
        if flushed is not None:
            flushed(error)

    def _call(self, number: ctypes.c_long, *arguments: object) -> int:
        result: int = self._system_call(number, *arguments)
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result
