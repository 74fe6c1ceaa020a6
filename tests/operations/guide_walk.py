"""Every command of the guides that no test runs, typed on a machine of its own.

    python -m tests.operations.guide_walk [-v] [PAGE…]

Each page begins with a machine as machine.py has it, installed and serving; documented.toml says what else it needs.
A command that ends with another status than 0 fails the walk, unless the page means it to. Takes some minutes.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tests.operations.documented import PAGES, is_mention, shown, table
from tests.operations.machine import ROOT, SECONDS, prepared, run

PATH = "export PATH=/opt/letterlock/.venv/bin:$PATH"


def commands(page: str, known: Mapping[str, Any]) -> Iterator[str]:
    """What the walk types for a page."""
    listed = {each for commands in known["not_run"].values() for each in commands}
    elsewhere = {each for pages in known["elsewhere"].values() for each in pages}
    found = shown(page)
    yield from (each for each in found.apart if page not in elsewhere and each not in listed)
    yield from (each for each in found.inline if each not in listed and not is_mention(each))


def walk(page: str, known: Mapping[str, Any]) -> bool:
    """Type the commands of a page; whether each ended as it should."""
    typed = [*commands(page, known)]
    if not typed:
        return True
    needs = known["walk"].get(page, {})
    words: Mapping[str, str] = needs.get("words", {})
    for old, new in words.items():
        assert any(old in each for each in typed), f"{page}: no command has {old!r}"
        typed = [each.replace(old, new) for each in typed]
    lines = (f"echo '$' {number}; {command}" for number, command in enumerate(typed))
    script = "\n".join(
        (prepared(), PATH, f"cp -r {ROOT}/packaging .", needs.get("prepare", ""), "echo '$ begin'", *lines)
    )
    done = run(script, seconds=5 * SECONDS)
    unmeant = {each: status for each, status in done.failed.items() if each not in needs.get("fails", ())}
    print(f"{'FAILED' if unmeant else 'ok'}  {page}: {len(typed)} commands, {done.seconds:.0f} s", flush=True)
    if unmeant or "-v" in sys.argv:
        print(done.out.partition("$ begin")[2], unmeant, sep="\n")
    return not unmeant


def main() -> int:
    """Walk through all pages, or those that are named."""
    known = table()
    wanted = [each for each in sys.argv[1:] if each != "-v"] or PAGES
    failed = [page for page in wanted if not walk(page, known)]
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
