"""Looks up recipients of local domains: which exist, and where aliases lead. Lookups are handed in; the rest is pure.

For `ann+news@example.org` the alias tables are asked, in their order, for `ann+news@example.org`, `ann@example.org`,
`ann+news` and `ann`; then the mailbox tables for the same; then the alias tables for `@example.org`; then there is the
domain's catch-all. The first entry counts, and what it leads to within local domains is looked up in the same way.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from letterlock.mail.addresses import Mailbox
from letterlock.recipients.targets import Discard, Ending, Entry, Include, Name, RefusalEntry, Target

MAX_DEPTH = 20  # aliases behind one another: real ones have two or three
MAX_MEMBERS = 10_000  # addresses that one recipient may become: a list of that size has a program of its own
POSTMASTER = "postmaster"  # RFC 5321 section 4.5.1: it exists in every domain
OWNER = "owner-"  # before the name of a list: to whom its bounces go
MAX_LOCAL_PART_OCTETS = 64  # RFC 5321 section 4.5.3.1.1
_ENDING = re.compile(r'(.*)\|([0-9]{1,5})("?)', re.DOTALL)


class TableFailed(Exception):
    """A table could not be asked, or what it says cannot be used; `str()` says why. Not the same as "no entry"."""


class RecipientTable(Protocol):
    """Entries by key: a file, a database, another program."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    async def find(self, key: str) -> Entry | None:
        """The entry for `local@domain`, `local` or `@domain`, in lower case; None: none. Raises TableFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDomain:
    """What is known of the recipients of one domain. `mailboxes` None: every address has one.

    `place`: where its mail ends, for delivery; None: routes say it.
    `has_endings`: aliases may lead to commands and Maildirs.
    `delimiter` divides a local part from what its owner may add to it (RFC 5233); "": nobody may add anything. With
    `strips_sub_addresses`, mail for a mailbox goes on without it.
    """

    aliases: tuple[RecipientTable, ...] = ()
    mailboxes: tuple[RecipientTable, ...] | None = None
    catch_all: Mailbox | None = None
    delimiter: str = "+"
    strips_sub_addresses: bool = False
    has_endings: bool = False
    place: object | None = None


class Domains(Protocol):
    """Domains that a table has, so that one more needs no reload."""

    @property
    def table(self) -> RecipientTable:
        """Where they are."""

    async def have(self, domain: str) -> bool:
        """Whether a domain (lower-case A-labels) is among them. Raises TableFailed."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One step of an explanation: what was looked up, where it was found ("" in no table), and what it leads to."""

    address: Mailbox
    table: str
    key: str
    targets: Entry
    is_mailbox: bool = False


@dataclass(frozen=True, slots=True)
class ExpandedAddress:
    """An address that mail goes to. `through`: the aliases that led there, the recipient first.

    `owner`: the reverse-path for it, where a list on the way has an owner; the last such list counts.
    `ending`: what the address stands for, a command or a Maildir of an alias.
    """

    address: Mailbox
    through: tuple[Mailbox, ...] = ()
    owner: Mailbox | None = None
    ending: Ending | None = None


@dataclass(slots=True)
class Expansion:
    """What a recipient stands for. `known`: it is an alias or has a mailbox.

    `refused` if an entry refuses mail; then nothing else counts. `discards`: an entry throws mail away.
    """

    known: bool = False
    members: list[ExpandedAddress] = field(default_factory=list)
    refused: RefusalEntry | None = None
    discards: bool = False
    looked: list[Looked] = field(default_factory=list)


class Directory:
    """The local domains and their recipients."""

    def __init__(self, domains: Mapping[str, LocalDomain], hosted: Sequence[tuple[Domains, LocalDomain]] = ()) -> None:
        """Take domains by their names, as lower-case A-labels; `hosted` are those that tables have, in order."""
        self._domains = dict(domains)
        self._hosted = tuple(hosted)

    @property
    def tables(self) -> tuple[RecipientTable, ...]:
        """The tables of all domains, each once."""
        found = {each.name: each for domain in self._all() for each in (*domain.aliases, *(domain.mailboxes or ()))}
        return tuple(found.values())

    def _all(self) -> Iterator[LocalDomain]:
        yield from self._domains.values()
        yield from (settings for _, settings in self._hosted)

    async def settings(self, domain: str) -> LocalDomain | None:
        """What is known of a domain; None: it is not local. A table that fails is not "not local": TableFailed."""
        if (named := self._domains.get(domain)) is not None:
            return named
        for domains, settings in self._hosted:
            if await domains.have(domain):
                return settings
        return None

    async def has(self, domain: str) -> bool:
        """Whether a domain is local. Raises TableFailed."""
        return await self.settings(domain) is not None

    @property
    def has_endings(self) -> bool:
        """Whether aliases of some domain may lead to commands or Maildirs."""
        return any(domain.has_endings for domain in self._all())

    @property
    def has_places(self) -> bool:
        """Whether it says of some domain where its mail ends."""
        return any(domain.place is not None for domain in self._all())

    def alias_domain(self, table: RecipientTable) -> str | None:
        """The first domain that has a table among its aliases; None: none has."""
        return next((name for name, each in self._domains.items() if table in each.aliases), None)

    async def names_ending(self, recipient: Mailbox) -> bool:
        """Whether an address has the form of those by which mail waits for an ending; nobody sends to these."""
        domain = await self.settings(recipient.domain)
        return domain is not None and domain.has_endings and _ENDING.fullmatch(recipient.local_part) is not None

    async def ending(self, recipient: Mailbox) -> "tuple[Mailbox, Ending | None] | None":
        """The alias and its ending that an address stands for, as `ending_address` has made it.

        None: the address is a usual one. Without an ending: the alias has changed since. Raises TableFailed.
        """
        settings, found = await self.settings(recipient.domain), _ENDING.fullmatch(recipient.local_part)
        if settings is None or not settings.has_endings or found is None:
            return None
        alias = Mailbox(found[1] + found[3], recipient.domain)
        looked = await _entry(settings, Mailbox(alias.local_part.lower(), alias.domain))
        endings = [] if looked is None else [each for each in looked.targets if isinstance(each, Ending)]
        number = int(found[2])
        return alias, endings[number - 1] if 1 <= number <= len(endings) else None

    async def expand(self, recipient: Mailbox) -> Expansion:
        """Follow aliases to their ends. Raises TableFailed, for a loop without an end too."""
        walk = _Walk(self)
        await walk.follow(ExpandedAddress(recipient), is_first=True)
        found = walk.found
        if found.known and not (found.members or found.refused or found.discards):
            raise TableFailed(f"the aliases of {recipient} lead to nobody, or in a circle")
        return found


class _Walk:
    """One expansion: depth first, each address once."""

    def __init__(self, directory: Directory) -> None:
        self.found = Expansion()
        self._directory = directory
        self._seen: set[Mailbox] = set()
        self._added: set[Mailbox] = set()

    async def follow(self, member: ExpandedAddress, *, is_first: bool = False) -> None:
        address, settings = member.address, await self._directory.settings(member.address.domain)
        if settings is None:
            self._add(member)
            return
        folded = Mailbox(address.local_part.lower(), address.domain)
        if folded in self._seen:
            return
        self._seen.add(folded)
        if len(member.through) > MAX_DEPTH:
            raise TableFailed(f"more than {MAX_DEPTH} aliases lead to {address}")
        looked = await _entry(settings, folded)
        if looked is None and not is_first:
            self._add(member)  # delivery finds no such user, and the sender is notified
            return
        if looked is None:
            self.found.looked.append(Looked(address, "", "", ()))
            return
        self.found.known = True
        self.found.looked.append(Looked(address, looked.table, looked.key, looked.targets, looked.is_mailbox))
        if looked.is_mailbox:
            self._add(replace(member, address=_mailbox(settings, address)))
            return
        owner = await _owner(settings, folded) or member.owner
        here = ExpandedAddress(address, (*member.through, address), owner)
        endings = 0
        for target in looked.targets:
            if isinstance(target, Ending):
                endings += 1
                self._end(target, endings, here)
            else:
                await self._go_on(target, here)

    def _end(self, target: Ending, number: int, here: ExpandedAddress) -> None:
        """At a command or a Maildir: it is looked up again when mail is delivered, so that no command is queued."""
        if target.place is None:
            raise TableFailed(f"{here.address}: {target.why}")
        self._add(replace(here, address=ending_address(here.address, number), ending=target))

    async def _go_on(self, target: Target, here: ExpandedAddress) -> None:
        """To one target of the alias at `here.address`."""
        match target:
            case Mailbox():
                await self._to(target, here)
            case Name(local_part, is_final):
                address = Mailbox(local_part, here.address.domain)
                if is_final:
                    self._seen.add(address)
                    self._add(replace(here, address=address))
                else:
                    await self._to(address, here)
            case RefusalEntry():
                self.found.refused = self.found.refused or target
            case Discard():
                self.found.discards = True
            case Include(path):
                raise TableFailed(f":include:{path} is only read from files")
            case Ending(text):
                raise AssertionError(f"{text} has its turn elsewhere")

    async def _to(self, address: Mailbox, here: ExpandedAddress) -> None:
        if _same(address, here.address):  # `root: root, ann@example.net` means root's own mailbox
            self._add(replace(here, address=address, through=here.through[:-1]))
            return
        await self.follow(replace(here, address=address))

    def _add(self, member: ExpandedAddress) -> None:
        if len(self.found.members) >= MAX_MEMBERS:
            raise TableFailed(f"more than {MAX_MEMBERS} addresses")
        self.found.known = True
        if member.address not in self._added:
            self._added.add(member.address)
            self.found.members.append(member)


def ending_address(alias: Mailbox, number: int) -> Mailbox:
    """The address by which mail for an alias's command or Maildir waits in the queue: `ann|1@example.org`.

    It refers to an entry of the table and is no command itself: an attacker who forges one reaches only what mail to
    the alias reaches anyway. Raises TableFailed.
    """
    local = alias.local_part
    whole = f'{local[:-1]}|{number}"' if local.endswith('"') else f"{local}|{number}"
    if len(whole.encode()) > MAX_LOCAL_PART_OCTETS:
        raise TableFailed(f"{alias} is too long for an alias that leads to a command")
    return Mailbox(whole, alias.domain)


@dataclass(frozen=True, slots=True)
class _Found:
    table: str
    key: str
    targets: Entry
    is_mailbox: bool = False


async def _entry(settings: LocalDomain, address: Mailbox) -> _Found | None:
    """The entry that counts for an address; None: nobody has it."""
    keys = list(_keys(settings, address))
    if found := await _first(settings.aliases, keys):
        return found
    if settings.mailboxes is None:
        return _Found("", "", (), is_mailbox=True)
    if found := await _first(settings.mailboxes, keys):
        return replace(found, is_mailbox=True)
    if found := await _first(settings.aliases, [f"@{address.domain}"]):
        return found
    if settings.catch_all is not None:
        return _Found("", "catch_all", (settings.catch_all,))
    return None


async def _first(tables: Sequence[RecipientTable], keys: Sequence[str]) -> _Found | None:
    for table in tables:
        for key in keys:
            entry = await table.find(key)
            if entry is not None:
                return _Found(table.name, key, entry)
    return None


def _keys(settings: LocalDomain, address: Mailbox) -> Iterator[str]:
    names = [address.local_part]
    base, delimiter, _ = address.local_part.partition(settings.delimiter) if settings.delimiter else ("", "", "")
    if base and delimiter:
        names.append(base)
    yield from (f"{name}@{address.domain}" for name in names)
    yield from names


async def _owner(settings: LocalDomain, alias: Mailbox) -> Mailbox | None:
    """`owner-NAME@domain`, if there is such an alias: to whom the bounces of a list go."""
    if alias.local_part.startswith(OWNER):
        return None
    owner = Mailbox(f"{OWNER}{alias.local_part}", alias.domain)
    found = await _first(settings.aliases, [str(owner), owner.local_part])
    return owner if found is not None else None


def _mailbox(settings: LocalDomain, address: Mailbox) -> Mailbox:
    if not settings.strips_sub_addresses or not settings.delimiter:
        return address
    base = address.local_part.partition(settings.delimiter)[0]
    return Mailbox(base, address.domain) if base else address


def _same(one: Mailbox, other: Mailbox) -> bool:
    return one.domain == other.domain and one.local_part.lower() == other.local_part.lower()
