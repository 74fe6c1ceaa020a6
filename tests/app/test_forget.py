"""`letterlock memory forget` in a running server with two workers, which forget at once."""

import time
from dataclasses import replace
from pathlib import Path

from letterlock.admin.client import Queues
from letterlock.config import load
from letterlock.memory.remembered import Difference
from letterlock.state.remembered_domains import DomainMemoryStore
from tests.app.test_doors import serving
from tests.cli.running import letterlock
from tests.memory.lives import CLEAR, DOMAIN, GOOD, daily


async def test_a_running_server_forgets_in_all_workers(tmp_path: Path) -> None:
    async with serving(tmp_path, ("serve",), workers=2) as (config, _):
        directory, now = load(config).state_directory, time.time()
        store = DomainMemoryStore.open(directory)
        lost = replace(CLEAR, at=now, missing=frozenset({Difference.TLS}), held=True)
        await store.learn([*daily(GOOD, until=now - 60), lost, replace(GOOD, domain="b.example")], now)
        state = Queues(directory).first("state")["memory"]
        assert state["mode"] == "observe"
        ran = await letterlock("memory", "forget", DOMAIN, "--because", "they said so", "--config", str(config))
        assert (ran.status, ran.out) == (0, "1 domain forgotten\n")
        ran = await letterlock("memory", "forget", DOMAIN, "--config", str(config))
        assert (ran.status, ran.out) == (1, "0 domains forgotten\n")
        assert ran.err == f"error: nothing is remembered of {DOMAIN}\n"
        assert await store.load(DOMAIN) is None
        assert await store.count() == 1
        ran = await letterlock("memory", "forget", "--all", "--config", str(config))
        assert (ran.status, ran.out) == (0, "1 domain forgotten\n")
        ran = await letterlock("memory", "show", DOMAIN, "--config", str(config))
        assert (ran.status, ran.err) == (1, f"error: nothing is remembered of {DOMAIN}\n")
        await store.close()
