"""What became of the mutants, kept in a file and counted."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Status = Literal["killed", "timeout", "survived"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant: a test failed, or never ended (it is killed too), or all passed."""

    module: str
    line: int
    scope: str
    change: str
    status: Status

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the mutant."""
        return self.module, self.scope, self.change


@dataclass(frozen=True, slots=True)
class Figures:
    """The mutants of a module or a package, counted; `timeout` are among the killed."""

    mutants: int
    killed: int
    timeout: int

    @property
    def survived(self) -> int:
        """Those that no test noticed."""
        return self.mutants - self.killed

    @property
    def percent(self) -> float:
        """The share of the killed; of nothing, all."""
        return 100 * self.killed / self.mutants if self.mutants else 100.0


def count(results: Iterable[Result], prefix: str) -> Figures:
    """The figures of the modules whose path begins so (`policy/`)."""
    states = [one.status for one in results if one.module.startswith(prefix)]
    return Figures(len(states), len(states) - states.count("survived"), states.count("timeout"))


def read_results(path: Path) -> tuple[Result, ...]:
    """What `write_results` wrote."""
    return tuple(Result(**one) for one in json.loads(path.read_text()))


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Keep results, as JSON."""
    path.write_text(json.dumps([asdict(one) for one in results], indent=1, ensure_ascii=False) + "\n")
