"""Issue of every queue: what was answered 250 survives SIGKILL. The long form is `python -m tests.soak.kills`."""

from pathlib import Path

import pytest

from tests.soak.kills import soak


@pytest.mark.slow
def test_nothing_answered_250_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    outcome = soak(tmp_path, kills=6, connections=20, seed=20261123, pause_seconds=0.1)
    assert outcome.good, (str(outcome), outcome.lost[:10], outcome.damaged[:10], outcome.surprises[:10])
