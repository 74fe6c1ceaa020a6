"""The system's crypt(3): the library that /etc/shadow and Dovecot rely on (libxcrypt on Linux).

Python's own module `crypt` was removed in 3.13. The call releases the interpreter's lock.
"""

import ctypes
from functools import cache

LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")  # Debian and most others; Fedora
DATA_OCTETS = 1 << 18  # of struct crypt_data: 32 KiB in libxcrypt, 128 KiB in old glibc


@cache
def _crypt_r() -> "ctypes._NamedFuncPointer | None":
    for name in LIBRARIES:
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):  # not this library: the next one may be there
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
        return function
    return None


def crypted(password: str, setting: str) -> str | None:
    """The hash of a password in the manner of another hash; None where the system cannot make it."""
    function = _crypt_r()
    if function is None or "\0" in password:
        return None
    data = ctypes.create_string_buffer(DATA_OCTETS)
    found: bytes | None = function(password.encode(), setting.encode(), data)
    return None if found is None or found.startswith(b"*") else found.decode("ascii")
