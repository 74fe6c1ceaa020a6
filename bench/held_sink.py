"""The receiver of `bench.held`: many addresses, one port. `python -m bench.held_sink PREFIX ADDRESSES`.

Listens on PREFIX.1 to PREFIX.ADDRESSES, and says on its first line which port that is; then a stamp (relay_stamps) for
each message.
"""

import os
import selectors
import socket
import sys
from contextlib import ExitStack, suppress

from bench.relay_sink import Receiver

BACKLOG = 1024


def listen(prefix: str, addresses: int, stack: ExitStack) -> list[socket.socket]:
    """Sockets on one port of all the addresses."""
    first = stack.enter_context(socket.create_server((f"{prefix}.1", 0), backlog=BACKLOG))
    port = first.getsockname()[1]
    more = [
        stack.enter_context(socket.create_server((f"{prefix}.{number}", port), backlog=BACKLOG))
        for number in range(2, addresses + 1)
    ]
    return [first, *more]


def serve(listeners: list[socket.socket]) -> None:
    """Take connections for ever."""
    with selectors.DefaultSelector() as selector:
        for listener in listeners:
            listener.setblocking(False)
            selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    with suppress(BlockingIOError, OSError):
                        receiver = Receiver(key.fileobj.accept()[0], None)  # type: ignore[union-attr]  # a listener
                        selector.register(receiver.socket, selectors.EVENT_READ, receiver)
                elif not key.data.readable():
                    selector.unregister(key.fd)
                    key.data.socket.close()


def main() -> None:
    """The command."""
    with ExitStack() as stack:
        listeners = listen(sys.argv[1], int(sys.argv[2]), stack)
        os.write(1, b"%d\n" % listeners[0].getsockname()[1])
        serve(listeners)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
