"""libunbound by ctypes: what the resolver is measured against (Debian's libunbound8)."""

import ctypes
import ctypes.util
from collections.abc import Iterable

OPTIONS = {
    "do-not-query-localhost:": "no",
    "do-ip6:": "no",
    "edns-buffer-size:": "1232",
    "module-config:": "validator iterator",
    "num-queries-per-thread:": "4096",
    "outgoing-range:": "8192",
    "use-syslog:": "no",
    "logfile:": "/dev/null",
}


class _Result(ctypes.Structure):
    _fields_ = (
        ("qname", ctypes.c_char_p),
        ("qtype", ctypes.c_int),
        ("qclass", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("len", ctypes.c_void_p),
        ("canonname", ctypes.c_char_p),
        ("rcode", ctypes.c_int),
        ("answer_packet", ctypes.c_void_p),
        ("answer_len", ctypes.c_int),
        ("havedata", ctypes.c_int),
        ("nxdomain", ctypes.c_int),
        ("secure", ctypes.c_int),
        ("bogus", ctypes.c_int),
        ("why_bogus", ctypes.c_char_p),
    )


_RESULT = ctypes.POINTER(_Result)
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, _RESULT)


class LibUnbound:
    """One context, with a cold cache when it is made."""

    def __init__(self, port: int, anchor: str) -> None:
        self._lib = ctypes.CDLL(ctypes.util.find_library("unbound") or "libunbound.so.8")
        self._lib.ub_ctx_create.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._lib.ub_ctx_create())
        for option, value in OPTIONS.items():
            self._check(self._lib.ub_ctx_set_option(self._context, option.encode(), value.encode()), option)
        self._check(self._lib.ub_ctx_set_fwd(self._context, f"127.0.0.1@{port}".encode()), "forward")
        self._check(self._lib.ub_ctx_add_ta(self._context, anchor.encode()), "anchor")

    def _check(self, status: int, what: str) -> None:
        if status:
            raise RuntimeError(f"libunbound refuses {what}: {status}")

    def in_thread(self) -> None:
        """Have the worker of `all_secure` as a thread, whose CPU time counts for this process."""
        self._check(self._lib.ub_ctx_async(self._context, 1), "a thread")

    def secure(self, name: str, rdtype: int) -> bool:
        """Look up and validate; blocks."""
        found = _RESULT()
        status = self._lib.ub_resolve(self._context, name.encode(), rdtype, 1, ctypes.byref(found))
        self._check(status, name)
        secure = bool(found.contents.secure and found.contents.havedata)
        self._lib.ub_resolve_free(found)
        return secure

    def all_secure(self, names: Iterable[str], rdtype: int) -> int:
        """Look up many at once; how many were secure."""
        count = 0

        def done(_: object, status: int, found: "ctypes._Pointer[_Result]") -> None:
            nonlocal count
            if status == 0:
                count += bool(found.contents.secure and found.contents.havedata)
                self._lib.ub_resolve_free(found)

        callback = _CALLBACK(done)
        for name in names:
            self._check(self._lib.ub_resolve_async(self._context, name.encode(), rdtype, 1, None, callback, None), name)
        self._check(self._lib.ub_wait(self._context), "waiting")
        return count

    def close(self) -> None:
        """Give everything back."""
        self._lib.ub_ctx_delete(self._context)
