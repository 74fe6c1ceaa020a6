"""The numbers of all workers, in memory that they share: what a worker has counted outlives it.

Each worker counts in a list of its own, which costs a few tens of nanoseconds, and copies it into its row once a
second. The worker that answers reads all rows. A worker that is started again goes on with the counters of its row, so
that sums never fall: Prometheus would take a fall for a restart of everything, and count all of it again. A float holds
whole numbers up to 2**53.
"""

import mmap
import struct
from collections.abc import Sequence

from letterlock.metrics.family import Layout


class Board:
    """One row of numbers for each worker. Made before the workers are forked, it is the same memory to all of them.

    `size` is how many numbers a row has.
    """

    def __init__(self, size: int, rows: int = 1) -> None:
        self.rows = rows
        self._form = struct.Struct(f"={size}d")
        self._memory = mmap.mmap(-1, self._form.size * rows + 1)

    @property
    def reload_failed(self) -> bool:
        """Whether the supervisor found mistakes in the configuration at the last reload: workers do not see those."""
        return bool(self._memory[-1])

    @reload_failed.setter
    def reload_failed(self, failed: bool) -> None:
        self._memory[-1] = failed

    def read(self, row: int) -> list[float]:
        """The numbers of one worker."""
        return list(self._form.unpack_from(self._memory, row * self._form.size))

    def read_all(self) -> list[list[float]]:
        """The numbers of all workers."""
        return [self.read(row) for row in range(self.rows)]

    def write(self, row: int, values: Sequence[float]) -> None:
        """Replace the numbers of one worker."""
        self._form.pack_into(self._memory, row * self._form.size, *values)


class Numbers:
    """The numbers of this process. Frequent counters add to `values` at an index looked up once."""

    def __init__(self, layout: Layout, board: Board, row: int = 0) -> None:
        """Go on with the counters of a row; its gauges begin at nought."""
        self.layout = layout
        self._board = board
        self._row = row
        self.values = board.read(row)
        for place in layout.gauges:
            self.values[place] = 0.0
        self._before = list(self.values)

    def carry(self, place: int, since_start: float) -> None:
        """Set the counter at an index (`place`) that somebody else has counted since this process began."""
        self.values[place] = self._before[place] + since_start

    def share(self) -> None:
        """Let the others see the numbers."""
        self._board.write(self._row, self.values)
