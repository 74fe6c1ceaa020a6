"""Reads what the server remembers of domains, beside it: for commands, which change nothing."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from letterlock.memory.memory_text import DamagedRecord, from_json
from letterlock.memory.remembered import DomainMemory
from letterlock.queue.store import StoreFailed
from letterlock.state.remembered_domains import FILE, MemoryDamaged

PAGE = 1_000  # domains that are read at once: a few megabytes
_Result = TypeVar("_Result")


def is_readable(directory: Path) -> bool:
    """Whether there is a file, and this user may read it."""
    return os.access(directory / FILE, os.R_OK)


class MemoryReader:
    """The file of a directory, opened for each question. Every verb may raise StoreFailed."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    async def load(self, domain: str) -> DomainMemory | None:
        """What is remembered of a domain."""
        return await asyncio.to_thread(self.look, domain)

    def look(self, domain: str) -> DomainMemory | None:
        """The same, at once. Raises StoreFailed; MemoryDamaged, one of these, when the record cannot be read."""

        def work(db: sqlite3.Connection) -> str | None:
            row = db.execute("SELECT record FROM domain_memory WHERE domain = ?", (domain,)).fetchone()
            return None if row is None else str(row[0])

        text = self._ask(work)
        try:
            return None if text is None else from_json(domain, text)
        except DamagedRecord as error:
            hint = f"hint: letterlock memory forget {domain}"
            raise MemoryDamaged(f"what is remembered of {domain} is damaged ({error})\n  {hint}") from None

    def all(self) -> Iterator[tuple[str, DomainMemory | None]]:
        """Every domain in order, page by page; None for one that cannot be read."""
        after = ""
        while page := self._page(after):
            for domain, text in page:
                try:
                    yield domain, from_json(domain, text)
                except DamagedRecord:
                    yield domain, None
            after = page[-1][0]

    def _page(self, after: str) -> Sequence[tuple[str, str]]:
        statement = "SELECT domain, record FROM domain_memory WHERE domain > ? ORDER BY domain LIMIT ?"
        return self._ask(lambda db: db.execute(statement, (after, PAGE)).fetchall())

    def _ask(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                db.text_factory = lambda octets: octets.decode("utf-8", "backslashreplace")
                return work(db)
        except sqlite3.OperationalError as error:
            raise StoreFailed(f"cannot read {self._path}: {error}") from None
        except sqlite3.DatabaseError as error:
            raise MemoryDamaged(f"{self._path} is damaged: {error}\n  hint: {MemoryDamaged.hint}") from None
