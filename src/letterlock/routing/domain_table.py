"""What the operator wrote by domain: of several entries the most specific one holds, whole."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from letterlock.mail.names import InvalidName, canonical

_T = TypeVar("_T")


class DomainTable(Generic[_T]):
    """Entries for `example.org`, `*.example.org` or `.example.org` (everything below it), and `*`. Immutable."""

    __slots__ = ("_entries", "_named")

    def __init__(self, entries: Mapping[str, _T]) -> None:
        """Take entries by the domain or address literal they are written for, however that is spelled."""
        self._entries = {_key(domain): entry for domain, entry in entries.items()}
        self._named = bool(self._entries.keys() - {"*"})  # mostly there is none: then no name need be taken apart

    def __iter__(self) -> Iterator[_T]:
        """All entries."""
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, domain: str) -> _T | None:
        """The entry for a domain or address literal; None when there is none."""
        return self.find_named(domain) or self._entries.get("*")

    def find_named(self, domain: str) -> _T | None:
        """The same, without the entry for everything."""
        if not self._named:
            return None
        name = _spelled(domain)
        if exact := self._entries.get(name):
            return exact
        if not name.startswith("["):
            while "." in name:
                name = name.partition(".")[2]
                if below := self._entries.get("." + name):
                    return below
        return None


def first_route(
    by_recipient: DomainTable[_T], by_sender: DomainTable[_T], domain: str, sender: str | None
) -> _T | None:
    """The route that counts: one for the recipients' domain, else one for the sender's, else the one for all mail."""
    if not by_sender or sender is None:
        return by_recipient.find(domain)
    return by_recipient.find_named(domain) or by_sender.find(sender) or by_recipient.find(domain)


def _key(domain: str) -> str:
    if domain == "*":
        return domain
    below = domain.startswith((".", "*."))
    name = _spelled(domain.removeprefix("*").removeprefix("."))
    return "." + name if below else name


def _spelled(domain: str) -> str:
    """The one spelling; what is no name stays as it is, and meets only what is written for everything."""
    try:
        return canonical(domain)
    except InvalidName:
        return domain.lower()
