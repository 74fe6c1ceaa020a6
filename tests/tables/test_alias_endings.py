"""Commands and Maildirs in files of aliases: what may stand there, who may write the file, and that mail gets there."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.deliver.apart import attempt_whole
from letterlock.mail.addresses import Mailbox, parse_mailbox
from letterlock.mail.wishes import NO_WISHES
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.recipients.directory import MAX_LOCAL_PART_OCTETS, Directory, LocalDomain, TableFailed, ending_address
from letterlock.recipients.site import UNKNOWN, LocalSite
from letterlock.recipients.targets import BadEntry, Ending, parse_targets
from letterlock.routing.local_targets import CommandHop, Maildir
from letterlock.tables.alias_endings import CHANGED, AllowedEndings, LookedUpPlaces, why_untrusted
from letterlock.tables.file_table import AliasFileTable, read_file
from tests.deliver.test_lmtp import kinds, routed
from tests.deliver.world import BODY, OPTIONS, make_task

ALL = AllowedEndings(commands=True, maildirs=True)
ANN = Mailbox("ann", "example.org")


def reads(text: str, allowed: AllowedEndings = ALL) -> object:
    """What one target is read as, in a file of ours."""
    entry = parse_targets(text, lambda word: allowed._read(word, None))
    assert len(entry) == 1
    assert isinstance(entry[0], Ending)
    return entry[0].place


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("|/usr/bin/vacation ann", ("/usr/bin/vacation", "ann")),
        ('"|/usr/bin/vacation ann"', ("/usr/bin/vacation", "ann")),
        ('|"/usr/bin/vacation ann"', ("/usr/bin/vacation", "ann")),
        ('| "/usr/bin/vacation -a x, y ann"', ("/usr/bin/vacation", "-a", "x,", "y", "ann")),
        ('"|/usr/bin/vacation -s \\"a, b\\" ann"', ("/usr/bin/vacation", "-s", "a, b", "ann")),
        ("\"|/usr/bin/vacation -s '$5 & more' ann\"", ("/usr/bin/vacation", "-s", "$5 & more", "ann")),
    ],
)
def test_a_command_as_postfix_and_opensmtpd_write_it(text: str, argv: tuple[str, ...]) -> None:
    assert reads(text) == CommandHop(argv)
    assert reads(text, replace(ALL, user="nobody")) == CommandHop(argv, user="nobody")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("|vacation ann", "begins with the whole path"),
        ("|", "begins with the whole path"),
        ("|/bin/cat > /tmp/x", "there is no shell"),
        ("|/bin/true || exit 75", "there is no shell"),
        ('"|/bin/echo \\"$EXTENSION\\""', "there is no shell"),
        ("|/bin/echo `id`", "there is no shell"),
        ("|/bin/echo 'open", "not closed"),
        ("/var/mail/archive", "a Maildir ends with a slash, /var/mail/archive/"),
        ("/var/mail/{local}/", "nothing stands for a part"),
        ("/var/../etc/", "no . and no"),
    ],
)
def test_what_would_mean_something_else_elsewhere_is_a_mistake(text: str, why: str) -> None:
    with pytest.raises(BadEntry, match=why):
        reads(text)


@pytest.mark.parametrize(
    ("text", "allowed", "key"),
    [
        ("|/bin/x", replace(ALL, commands=False), "allow_commands"),
        ("/m/", replace(ALL, maildirs=False), "allow_maildirs"),
    ],
)
def test_nothing_is_allowed_unless_it_is_said(text: str, allowed: AllowedEndings, key: str) -> None:
    with pytest.raises(BadEntry, match=key):
        reads(text, allowed)


@given(st.text(max_size=200))
def test_any_text_is_a_place_or_a_bad_entry(text: str) -> None:
    for beginning in ("|", "/"):
        try:
            place = ALL._read(beginning + text, None).place
        except BadEntry:
            continue
        assert isinstance(place, CommandHop | Maildir)


@pytest.mark.parametrize(
    ("mode", "owner", "why"), [(0o664, 0, "others may"), (0o646, 0, "others may"), (0o644, 65534, "user 65534")]
)
async def test_a_file_that_others_may_write_lets_mail_wait(tmp_path: Path, mode: int, owner: int, why: str) -> None:
    """It does not lose the entry: the sender is put off until the file is right again."""
    path = tmp_path / "aliases"
    path.write_text("ann: |/bin/true\nbob: ann@example.net\n")
    path.chmod(mode)
    os.chown(path, owner, -1)
    site = LocalSite(Directory({"example.org": domain(AliasFileTable("aliases", path, Ticks(), ALL))}))
    with pytest.raises(TableFailed, match=why):
        await site.refusal(ANN, 0.0)
    assert await site.refusal(Mailbox("bob", "example.org"), 0.0) is None, "addresses are no danger"
    path.chmod(0o644)
    os.chown(path, 0, -1)
    assert await site.refusal(ANN, 0.0) is None, "a change of the mode is noticed like one of the text"


def test_an_included_file_runs_nothing(tmp_path: Path) -> None:
    """Who keeps a list need not be root."""
    (tmp_path / "team").write_text("bob@example.net\n|/bin/true\n/var/mail/x/\n")
    (tmp_path / "aliases").write_text(f"team: :include:{tmp_path}/team\n")
    content = read_file(tmp_path / "aliases", ALL)
    assert content.entries["team"] == (parse_mailbox("bob@example.net"),)
    assert [each.number for each in content.bad] == [2, 3]


class Ticks:
    """A clock that goes on by more than the time between two looks at a file."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 2.0
        return self.seconds


def domain(table: AliasFileTable) -> LocalDomain:
    return LocalDomain(aliases=(table,), mailboxes=(), has_endings=bool(table.allowed))


def world(directory: Path, aliases: str) -> LocalSite:
    """A site whose aliases may lead to commands; `$` in them is the directory, where scripts and Maildirs are."""
    script = directory / "script"
    script.write_text(
        f'#!/bin/sh\necho "$RECIPIENT:$EXTENSION:$1" >> {directory}/ran\ncat >> {directory}/ran\nexit ${{2:-0}}\n'
    )
    script.chmod(0o755)
    path = directory / "aliases"
    path.write_text(aliases.replace("$", str(directory)))
    path.chmod(0o644)
    return LocalSite(Directory({"example.org": domain(AliasFileTable("aliases", path, Ticks(), ALL))}))


async def members(site: LocalSite, recipient: str) -> tuple[Mailbox, ...]:
    groups = await site.groups(ANN, (parse_mailbox(recipient),), NO_WISHES, 0.0)
    return tuple(each for group in groups for each in group.recipients)


async def deliver(site: LocalSite, recipients: Sequence[Mailbox], directory: Path) -> Attempt:
    (directory / "all").mkdir(exist_ok=True)
    usual = Maildir(f"{directory}/all/{{local}}", create=True)
    options = replace(OPTIONS, aliases=LookedUpPlaces(site.directory))
    return await attempt_whole(make_task(*recipients), BODY, ports=routed(usual), options=options)


async def test_a_mailbox_a_command_and_a_maildir_behind_one_alias(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    site = world(tmp_path, 'ann: \\ann, "|$/script vacation", $/archive/, "|$/script second"\n')
    found = await members(site, "ann+news@example.org")
    assert [str(each) for each in found] == [
        *("ann@example.org", "ann+news|1@example.org", "ann+news|2@example.org", "ann+news|3@example.org"),
    ]
    made = await deliver(site, found, tmp_path)
    assert kinds(made) == [OutcomeKind.DELIVERED] * 4
    assert [each.recipient for each in made.outcomes] == list(found)
    assert list((tmp_path / "archive/new").iterdir())
    assert list((tmp_path / "all/ann/new").iterdir())
    ran = (tmp_path / "ran").read_text()
    assert "ann+news@example.org:news:vacation\nReturn-Path" in ran
    assert "ann+news@example.org:news:second\nReturn-Path" in ran
    assert ran.count("Delivered-To: ann+news@example.org\n") == 2


async def test_what_becomes_of_a_command_counts_for_its_recipient_only(tmp_path: Path) -> None:
    site = world(tmp_path, 'ann: "|$/script a 75", "|$/script b 67", bob@example.org\n@example.org: \\x\n')
    found = await members(site, "ann@example.org")
    made = await deliver(site, found, tmp_path)
    assert kinds(made) == [OutcomeKind.DEFERRED, OutcomeKind.FAILED, OutcomeKind.DELIVERED]


async def test_no_client_names_a_command(tmp_path: Path) -> None:
    """A rule about ann@ could be got round by her other name, and a catch-all would take it."""
    site = world(tmp_path, "ann: |$/script\n@example.org: bob@example.net\n")
    for text in ("ann|1@example.org", "ann|9@example.org", "zoe|1@example.org", '"a b|1"@example.org'):
        assert await site.refusal(parse_mailbox(text), 0.0) == UNKNOWN
    assert await site.refusal(parse_mailbox("ann|x@example.org"), 0.0) is None, "a usual address for the catch-all"


async def test_the_queue_names_what_stands_in_the_file_now(tmp_path: Path) -> None:
    """An entry that has gone fails, one that may not be run now waits, and another command is the one that runs."""
    site = world(tmp_path, "ann: |$/script old\n")
    waiting = await members(site, "ann@example.org")
    world(tmp_path, "ann: bob@example.net\n")
    gone = (await deliver(site, waiting, tmp_path)).outcomes[0]
    assert (gone.kind, gone.status, gone.text) == (OutcomeKind.FAILED, "5.1.1", CHANGED)
    world(tmp_path, "ann: |$/script new\n")
    (tmp_path / "aliases").chmod(0o666)
    held = (await deliver(site, waiting, tmp_path)).outcomes[0]
    assert (held.kind, held.status) == (OutcomeKind.DEFERRED, "4.3.5")
    assert "chmod go-w" in held.text
    (tmp_path / "aliases").chmod(0o644)
    assert kinds(await deliver(site, waiting, tmp_path)) == [OutcomeKind.DELIVERED]
    assert "ann@example.org::new" in (tmp_path / "ran").read_text()


def test_the_name_of_an_ending_is_an_address_and_not_too_long() -> None:
    assert str(ending_address(Mailbox('"odd name"', "example.org"), 2)) == '"odd name|2"@example.org'
    for local in ("ann", '"odd name"', "a" * (MAX_LOCAL_PART_OCTETS - 2)):
        address = ending_address(Mailbox(local, "example.org"), 1)
        assert parse_mailbox(str(address)) == address
    with pytest.raises(TableFailed, match="too long"):
        ending_address(Mailbox("a" * (MAX_LOCAL_PART_OCTETS - 1), "example.org"), 1)


def test_a_file_of_the_servers_user_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "aliases"
    path.write_text("")
    path.chmod(0o644)
    with path.open() as file:
        assert why_untrusted(file.fileno()) is None
