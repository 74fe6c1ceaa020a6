"""Unbound's validator, by its library (libunbound, through ctypes)."""

import ctypes
import ctypes.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# What makes it a pure validating stub: no local answers, nothing made up from cached denials, no second guess.
OPTIONS = {
    "do-not-query-localhost:": "no",
    "do-ip6:": "no",
    "aggressive-nsec:": "no",
    "harden-below-nxdomain:": "no",
    "edns-buffer-size:": "1232",
    "module-config:": "validator iterator",
    "unblock-lan-zones:": "yes",
    "insecure-lan-zones:": "no",
    "prefetch:": "no",
    "minimal-responses:": "no",
    "qname-minimisation:": "no",
    "val-clean-additional:": "yes",
    "infra-keep-probing:": "yes",
    "use-syslog:": "no",
    "logfile:": "/dev/null",
}


class _Result(ctypes.Structure):
    _fields_ = (
        ("qname", ctypes.c_char_p),
        ("qtype", ctypes.c_int),
        ("qclass", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("len", ctypes.POINTER(ctypes.c_int)),
        ("canonname", ctypes.c_char_p),
        ("rcode", ctypes.c_int),
        ("answer_packet", ctypes.c_void_p),
        ("answer_len", ctypes.c_int),
        ("havedata", ctypes.c_int),
        ("nxdomain", ctypes.c_int),
        ("secure", ctypes.c_int),
        ("bogus", ctypes.c_int),
        ("why_bogus", ctypes.c_char_p),
        ("was_ratelimited", ctypes.c_int),
        ("ttl", ctypes.c_int),
    )


@dataclass(frozen=True, slots=True)
class Result:
    """What libunbound found."""

    rcode: int
    have_data: bool
    nxdomain: bool
    secure: bool
    bogus: bool
    why: str


class UnboundFailed(Exception):
    """The library refused; `str()` is its own word for it."""


def library() -> ctypes.CDLL:
    """The library. Raises OSError."""
    found = ctypes.CDLL(ctypes.util.find_library("unbound") or "libunbound.so.8")
    found.ub_ctx_create.restype = ctypes.c_void_p
    found.ub_strerror.restype = ctypes.c_char_p
    for name in (
        "ub_ctx_set_option",
        "ub_ctx_set_fwd",
        "ub_ctx_add_ta_file",
        "ub_ctx_delete",
        "ub_resolve",
        "ub_ctx_async",
    ):
        getattr(found, name).argtypes = None
    return found


class Unbound:
    """One context: a validator with its cache."""

    def __init__(self, port: int, anchor: Path, options: Mapping[str, str]) -> None:
        self.lib = library()
        self.context = ctypes.c_void_p(self.lib.ub_ctx_create())
        for option, value in {**OPTIONS, **options}.items():
            self.check(self.lib.ub_ctx_set_option(self.context, option.encode(), value.encode()), option)
        self.check(self.lib.ub_ctx_set_fwd(self.context, f"127.0.0.1@{port}".encode()), "forward")
        self.check(self.lib.ub_ctx_add_ta_file(self.context, str(anchor).encode()), "anchor")

    def check(self, status: int, what: str) -> None:
        """Raises UnboundFailed unless the status is 0."""
        if status:
            raise UnboundFailed(f"{what} {self.lib.ub_strerror(status).decode()}")

    def resolve(self, name: str, rdtype: int) -> Result:
        """Look up, class IN; blocks, without holding the interpreter."""
        found = ctypes.POINTER(_Result)()
        self.check(self.lib.ub_resolve(self.context, name.encode(), int(rdtype), 1, ctypes.byref(found)), name)
        result = found.contents
        try:
            return Result(
                rcode=result.rcode,
                have_data=bool(result.havedata),
                nxdomain=bool(result.nxdomain),
                secure=bool(result.secure),
                bogus=bool(result.bogus),
                why=(result.why_bogus or b"").decode(errors="replace"),
            )
        finally:
            self.lib.ub_resolve_free(found)

    def close(self) -> None:
        """Give everything back."""
        self.lib.ub_ctx_delete(self.context)


@contextmanager
def unbound(port: int, anchor: Path, **options: str) -> Iterator[Unbound]:
    """A fresh context that forwards to a port of 127.0.0.1."""
    made = Unbound(port, anchor, {f"{name.replace('_', '-')}:": value for name, value in options.items()})
    try:
        yield made
    finally:
        made.close()
