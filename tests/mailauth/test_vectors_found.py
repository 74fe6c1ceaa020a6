"""Where the vectors are looked for."""

from pathlib import Path

import pytest

from tests.mailauth.vectors import vectors


def test_missing_vectors_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETTERLOCK_VECTORS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no vectors of dkim: put them in"):
        vectors("dkim")
    (tmp_path / "dkim").mkdir()
    assert vectors("dkim") == tmp_path / "dkim"
