"""A file that is read in one sitting: none of the package is longer than 500 lines."""

from pathlib import Path

import letterlock

MAX_LINES = 500


def test_no_file_of_the_package_is_longer_than_500_lines() -> None:
    """Where one grows beyond it, it has two subjects: split it by subject, not by length."""
    root = Path(letterlock.__file__).parent
    lengths = {path.relative_to(root): path.read_text().count("\n") for path in root.rglob("*.py")}
    assert not {path: lines for path, lines in lengths.items() if lines > MAX_LINES}
