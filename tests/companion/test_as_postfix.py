"""How `companion check` asks the policy door: wherever it listens."""

import socket
import threading
from pathlib import Path

import pytest

from letterlock.companion.as_postfix import socketmap_trap
from letterlock.socketmap.netstrings import netstring


def _answer_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1_000)
        connection.sendall(netstring(b"NOTFOUND "))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_a_door_is_asked_wherever_it_listens(family: socket.AddressFamily, tmp_path: Path) -> None:
    unix, host = tmp_path / "door", "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family) as server:
        server.bind(str(unix) if family == socket.AF_UNIX else (host, 0))
        server.listen()
        shown = f"[{host}]" if ":" in host else host
        place = f"unix:{unix}" if family == socket.AF_UNIX else f"inet:{shown}:{server.getsockname()[1]}"
        threading.Thread(target=_answer_once, args=(server,), daemon=True).start()
        assert socketmap_trap(place, "QUERY").text == f"the policy door answers at {place}"
