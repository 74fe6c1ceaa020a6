"""Postfix's local and relay domains, by name and in tables, their recipients, and where their mail ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from letterlock.app.output import json_text
from letterlock.cli.importing.postfix_addresses import next_hop_of
from letterlock.cli.importing.postfix_files import words
from letterlock.cli.importing.postfix_lookups import set_table
from letterlock.cli.importing.translation import Translation
from letterlock.recipients.alias_file import read_aliases
from letterlock.recipients.targets import Ending
from letterlock.tables.alias_endings import AllowedEndings

TEXT_TABLES = ("hash", "btree", "lmdb", "cdb", "dbm", "texthash")
DOMAIN_CLASSES = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains")
OF_LOCAL_DOMAINS = ("alias_maps", "virtual_alias_maps", "virtual_mailbox_maps", "recipient_delimiter")
_LOCAL_NAMES = ("localhost", "")


class PostfixSource(Protocol):
    """What reads the parameters, and notes what became of them."""

    made: Translation

    def value(self, name: str) -> str:
        """A parameter with everything expanded; "" if it is not set."""

    def has(self, name: str) -> bool:
        """Whether main.cf sets it."""

    def done(self, name: str, text: str) -> None:
        """It was translated."""

    def lost(self, name: str, text: str) -> None:
        """It, or a part, has no counterpart."""

    def read_table(self, path: str) -> str | None:
        """The text of a table's file; None: it cannot be read."""


@dataclass(slots=True)
class PostfixDomains:
    """Reads them once, and sets tables as they are met."""

    source: PostfixSource
    _tables: dict[str, list[str]] = field(default_factory=dict)
    _found: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)

    def named(self, name: str) -> list[str]:
        """The domains that a parameter names."""
        return self._read(name)[0]

    def in_tables(self, name: str) -> list[str]:
        """The tables of domains that it names."""
        return self._read(name)[1]

    def local(self) -> list[str]:
        """The domains that are local by name. Postfix's default of mydestination was meant by few."""
        found = [*dict.fromkeys(domain for name in DOMAIN_CLASSES for domain in self.named(name))]
        if found == [self.source.value("myhostname")] and not self.source.has("mydestination"):
            return []
        return found

    def local_tables(self) -> dict[str, str]:
        """The tables of local domains, each with the parameter that names it."""
        return {table: name for name in DOMAIN_CLASSES for table in self.in_tables(name)}

    def all_tables(self) -> list[str]:
        """The tables that a listener has to ask."""
        return [*dict.fromkeys((*self.local_tables(), *self.in_tables("relay_domains")))]

    def _read(self, name: str) -> tuple[list[str], list[str]]:
        if name not in self._found:
            items = words(self.source.value(name))
            maps = [each for each in items if ":" in each or each.startswith("/")]
            domains = [each for each in items if each not in maps and each not in _LOCAL_NAMES]
            tables = self._set_tables(name, maps, f"{name.removesuffix('_domains')}_domains")
            if name == "virtual_alias_domains" and not self.source.has(name):
                tables += self._alias_domains()
            self._found[name] = [each for each in domains if not each.startswith("localhost.")], tables
            parts = ["listener.domains"] * (not tables or bool(domains)) + ["listener.domain_tables"] * bool(tables)
            self.source.done(name, " and ".join(parts))
        return self._found[name]

    def _alias_domains(self) -> list[str]:
        """Postfix takes the domains of virtual_alias_maps, as far as they stand there by themselves."""
        found = []
        for table, each in zip(
            self.tables("virtual_alias_maps", "virtual"), words(self.source.value("virtual_alias_maps")), strict=False
        ):
            text = self.source.read_table(each.rpartition(":")[2]) if each.partition(":")[0] in TEXT_TABLES else None
            if text is not None and any("." in key and "@" not in key for key in read_aliases(text)[0]):
                found.append(table)
        return found

    def tables(self, name: str, ours: str) -> list[str]:
        """The tables of a parameter, under names of ours."""
        if name not in self._tables:
            self._tables[name] = self._set_tables(name, words(self.source.value(name)), ours)
            if self._tables[name]:
                self.source.done(name, f"table.{self._tables[name][0]}")
        return self._tables[name]

    def _set_tables(self, name: str, maps: list[str], ours: str) -> list[str]:
        made: list[str] = []
        for each in maps:
            kind, _, path = each.removeprefix("proxy:").partition(":")
            table = ours if not made else f"{ours}{len(made) + 1}"
            if each.startswith("/"):
                self.source.lost(
                    name, f"{each}: a file of domains, one a line, is a [table] and listener.domain_tables"
                )
                continue
            if kind in TEXT_TABLES:
                self.source.made.set(f"table.{table}", "file", path)
                self._allow_endings(table, path, is_aliases=name == "alias_maps")
            elif why := set_table(self.source.made, table, kind, path, self.source.read_table):
                self.source.lost(name, f"{each}: {why}")
                continue
            made.append(table)
        return made

    def _allow_endings(self, table: str, path: str, *, is_aliases: bool) -> None:
        """Commands and Maildirs of aliases(5), where there are some: Postfix allows them."""
        text = self.source.read_table(path) if is_aliases else None
        allowed: Mapping[str, AllowedEndings] = {
            "allow_commands": AllowedEndings(commands=True),
            "allow_maildirs": AllowedEndings(maildirs=True),
        }
        for key, each in allowed.items():
            if text is not None and _has_endings(text, each.reads):
                self.source.made.set(f"table.{table}", key, True)

    def set_recipients(self) -> None:
        """Who the recipients of the local domains are, and where the mail of those in tables ends."""
        virtual = self.tables("virtual_alias_maps", "virtual")
        hop = next_hop_of(self.source.value("virtual_transport"))
        for name in DOMAIN_CLASSES:
            ours = [each for each in self.named(name) if each in self.local()]
            sections = [
                *(f"local.{json_text(each)}" for each in ours),
                *(f"hosted.{each}" for each in self.in_tables(name)),
            ]
            aliases = (
                [*self.tables("alias_maps", "aliases"), *virtual] if name == "mydestination" and sections else virtual
            )
            mailboxes = self._mailboxes(name) if sections else None
            for section in sections:
                self._set_recipients(section, aliases, mailboxes)
                if section.startswith("hosted") and name != "virtual_alias_domains" and hop and hop[0][:5] == "lmtp:":
                    self.source.made.set(section, "next_hop", hop[0])
        self.source.done("recipient_delimiter", "local.sub_address_delimiter")

    def _mailboxes(self, name: str) -> list[str] | None:
        """The mailboxes of a class of domains; None: every address has one, for all that Postfix says."""
        if name == "virtual_alias_domains":
            return []
        if name == "virtual_mailbox_domains":
            return self.tables("virtual_mailbox_maps", "mailboxes") or None
        self.source.made.set("table.system", "system_users", True)
        return ["system"]

    def _set_recipients(self, section: str, aliases: list[str], mailboxes: list[str] | None) -> None:
        delimiter = self.source.value("recipient_delimiter")
        if aliases:
            self.source.made.set(section, "aliases", aliases)
        if mailboxes is not None:
            self.source.made.set(section, "mailboxes", mailboxes)
        if delimiter != "+":
            self.source.made.set(section, "sub_address_delimiter", delimiter[:1])


def _has_endings(text: str, ending: Callable[[str], Ending]) -> bool:
    entries, _ = read_aliases(text, ending)
    return any(isinstance(target, Ending) for entry in entries.values() for target in entry)
