"""The page docs/reference/mutation.md."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

from tests.mutation.results import Figures, Result, count
from tests.mutation.rooms import ROOMS

_HEAD = """# Mutation testing

Do the tests of the decision notice when it is wrong? Every mutant is the code of `policy` or `identity` with one small
fault: a comparison turned round or moved by one, `and` for `or`, a `not` or a filter dropped, a condition turned round,
a number, a flag or a text changed, a result dropped, an argument left out, a statement deleted, a case left out. A
mutant is killed when a test fails, or never ends. Texts of tables, annotations and the messages of exceptions are left
as they are, and tests that read the source instead of running it are not asked.

    .venv/bin/python -m tests.mutation.run

(or `make mutation`) tries all of them, on a copy of the checkout and each in a process of its own, and takes about a
quarter of an hour on one core. `--module policy/judge.py` tries one module, `--out FILE.json` and later
`--again FILE.json` try only what survived before. It fails where a package falls below 90 %, and for every survivor
that is not explained below.

The first run, before tests were written for what survived it, killed 80.2 % of `policy` and 82.0 % of `identity`. Most
survivors were words that people read; a quarter of all mutants are such. Two were more: no test would have noticed if
the RSA signature of a bare key (TLSA `2 1 0`) were not verified; and a certificate whose last day is in the year 0 was
taken as readable and ended the judgement with an error, which is mended.

Figures of {date}, commit {commit}:

| module | mutants | killed | of these by timeout | survived | killed % |
|---|---:|---:|---:|---:|---:|
"""
_MIDDLE = """
## What survives, and why that is right

The list is `tests/mutation/survivors.py`.
"""


def write_page(
    results: Sequence[Result],
    reasons: Mapping[tuple[str, str, str], str],
    *,
    commit: str,
    date: dt.date,
) -> str:
    """The page: figures, and the survivors with their reasons."""
    parts = [_HEAD.format(date=date.isoformat(), commit=commit)]
    for room in ROOMS:
        modules = dict.fromkeys(one.module for one in results if one.module.startswith(f"{room.name}/"))
        parts += [_row(f"`{module}`", count(results, module)) for module in modules]
        parts.append(_row(f"**{room.name}**", count(results, f"{room.name}/")))
    parts.append(_MIDDLE)
    parts += _survivors(results, reasons)
    return "".join(parts)


def _row(name: str, found: Figures) -> str:
    return f"| {name} | {found.mutants} | {found.killed} | {found.timeout} | {found.survived} | {found.percent:.1f} |\n"


def _survivors(results: Sequence[Result], reasons: Mapping[tuple[str, str, str], str]) -> Iterator[str]:
    module = None
    for one in results:
        if one.status != "survived":
            continue
        if one.module != module:
            module = one.module
            yield f"\n### {module}\n\n"
        yield f"- line {one.line}, {one.scope}: {_code(one.change)}: {reasons.get(one.key, 'not explained')}\n"


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"
