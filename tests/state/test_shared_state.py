"""One place opens the state that workers share, for every engine that keeps mail."""

import asyncio
from pathlib import Path

import dns.name

from letterlock.state.shared_state import STATE_ENGINES, open_state
from letterlock.store.engines import ENGINES

ZONE = dns.name.from_text("example.org.")


def test_every_engine_of_mail_keeps_the_other_state_too() -> None:
    assert set(STATE_ENGINES) == set(ENGINES)


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    for engine in STATE_ENGINES:
        asyncio.run(open_state(engine, tmp_path).close())
    assert list(tmp_path.iterdir()) == []


async def test_state_without_a_directory_writes_nothing_and_is_one_for_the_process() -> None:
    state = open_state("sqlite", None)
    assert state.policies() is state.policies()
    one, other = state.trust_point(ZONE, []), state.trust_point(ZONE, [])
    one.change(lambda point: point)
    assert one is other
    await state.close()
