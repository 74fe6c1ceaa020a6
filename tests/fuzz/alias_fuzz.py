"""Fuzz aliases: files, targets, and where they lead. `python -m tests.fuzz.alias_fuzz --cases N --seed S`.

A file is read to its end whatever is in it: entries that can be used, and lines that cannot, by number. An entry is
written again as it was read. Where aliases lead is found out in bounded work, for circles, lists and broken tables too:
an expansion, or TableFailed; nobody is lost, nobody is added, and what a message becomes keeps a reverse-path that can
be answered.
"""

import functools
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

from letterlock.mail.addresses import Mailbox, parse_mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import Event, RecipientWishes, Ret, Wishes
from letterlock.recipients.alias_file import read_aliases, read_members
from letterlock.recipients.directory import MAX_DEPTH, Directory, LocalDomain, TableFailed
from letterlock.recipients.site import LocalSite
from letterlock.recipients.srs import Srs
from letterlock.recipients.targets import (
    BadEntry,
    Discard,
    Ending,
    Entry,
    Include,
    Name,
    RefusalEntry,
    Target,
    no_ending,
    parse_targets,
)
from letterlock.routing.local_targets import CommandHop, Maildir
from letterlock.socketmap.netstrings import MAX_REPLY_OCTETS, BadNetstring, NetstringReader, netstring
from letterlock.socketmap.questions import BadReply, TemporaryReply, read_reply
from letterlock.store.envelopes import read_whole_envelope, write_envelope
from letterlock.tables.alias_endings import AllowedEndings
from tests.fuzz.address_fuzz import require_sound
from tests.fuzz.kinds import Case, command, damaged, joined, require_words
from tests.fuzz.kinds import run as run_kinds

NAMES = ("ann", "bob", "root", "list", "owner-list", "Ann", "a+x", '"q d"', "\\ann", "x" * 65, "\u00fcnal")
ENDINGS = AllowedEndings(commands=True, maildirs=True)
HERE, ALSO_HERE = "here.test", "also.test"
ELSEWHERE = (
    "ann@else.test",
    "b@b\u00fccher.example",
    '"a,b"@else.test',
    "a..b@else.test",
    "x@[192.0.2.1]",
    "ann@",
    "@",
    "a@b@c",
)
TARGETS = (
    *NAMES,
    *(f"{name}@{HERE}" for name in NAMES[:6]),
    *(f"{name}@{ALSO_HERE}" for name in NAMES[:6]),
    *ELSEWHERE,
    *(
        "/dev/null",
        ":blackhole:",
        ":fail: gone, really",
        "error:450 later",
        "error:550 4.1.1 x",
        "error:550 \u00e9",
        "error:",
    ),
    *(
        ":include:/etc/team",
        ":include:team",
        "|/bin/sh",
        '"|/bin/sh -c x"',
        '|"/bin/a \\"b, c\\" d"',
        "|/bin/a 'b; c'",
        "|/bin/a; /bin/b",
        "/var/mail/x/",
        "/var/mail/x",
        '"',
        '"a',
        "a b",
        "",
        " ",
        "\t",
    ),
)
LINES = (
    *(
        "# a comment",
        "",
        "   ",
        "\t# indented",
        "  continued, ann",
        "ann",
        "ann:",
        ":",
        "ann : bob",
        "@here.test bob",
        "\\",
        '"x y": ann',
    ),
    *(
        "ann: bob",
        "ann\tbob",
        "Ann: bob",
        "ann@here.test bob@else.test",
        "a:b:c",
        "ann bob carl",
        "\x0cann: bob",
        "\u2028: x",
    ),
)
NOW = 1_800_000_000.0
SRS = Srs((b"a secret",), "srs.test")
MAX_QUESTIONS = 4000  # of one expansion here: forty names, some ten keys each, and their owners
_Result = TypeVar("_Result")


def finished(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a coroutine that has nothing to wait for: an event loop would take most of the time."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: _Result = stop.value
        return result
    raise AssertionError("it waits")


def _targets(chance: random.Random) -> str:
    return ", ".join(chance.choices(TARGETS, k=chance.randrange(1, 5)))


def file_case(chance: random.Random) -> str:
    """A file."""
    lines = []
    for _ in range(chance.randrange(12)):
        if chance.random() < 0.5:
            lines.append(f"{chance.choice(NAMES)}{chance.choice((': ', ' ', ':'))}{_targets(chance)}")
        else:
            lines.append(chance.choice(LINES))
    text = chance.choice(("\n", "\n", "\r\n", "\r")).join(lines) + "\n"
    if chance.random() < 0.3:
        text = damaged(text.encode("utf-8", "surrogatepass"), chance).decode("utf-8", "replace")
    entries, bad = read_aliases(text)
    count = len(text.splitlines())
    assert all(1 <= line.number <= count and line.why.strip() for line in bad)
    for key, entry in entries.items():
        assert key == key.lower()
        _require_sound(entry)
    members, bad_members = read_members(text)
    assert all(1 <= line.number <= count for line in bad_members)
    _require_sound(members)
    return "mistakes" if bad else "good"


def _require_sound(entry: Entry) -> None:
    for target in entry:
        match target:
            case Mailbox():
                require_sound(target)
            case Name(local_part):
                require_sound(Mailbox(local_part, HERE))
            case RefusalEntry(text, code, status):
                assert str(code)[0] == status[0] in "45"
                assert len(str(Reply(code, (f"{status} {text}",)))) <= 510
                assert text.isascii()
                assert text.isprintable()
            case Include(path):
                assert path.startswith("/")
            case Ending(place=place):
                assert isinstance(place, CommandHop | Maildir)


def _written(target: Target) -> str:
    match target:
        case Mailbox():
            return f"\\{target}" if str(target)[0] in "|/" else str(target)  # else it would be a command or a file
        case Name(local_part, is_final):
            return "\\" + local_part if is_final else local_part
        case RefusalEntry(text, code, status):
            return f"error:{code} {status} {text}"
        case Include(path):
            return f":include:{path}"
        case Discard():
            return "/dev/null"
        case Ending(text):
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _ending(text: str) -> Ending:
    """As in a file that only root may write."""
    return ENDINGS._read(text, None)


def targets_case(chance: random.Random) -> str:
    """The right side of an alias: read, written, and read again."""
    text = (
        _targets(chance)
        if chance.random() < 0.8
        else joined(["a", '"', ",", "\\", "@", ":", "|", "/", " ", "error:"], chance, 9)
    )
    if chance.random() < 0.3:
        text = damaged(text.encode(), chance).decode("utf-8", "replace")
    ending = chance.choice((no_ending, _ending))
    try:
        entry = parse_targets(text, ending)
    except BadEntry as error:
        require_words(error)
        return "refused"
    _require_sound(entry)
    for target in entry:
        assert parse_targets(_written(target), ending) == (target,), target
    return "read"


# --- where they lead ---


class _Table:
    """Entries in memory; it counts what it is asked, and fails for the keys in `broken`."""

    name = "fuzz"

    def __init__(self, entries: dict[str, Entry], broken: set[str]) -> None:
        self.entries, self.broken, self.asked = entries, broken, 0

    async def find(self, key: str) -> Entry | None:
        self.asked += 1
        if key in self.broken:
            raise TableFailed("away")
        return self.entries.get(key)


def _entries(chance: random.Random) -> dict[str, Entry]:
    """Few names, so that they lead to one another."""
    names = [f"{stem}{number}" for stem in ("a", "owner-a") for number in range(chance.choice((3, 8, 30)))]
    made: dict[str, Entry] = {}
    for _ in range(len(names)):
        targets: list[Target] = []
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            name, domain = chance.choice(names), chance.choice((HERE, ALSO_HERE, "else.test"))
            targets.append(
                chance.choices(
                    (
                        Name(name),
                        Name(name, is_final=True),
                        Mailbox(name, domain),
                        RefusalEntry("no"),
                        Discard(),
                        Include("/x"),
                    ),
                    (6, 1, 8, 0.2, 0.2, 0.05),
                )[0]
            )
        key = chance.choice(names)
        made[chance.choice((key, f"{key}@{HERE}", f"@{HERE}"))] = tuple(targets)
    return made


def expand_case(chance: random.Random) -> str:
    """A recipient of a site whose aliases are tangled."""
    entries = _entries(chance)
    table = _Table(entries, set(chance.sample(list(entries), min(len(entries), chance.choice((0, 0, 0, 1))))))
    boxes = None if chance.random() < 0.4 else (_Table({f"a{n}": () for n in range(4)}, set()),)
    settings = LocalDomain(
        aliases=(table,),
        mailboxes=boxes,
        catch_all=chance.choice((None, Mailbox("a1", HERE), Mailbox("x", "else.test"))),
        delimiter=chance.choice(("+", "-", "")),
        strips_sub_addresses=chance.random() < 0.3,
    )
    site = LocalSite(Directory({HERE: settings, ALSO_HERE: settings}), chance.choice((None, SRS)))
    recipient = Mailbox(chance.choice(("a0", "a1+tag", "A2", "nobody", "owner-a1")), chance.choice((HERE, ALSO_HERE)))
    try:
        found = finished(site.directory.expand(recipient))
        refusal = finished(site.refusal(recipient, NOW))
    except TableFailed:
        return "failed"
    finally:
        assert table.asked <= MAX_QUESTIONS
    assert len({each.address for each in found.members}) == len(found.members)
    assert all(len(each.through) <= MAX_DEPTH + 1 for each in found.members)
    if refusal is not None:
        return "refused"
    _require_groups(site, recipient, {each.address for each in found.members}, chance)
    return "expanded"


def _require_groups(site: LocalSite, recipient: Mailbox, members: set[Mailbox], chance: random.Random) -> None:
    """The copies of a message have the members for recipients, all of them, each once in a group."""
    sender = chance.choice(
        (None, Mailbox("eve", "sender.test"), Mailbox("ann", HERE), Mailbox("x" * 64, "sender.test"))
    )
    wish = RecipientWishes(frozenset({Event.SUCCESS, Event.FAILURE}), "rfc822;a@b.test")
    wishes = Wishes(chance.choice((None, Ret.HDRS)), chance.choice((None, "id")), {recipient: wish})
    groups = finished(site.groups(sender, (recipient,), wishes, NOW))
    assert {each for group in groups for each in group.recipients} == (members or ({recipient} if groups else set()))
    for group in groups:
        assert group.reverse_path is None or sender is not None  # what has no sender gets none
        if group.reverse_path is not None:
            assert parse_mailbox(str(group.reverse_path)) == group.reverse_path
        if site.srs is not None and group.reverse_path is not None and site.srs.is_ours(group.reverse_path):
            assert site.srs.reverse(group.reverse_path, NOW) == sender
        envelope = Envelope(
            id="M1",
            reverse_path=group.reverse_path,
            recipients=group.recipients,
            size=1,
            accepted_at=1,
            expires_at=2,
            wishes=group.wishes,
            smtputf8=True,
        )
        assert read_whole_envelope(write_envelope(envelope)) == envelope


REPLIES = (
    b"OK ann, bob@else.test",
    b"OK ",
    b"OK",
    b"NOTFOUND ",
    b"TEMP try later",
    b"TIMEOUT ",
    b"PERM \x1b[2J no",
    b"OK \xff",
    b"ok x",
    b"",
    b"OK error:550 no",
    b"OK " + b"a," * 600,
)


def socketmap_case(chance: random.Random) -> str:
    """What a socketmap server answers, in pieces: what it means does not depend on how it was cut."""
    whole = netstring(chance.choice(REPLIES))
    whole = damaged(whole, chance) if chance.random() < 0.5 else whole
    ends = [_replies(whole, step) for step in (len(whole) or 1, chance.randrange(1, 9))]
    assert ends[0] == ends[1], whole
    if ends[0] is None:
        return "no netstring"
    for frame in ends[0]:
        try:
            text = read_reply(frame)
            _require_sound(() if text is None else parse_targets(text))
        except (BadReply, TemporaryReply, BadEntry) as error:
            require_words(error)
            return "refused"
    return "read" if ends[0] else "not whole"


def _replies(octets: bytes, step: int) -> list[bytes] | None:
    reader, found = NetstringReader(MAX_REPLY_OCTETS), list[bytes]()
    try:
        for at in range(0, len(octets), step):
            found += reader.feed(octets[at : at + step])
    except BadNetstring:
        return None
    return found


KINDS: dict[str, tuple[int, Case]] = {
    "file": (2, file_case),
    "targets": (3, targets_case),
    "expand": (3, expand_case),
    "socketmap": (2, socketmap_case),
}
run = functools.partial(run_kinds, KINDS)


if __name__ == "__main__":
    command(__doc__, KINDS)
