"""Have the C library give the memory of large messages back to the system as soon as they are gone (mallopt(3))."""

import ctypes

M_MMAP_THRESHOLD = -3  # malloc.h of glibc
LARGE_OCTETS = 1 << 20  # what is larger has pages of its own; a page fault for each costs less than copying it


def give_back_large_blocks() -> None:
    """Fix the size from which blocks have pages of their own.

    Unless it is fixed, glibc raises it to the largest block that was freed, up to 32 MiB, and keeps such blocks in its
    heap, where what lies between them keeps them from being given back. Other C libraries have no such thing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_OCTETS)
