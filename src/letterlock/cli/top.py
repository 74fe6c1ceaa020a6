"""`letterlock top`: a live view of the server in the terminal."""

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.cli.configured import config_option, configured
from letterlock.cli.status import EXIT_NOT_RUNNING, by_next_hop
from letterlock.cli.style import Style
from letterlock.cli.top_screen import View, drawn
from letterlock.config import Options
from letterlock.queue.orders import Tally

MIN_SECONDS, MAX_SECONDS = 0.5, 60.0  # between two looks: faster shows nothing more, since workers measure every second
QUEUE_SECONDS = 5.0  # between two counts of the queue, and ten times what one takes
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the other screen without a cursor, and back (xterm)
UNKNOWN = 80, 24  # columns and lines of a terminal that does not say, as serial lines do not
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@config_option
@click.option(
    "--interval",
    type=click.FloatRange(MIN_SECONDS, MAX_SECONDS),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print one screen and end. So does output that is no terminal.")
def top(config_path: Path | None, interval: float, once: bool) -> None:
    """Show a live view of the server: flow, deliveries, queue, resolver, workers and limits. q or Ctrl-C ends it.

    \b
    Exit status:
       0  ended by q
       1  the server could not answer
       2  usage error
       3  no server answers
      78  mistakes in the configuration
    """
    options = configured(config_path)
    try:
        watching = Watching(options, Queues(options.queue_directory), time.monotonic)
        if once or not (sys.stdin.isatty() and sys.stdout.isatty()):
            watching.look()
            click.echo("\n".join(drawn(watching.view, Style.of(sys.stdout), 120, 50, live=False)))
        else:
            _live(watching, interval)
    except NotRunning as error:
        click.echo(f"error: {error}\n  hint: start it with `letterlock serve`, or name its --config", err=True)
        sys.exit(EXIT_NOT_RUNNING)
    except ServerError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


class Watching:
    """Asks the server again and again; the queue, which costs it more, less often."""

    def __init__(self, options: Options, queues: Queues, monotonic: Callable[[], float]) -> None:
        self._queues = queues
        self._monotonic = monotonic
        self._count_at = -1.0
        self.view = View(hostname=options.hostname)

    def look(self) -> None:
        """Ask once. Raises NotRunning, ServerError."""
        state: dict[str, Any] = self._queues.first("state")
        self.view.add(state)
        began = self._monotonic()
        if began >= self._count_at:
            rows: list[Tally] = by_next_hop(self._queues)
            self.view.queue = rows
            ended = self._monotonic()
            self._count_at = ended + max(QUEUE_SECONDS, 10 * (ended - began))


def _live(watching: Watching, interval: float) -> None:
    style = Style.of(sys.stdout)
    with _other_screen(sys.stdout), _keys(sys.stdin) as pressed:
        while True:
            watching.look()
            size = os.get_terminal_size(sys.stdout.fileno())
            lines = drawn(watching.view, style, size.columns or UNKNOWN[0], size.lines or UNKNOWN[1])
            sys.stdout.write(HOME + "\r\n".join(f"{line}{REST_OF_LINE}" for line in lines) + REST_OF_SCREEN)
            sys.stdout.flush()
            if pressed(interval):
                return


@contextmanager
def _other_screen(out: TextIO) -> Iterator[None]:
    """Draw on the terminal's other screen; whatever happens, the first one comes back."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # as a shell says it
    out.write(ENTER)
    try:
        yield
    finally:
        out.write(LEAVE)
        out.flush()
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _keys(keyboard: TextIO) -> Iterator[Callable[[float], bool]]:
    """Read single keys without echo; the function waits for some seconds and returns whether q was pressed."""
    number = keyboard.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)

    def pressed(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([number], [], [], left)[0]:
                key = os.read(number, 1)
                if key in (b"q", b"Q", b""):  # b"": the terminal is gone
                    return True
        return False

    try:
        yield pressed
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
