"""Try every mutant of `policy` and `identity` against their tests: `python -m tests.mutation.run`.

Ends with 0 where every package reaches the least share of killed mutants and every survivor is known; with 1 where
not; with 2 where the tests do not even pass on the code as it is.
"""

import argparse
import ast
import datetime as dt
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.page import write_page
from tests.mutation.results import Figures, Result, Status, count, read_results, write_results
from tests.mutation.rooms import ROOMS, Room
from tests.mutation.sandbox import ROOT, CannotTry, Sandbox
from tests.mutation.survivors import SURVIVORS

LEAST_PERCENT = 90
TIMEOUT_FACTOR, TIMEOUT_LEAST_SECONDS = 4, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _stop)
    earlier = read_results(options.again) if options.again else ()
    results: list[Result] = []
    try:
        with Sandbox() as sandbox:
            for room in ROOMS:
                for module in room.modules(sandbox.folder):
                    if not options.module or module in options.module:
                        results += _try_module(sandbox, room, module, earlier)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except CannotTry as error:
        print(f"cannot try mutants: {error}", file=sys.stderr)
        return 2
    if options.out:
        write_results(options.out, results)
    if options.write_doc:
        page = write_page(results, SURVIVORS, commit=_commit(), date=dt.datetime.now(dt.UTC).date())
        options.write_doc.write_text(page)
    return _conclude(results, whole=not options.module)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.run", description=__doc__)
    parser.add_argument("--module", action="append", metavar="policy/judge.py", help="only this module (repeatable)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write what became of every mutant")
    parser.add_argument("--again", type=Path, metavar="FILE.json", help="what was killed there is not tried again")
    parser.add_argument("--write-doc", type=Path, metavar="FILE.md", help="write the page of figures and survivors")
    return parser.parse_args(arguments)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _commit() -> str:
    """The commit that stands checked out, by its short name."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return asked.stdout.strip()


def _try_module(sandbox: Sandbox, room: Room, module: str, earlier: Iterable[Result]) -> list[Result]:
    """What becomes of every mutant of a module. Raises CannotTry where its tests fail without a fault."""
    source = (sandbox.folder / "src" / "letterlock" / module).read_text()
    made = mutants(module, source)
    killed = {one.key: one.status for one in earlier if one.status != "survived"}
    if not made:
        return []
    stages = room.stages(module, sandbox.folder)
    timeouts = [_clean_seconds(sandbox, module, source, stage) for stage in stages]
    results: list[Result] = []
    for done, mutant in enumerate(made, 1):
        status = killed.get(mutant.key) or _try(sandbox, mutant, stages, timeouts)
        results.append(Result(module, mutant.line, mutant.scope, mutant.change, status))
        _progress(f"{module}: {done} of {len(made)} tried, {count(results, '').survived} survived", done == len(made))
    return results


def _clean_seconds(sandbox: Sandbox, module: str, source: str, stage: Sequence[str]) -> float:
    """How long a mutant's tests may take: some times as long as without a fault, in the same rendering."""
    with sandbox.with_source(module, ast.unparse(ast.parse(source))):
        found = sandbox.run(stage, timeout_seconds=300)
    if not found.passed:
        raise CannotTry(f"the tests of {module} do not pass as it is: {sandbox.output}")
    return TIMEOUT_LEAST_SECONDS + TIMEOUT_FACTOR * found.seconds


def _try(sandbox: Sandbox, mutant: Mutant, stages: Sequence[Sequence[str]], timeouts: Sequence[float]) -> Status:
    with sandbox.with_source(mutant.module, mutant.source):
        for stage, timeout in zip(stages, timeouts, strict=True):
            found = sandbox.run(stage, timeout)
            if found.timed_out:
                return "timeout"
            if not found.passed:
                return "killed"
    return "survived"


def _progress(line: str, last: bool) -> None:
    """On a terminal one line that is written over; in a file one line for a module."""
    if sys.stderr.isatty():
        print(f"\r{line:<80}", end="\n" if last else "", file=sys.stderr, flush=True)
    elif last:
        print(line, file=sys.stderr, flush=True)


def _conclude(results: Sequence[Result], *, whole: bool) -> int:
    """Print the table and the survivors, and say whether all is well."""
    print(f"{'module':32}{'mutants':>8}{'killed':>8}{'timeout':>8}{'survived':>9}{'%':>7}")
    for module in dict.fromkeys(one.module for one in results):
        _print_row(module, count(results, module))
    rooms = {room.name: count(results, f"{room.name}/") for room in ROOMS}
    for name, figures in rooms.items():
        _print_row(f"{name}, in all", figures)
    survived = {one.key: one for one in results if one.status == "survived"}
    unknown = [one for key, one in survived.items() if key not in SURVIVORS]
    for one in unknown:
        print(f"survived: {one.module}:{one.line} {one.scope}: {one.change}")
    tried = {one.module for one in results}
    stale = [key for key in SURVIVORS if key not in survived and (whole or key[0] in tried)]
    for key in stale:
        print(f"listed, and no survivor: {': '.join(key)}")
    enough = all(figures.percent >= LEAST_PERCENT for figures in rooms.values())
    return 0 if results and enough and not unknown and not stale else 1


def _print_row(name: str, found: Figures) -> None:
    print(
        f"{name:32}{found.mutants:8}{found.killed - found.timeout:8}{found.timeout:8}{found.survived:9}"
        f"{found.percent:7.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
