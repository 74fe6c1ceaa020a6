"""What is mutated, and which tests are asked, the quick ones first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE_TEXT_TESTS = (  # they read the source instead of running it, and a mutant is rendered without its layout
    "test_every_code_is_given_somewhere",
    "test_the_codes_put_together_are_given_too",
    "test_no_code_is_given_that_the_table_does_not_know",
)
_DESELECTED = tuple(f"--deselect=tests/policy/test_reasons.py::{name}" for name in SOURCE_TEXT_TESTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A package under test: `tables` are its modules that hold only texts, `last` the tests that see what is left."""

    name: str
    tables: tuple[str, ...]
    options: tuple[str, ...]
    last: tuple[str, ...]

    def modules(self, root: Path) -> tuple[str, ...]:
        """The modules to mutate, as `policy/judge.py`."""
        paths = sorted((root / "src" / "letterlock" / self.name).glob("*.py"))
        return tuple(f"{self.name}/{path.name}" for path in paths if path.name not in self.tables)

    def stages(self, module: str, root: Path) -> tuple[Sequence[str], ...]:
        """What to hand to pytest, one run after the other until a test fails: the module's own tests, all, the last."""
        folder = f"tests/{self.name}"
        own = sorted(f"{folder}/{path.name}" for path in (root / folder).glob(f"test_{Path(module).stem}*.py"))
        first = tuple(path for path in own if path not in self.last)
        late = tuple(f"--ignore={path}" for path in self.last)
        rest = ((folder, *late, *self.options), (*self.last, *self.options))
        return ((*first, *self.options), *rest) if first else rest


ROOMS = (
    Room(
        name="policy",
        tables=("reason_table.py", "demand_reasons.py", "explanation.py"),
        options=_DESELECTED,
        last=("tests/deliver/test_demands.py",),
    ),
    Room(
        name="identity",
        tables=(),
        options=(),
        last=("tests/identity/test_damaged.py", "tests/identity/test_dane_agreement.py"),
    ),
)
