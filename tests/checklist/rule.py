"""What one rule of a standard is."""

from typing import NamedTuple


class Rule(NamedTuple):
    """One rule: its section, what it asks, the tests that hold it; `instead` says why there is none."""

    section: str
    text: str
    tests: tuple[str, ...] = ()
    instead: str = ""
