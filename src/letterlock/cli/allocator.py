"""Have the C library keep the memory that the next message needs, and give back what large ones took (mallopt(3))."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGE_OCTETS = 1 << 20  # what is larger has pages of its own; a page fault for each costs less than copying it
KEPT_OCTETS = 1 << 22  # the pieces and copies of a few messages at a time; more goes back to the system at once


def give_back_large_blocks() -> None:
    """Fix the size from which blocks have pages of their own, and how much free memory the heap keeps at its end.

    Unless the former is fixed, glibc raises it to the largest block that was freed, up to 32 MiB, and keeps such blocks
    in its heap, where what lies between them keeps them from being given back. The latter is 128 KiB as soon as either
    is fixed: each piece of a large message would get new pages, and those cost more than all copies of it. Other C
    libraries have no such thing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_OCTETS)
        mallopt(M_TRIM_THRESHOLD, KEPT_OCTETS)
