"""Where queues live: the first worker's in the queue directory itself, the others' in folders of it. Pure names."""

import re

WORKER = "worker-"
CONTROL_SOCKET = "control.sock"
_NAME = re.compile(rf"{WORKER}([1-9][0-9]{{0,3}})")


def worker_number(name: str) -> int | None:
    """The number in the name of a worker's folder; None: it is something else, such as a copy (`worker-1.bak`)."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None
