"""The account of a server, as `letterlock status` and `top` get it."""

from typing import Any

from letterlock.app.measuring import Meter, MetricsPlace
from letterlock.config import parse


def server_state(**changes: Any) -> dict[str, Any]:
    """That of a server with one worker that has just begun, with some values replaced."""
    options = parse("", "t.toml")
    state = Meter(MetricsPlace(), lambda: options).state()
    worker = {**state["workers"][0], "alive": True, "process": 812}  # type: ignore[index]  # JSON-able values
    upstream = {"name": "192.0.2.53:53", "state": "fit", "round_trip_seconds": 0.012, "answers": 3, "failures": 0}
    return {**state, "workers": [worker], "upstreams": [upstream], **changes}
