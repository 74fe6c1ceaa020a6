"""Describes errors of the operating system in words for people."""

import os


def os_error_words(error: OSError) -> str:
    """In the system's words, such as `Connection refused`; asyncio writes the address and more into `strerror`."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
