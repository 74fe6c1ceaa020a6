"""Plays the service manager's side: passes sockets as systemd does, then becomes the command.

python -m tests.app.activated NAME=ADDRESS:PORT … -- COMMAND …
"""

import os
import socket
import sys


def main() -> None:
    """Bind, put the sockets where sd_listen_fds(3) has them, and become the command."""
    split = sys.argv.index("--")
    wanted, command = sys.argv[1:split], sys.argv[split + 1 :]
    made: list[tuple[str, socket.socket]] = []
    for each in wanted:
        name, _, at = each.partition("=")
        made.append((name, bound(at)))
    descriptors = [os.dup(each.fileno()) for _, each in made]
    high = [os.dup2(each, 100 + number) for number, each in enumerate(descriptors)]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, 3 + number, inheritable=True)
        os.close(descriptor)
    given = {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(made)),
        "LISTEN_FDNAMES": ":".join(name for name, _ in made),
    }
    os.execvpe(command[0], command, os.environ | given)  # noqa: S606  # that is the point


def bound(at: str) -> socket.socket:
    """`ADDRESS:PORT`, `[ADDRESS]:PORT` (`*[…]` for IPv4 as well), `udp:ADDRESS:PORT`, or a path."""
    if at.startswith("/"):
        made = socket.socket(socket.AF_UNIX)
        made.bind(at)
    else:
        kind = socket.SOCK_DGRAM if at.startswith("udp:") else socket.SOCK_STREAM
        address, _, port = at.removeprefix("udp:").removeprefix("*").rpartition(":")
        family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
        made = socket.socket(family, kind)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not at.startswith("*"))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.strip("[]"), int(port)))
    if made.type == socket.SOCK_STREAM:
        made.listen()
    return made


if __name__ == "__main__":
    main()
