"""What workers share: counters outlive a worker, gauges do not."""

import os

from letterlock.metrics.catalogue import LAYOUT
from letterlock.metrics.numbers import Board, Numbers

ATTEMPTS = LAYOUT.place("letterlock_attempts_total")
CPU = LAYOUT.place("process_cpu_seconds_total")
OPEN = LAYOUT.place("letterlock_inbound_connections")


def test_a_worker_that_is_started_again_goes_on_counting() -> None:
    board = Board(LAYOUT.size, 2)
    first = Numbers(LAYOUT, board, 1)
    first.values[ATTEMPTS] += 3
    first.values[OPEN] = 7
    first.carry(CPU, 1.5)
    first.share()
    again = Numbers(LAYOUT, board, 1)
    assert again.values[OPEN] == 0
    again.values[ATTEMPTS] += 1
    again.carry(CPU, 0.25)
    again.share()
    assert board.read(1)[ATTEMPTS] == 4
    assert board.read(1)[CPU] == 1.75
    assert not any(board.read(0))


def test_another_process_sees_the_numbers() -> None:
    board = Board(LAYOUT.size)
    child = os.fork()
    if child == 0:
        numbers = Numbers(LAYOUT, board)
        numbers.values[ATTEMPTS] = 2.0**53
        numbers.share()
        os._exit(0)
    os.waitpid(child, 0)
    assert board.read(0)[ATTEMPTS] == 2**53


def test_the_note_of_the_supervisor_is_no_number_of_a_worker() -> None:
    board = Board(3, 2)
    board.write(1, [1.0, 2.0, 3.0])
    board.reload_failed = True
    assert board.reload_failed
    assert board.read(1) == [1.0, 2.0, 3.0]
    board.reload_failed = False
    assert not board.reload_failed
