"""Recipients of local domains: who exists, and where aliases lead."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.addresses import parse_mailbox
from letterlock.recipients.alias_file import read_aliases
from letterlock.recipients.directory import MAX_DEPTH, MAX_MEMBERS, Directory, Expansion, LocalDomain, TableFailed
from letterlock.recipients.targets import Entry


@dataclass
class Dict:
    """A table in memory; raises for keys in `broken`."""

    entries: Mapping[str, Entry]
    name: str = "aliases"
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def find(self, key: str) -> Entry | None:
        self.asked.append(key)
        if key in self.broken:
            raise TableFailed("the database does not answer")
        return self.entries.get(key)


def table(text: str, name: str = "aliases") -> Dict:
    entries, bad = read_aliases(text)
    assert not bad
    return Dict(entries, name)


def expand(
    address: str, aliases: str = "", mailboxes: str | None = None, *, settings: LocalDomain | None = None
) -> Expansion:
    made = settings or LocalDomain(
        aliases=(table(aliases),) if aliases else (),
        mailboxes=None if mailboxes is None else (table(mailboxes, "mailboxes"),),
    )
    return asyncio.run(Directory({"example.org": made}).expand(parse_mailbox(address)))


def members(found: Expansion) -> list[str]:
    return [str(member.address) for member in found.members]


def test_without_tables_everybody_exists() -> None:
    assert members(expand("ann@example.org")) == ["ann@example.org"]


def test_an_unknown_recipient_is_unknown() -> None:
    found = expand("eve@example.org", mailboxes="ann\nbob\n")
    assert not found.known
    assert members(found) == []


def test_a_mailbox_is_known_by_name_and_by_address() -> None:
    assert expand("Ann@example.org", mailboxes="ann\n").known
    assert expand("bob@example.org", mailboxes="bob@example.org\n").known
    assert not expand("bob@example.org", mailboxes="bob@example.net\n").known


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("root@example.org", ["ann@example.org", "bob@example.net"]),
        ("ROOT@example.org", ["ann@example.org", "bob@example.net"]),
        ("info@example.org", ["ann@example.org", "bob@example.net"]),
        ("sales+2026@example.org", ["carl@example.net"]),
        ("sales+eu@example.org", ["dora@example.net"]),
        ("self@example.org", ["self@example.org", "copy@example.net"]),
        ("final@example.org", ["root@example.org"]),
    ],
)
def test_aliases5_entries_lead_on(address: str, expected: list[str]) -> None:
    aliases = """
# comment
root:   ann,
        bob@example.net
info:   root
sales:  carl@example.net
sales+eu: dora@example.net
self:   self, copy@example.net
final:  \\root
"""
    assert members(expand(address, aliases, "ann\n")) == expected


def test_virtual5_addresses_and_the_rest_of_a_domain() -> None:
    aliases = "info@example.org  ann@example.net\n@example.org  rest@example.net\n"
    assert members(expand("info@example.org", aliases, "bob\n")) == ["ann@example.net"]
    assert members(expand("bob@example.org", aliases, "bob\n")) == ["bob@example.org"]
    assert members(expand("any@example.org", aliases, "bob\n")) == ["rest@example.net"]


def test_a_catch_all_comes_last() -> None:
    settings = LocalDomain(
        aliases=(table("info: ann"),), mailboxes=(table("ann"),), catch_all=parse_mailbox("all@example.net")
    )
    assert members(expand("info@example.org", settings=settings)) == ["ann@example.org"]
    assert members(expand("nobody@example.org", settings=settings)) == ["all@example.net"]


def test_rfc5233_sub_addresses_are_kept_or_stripped() -> None:
    kept = LocalDomain(mailboxes=(table("ann"),))
    stripped = LocalDomain(mailboxes=(table("ann"),), strips_sub_addresses=True)
    off = LocalDomain(mailboxes=(table("ann"),), delimiter="")
    assert members(expand("ann+x@example.org", settings=kept)) == ["ann+x@example.org"]
    assert members(expand("ann+x@example.org", settings=stripped)) == ["ann@example.org"]
    assert not expand("ann+x@example.org", settings=off).known


def test_a_list_with_an_owner_has_a_reverse_path_of_its_own() -> None:
    aliases = "team: ann, bob@example.net\nowner-team: ann\n"
    found = expand("team@example.org", aliases, "ann\n")
    assert {str(member.owner) for member in found.members} == {"owner-team@example.org"}
    assert [str(each) for each in found.members[1].through] == ["team@example.org"]
    assert expand("owner-team@example.org", aliases, "ann\n").members[0].owner is None


def test_each_member_gets_one_copy() -> None:
    aliases = "all: team, ann, bob@example.net\nteam: ann, bob@example.net, bob@EXAMPLE.NET\n"
    assert members(expand("all@example.org", aliases, "ann\n")) == ["ann@example.org", "bob@example.net"]


@pytest.mark.parametrize("aliases", ["a: b\nb: a\n", "a: b\nb: c\nc: b\n", "a:\n"])
def test_a_circle_without_an_end_is_a_failure_and_not_a_silent_loss(aliases: str) -> None:
    with pytest.raises(TableFailed, match="nobody, or in a circle"):
        expand("a@example.org", aliases, "")


def test_refusals_and_discarding_are_entries() -> None:
    refused = expand("old@example.org", "old: error:550 5.1.6 She has moved\n").refused
    assert refused is not None
    assert (refused.code, refused.status, refused.text) == (550, "5.1.6", "She has moved")
    found = expand("noreply@example.org", "noreply: /dev/null\n")
    assert found.discards
    assert members(found) == []


def test_a_table_that_fails_is_never_an_unknown_recipient() -> None:
    broken = Dict({}, broken={"ann@example.org"})
    for settings in (LocalDomain(aliases=(broken,)), LocalDomain(mailboxes=(broken,))):
        with pytest.raises(TableFailed, match="does not answer"):
            expand("ann@example.org", settings=settings)


def test_depth_and_size_are_bounded() -> None:
    deep = "".join(f"a{number}: a{number + 1}\n" for number in range(MAX_DEPTH + 5))
    with pytest.raises(TableFailed, match="more than"):
        expand("a0@example.org", deep, "")
    halves = (", ".join(f"m{number}@example.net" for number in range(at, at + 6000)) for at in (0, 6000))
    wide = "big: one, two\n" + "".join(f"{name}: {half}\n" for name, half in zip(("one", "two"), halves, strict=True))
    with pytest.raises(TableFailed, match=str(MAX_MEMBERS)):
        expand("big@example.org", wide, "")


def test_what_is_unknown_behind_an_alias_stays_for_the_next_hop_to_refuse() -> None:
    assert members(expand("info@example.org", "info: gone\n", "ann\n")) == ["gone@example.org"]


def test_a_lookup_is_explained() -> None:
    found = expand("info@example.org", "info: ann\n", "ann\n")
    assert [(str(each.address), each.table, each.key) for each in found.looked] == [
        ("info@example.org", "aliases", "info"),
        ("ann@example.org", "mailboxes", "ann"),
    ]


NAMES = st.sampled_from("abcdefgh")


@given(st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=4), max_size=8), NAMES)
def test_every_graph_of_aliases_ends(graph: dict[str, list[str]], start: str) -> None:
    aliases = "".join(f"{name}: {', '.join(targets)}\n" for name, targets in graph.items())
    try:
        found = expand(f"{start}@example.org", aliases, "x\n") if aliases else expand(f"{start}@example.org")
    except TableFailed:
        return
    assert len(members(found)) == len(set(members(found)))
    assert len(found.looked) <= len(graph) + 8
