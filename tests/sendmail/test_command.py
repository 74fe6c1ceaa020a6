"""What becomes of messages: addresses, headers, content, DSN parameters, and how the command ends."""

import asyncio
import os
import pwd
import re
import sys
from email.header import decode_header, make_header
from pathlib import Path

import pytest

from letterlock.mail.addresses import parse_mailbox
from letterlock.mail.envelope import BodyType, Envelope
from letterlock.mail.wishes import Event, Ret
from letterlock.queue.store import StoreFailed
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from letterlock.sendmail.arguments import Arguments
from letterlock.sendmail.command import _Person
from letterlock.sendmail.settings import Settings, state_home
from letterlock.sendmail.unsent import keep
from tests.sendmail.running import HOSTNAME, desk, run, without_trace, write_config

USER = pwd.getpwuid(os.getuid()).pw_name
MESSAGE = b"From: ann@example.org\nTo: bob@example.net\nSubject: hi\n\nhello\n"


def recipients(envelope: Envelope) -> list[str]:
    return [str(each) for each in envelope.recipients]


async def test_a_line_of_text_becomes_a_message_with_all_that_rfc5322_3_6_demands(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("bob@example.net", stdin=b"hi\n")
        assert (ran.status, ran.out, ran.err) == (0, "", "")
        envelope, body = user.message()
    assert (str(envelope.reverse_path), recipients(envelope)) == (f"{USER}@{HOSTNAME}", ["bob@example.net"])
    header, _, text = body.partition(b"\r\n\r\n")
    assert text == b"hi\r\n"
    assert re.search(rb"^From: .*" + USER.encode() + rb"@host\.example\.org>?\r$", header, re.MULTILINE)
    assert re.search(rb"^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r$", header, re.MULTILINE)
    assert re.search(rb"^Message-ID: <\d{14}\.[0-9a-f]{16}@host\.example\.org>$", header, re.MULTILINE)


async def test_t_takes_recipients_from_the_header_and_removes_bcc(tmp_path: Path) -> None:
    message = (
        b'From: ann@example.org\nTo: "Bob, B." <bob@example.net>, root\n'
        b"Cc: friends: cat@example.net,\n dan@example.net;\n"
        b"Bcc: eve@example.net (hush),\n\t<mallory@example.net>\nSubject: s\n\ntext\n"
    )
    async with desk(tmp_path) as user:
        assert (await user.sendmail("-t", "-f", "ann@example.org", "zoe@example.net", stdin=message)).status == 0
        envelope, body = user.message()
    names = ["zoe", "bob", "cat", "dan", "eve", "mallory"]
    assert sorted(recipients(envelope)) == sorted([f"{each}@example.net" for each in names] + [f"root@{HOSTNAME}"])
    assert b"eve" not in body
    assert b"mallory" not in body
    assert b"Cc: friends: cat@example.net,\r\n dan@example.net;\r\nSubject: s\r\n\r\ntext\r\n" in body


async def test_rfc5322_3_6_6_a_message_sent_again_goes_to_whom_it_is_sent_again(tmp_path: Path) -> None:
    message = b"Resent-To: cat@example.net\nResent-Bcc: eve@example.net\n" + MESSAGE
    async with desk(tmp_path) as user:
        assert (await user.sendmail("-t", stdin=message)).status == 0
        envelope, body = user.message()
    assert recipients(envelope) == ["cat@example.net", "eve@example.net"]
    assert b"Resent-From: " in body
    assert b"Resent-Message-ID: <" in body
    assert b"Resent-Bcc" not in body
    assert b"To: bob@example.net\r\n" in body


async def test_as_cron_calls_it(tmp_path: Path) -> None:
    message = (
        b'From: "(Cron Daemon)" <root>\nTo: root\nSubject: Cron <root@host> job\nContent-Type: text/plain\n'
        b"X-Cron-Env: <SHELL=/bin/sh>\n\n 10%\r 50%\r100%\r\ndone\n"
    )
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root", stdin=message)
        assert (ran.status, ran.err) == (0, "")
        envelope, body = user.message()
    assert recipients(envelope) == [f"root@{HOSTNAME}"]
    assert body.endswith(b"\r\n\r\n 10%  50% 100%\r\ndone\r\n")


@pytest.mark.parametrize(
    ("options", "text"), [((), b"a\r\n"), (("-i",), b"a\r\n.\r\nb\r\n"), (("-oi",), b"a\r\n.\r\nb\r\n")]
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_a_lone_dot_ends_the_message_unless_it_is_told_not_to(
    tmp_path: Path, options: tuple[str, ...], text: bytes, end: bytes
) -> None:
    stdin = MESSAGE.replace(b"hello\n", b"a\n.\nb\n").replace(b"\n", end)
    async with desk(tmp_path) as user:
        assert (await user.sendmail(*options, "bob@example.net", stdin=stdin)).status == 0
        assert user.message()[1].endswith(b"Subject: hi\r\n\r\n" + text)


async def test_content_cannot_become_commands(tmp_path: Path) -> None:
    hostile = MESSAGE + b"\r\n.\r\nMAIL FROM:<x@example.org>\r\n\n.\r\r\n..\n.\n"
    async with desk(tmp_path) as user:
        assert (await user.sendmail("-i", "bob@example.net", stdin=hostile)).status == 0
        _, body = user.message()
    assert body.endswith(b"hello\r\n\r\n.\r\nMAIL FROM:<x@example.org>\r\n\r\n. \r\n..\r\n.\r\n")


async def test_lines_that_no_server_takes_are_broken(tmp_path: Path) -> None:
    stdin = b"Subject: hi\n\n" + b"x" * 3000 + b"\n"
    async with desk(tmp_path) as user:
        assert (await user.sendmail("bob@example.net", stdin=stdin)).status == 0
        _, body = user.message()
    text = body.partition(b"\r\n\r\n")[2]
    assert max(map(len, text.split(b"\r\n"))) == 998
    assert text.replace(b"\r\n ", b"") == b"x" * 3000 + b"\r\n"


async def test_dsn_parameters_and_body_type_reach_the_server(tmp_path: Path) -> None:
    options = ("-N", "failure,delay", "-R", "hdrs", "-V", "order 7+8", "-f", "ann@example.org")
    async with desk(tmp_path) as user:
        stdin = MESSAGE.replace(b"hello", "grüße".encode())
        assert (await user.sendmail(*options, "--", "bob@example.net", stdin=stdin)).status == 0
        envelope, _ = user.message()
    assert envelope.body_type is BodyType.EIGHT_BIT_MIME
    assert (envelope.wishes.ret, envelope.wishes.envid) == (Ret.HDRS, "order+207+2B8")
    (wishes,) = envelope.wishes.recipients.values()
    assert wishes.notify == frozenset({Event.FAILURE, Event.DELAY})


@pytest.mark.parametrize("sender", ["", "<>"])
async def test_the_null_reverse_path_is_an_empty_f(tmp_path: Path, sender: str) -> None:
    async with desk(tmp_path) as user:
        assert (await user.sendmail("-f", sender, "bob@example.net", stdin=b"hi\n")).status == 0
        envelope, body = user.message()
    assert envelope.reverse_path is None
    assert f"{USER}@{HOSTNAME}".encode() in body


async def test_the_full_name_stands_in_from_quoted_or_encoded(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        for name in ("Ann B. Clark", 'Ann "Bee" <x@y>', "Änn Šmíd, die Ältere"):
            ran = await user.sendmail("-F", name, "-f", "ann@example.org", "bob@example.net", stdin=b"hi\n")
            assert ran.status == 0
        found = [without_trace(body).split(b"\r\n")[0] for _, body in user.kept]
    assert found[0] == b'From: "Ann B. Clark" <ann@example.org>'
    assert found[1] == rb'From: "Ann \"Bee\" <x@y>" <ann@example.org>'
    assert found[2].isascii()
    assert str(make_header(decode_header(found[2].decode()))) == "From: Änn Šmíd, die Ältere <ann@example.org>"


async def test_an_ipv6_listener_and_a_wildcard_are_found(tmp_path: Path) -> None:
    async with desk(tmp_path, host="::1") as user:
        assert (await user.sendmail("bob@example.net", stdin=b"hi\n")).status == 0
        user.config.write_text(user.config.read_text().replace("[::1]", "[::]"))
        assert (await user.sendmail("bob@example.net", stdin=b"hi\n")).status == 0


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "told"),
    [
        ((), b"hi\n", 64, "no recipients"),
        (("-t",), b"hi\n", 64, "no recipients in To"),
        (("-t",), b"To: a@b <c\n\nhi\n", 65, "nothing was sent"),
        (("-Z", "bob@example.net"), b"", 64, "unknown option"),
        (("-f",), b"", 64, "needs a value"),
        (("-bd",), b"", 64, "letterlock serve"),
        (("-bt", "bob@example.net"), b"", 64, "not supported"),
        (("--frobnicate",), b"", 64, "unknown option"),
        (("-N", "often", "bob@example.net"), b"", 64, "-N is"),
        (("-R", "some", "bob@example.net"), b"", 64, "FULL, HDRS"),
        (("-V", "x\r\nRSET", "bob@example.net"), b"", 64, "printable ASCII"),
        (("-B", "BINARYMIME", "bob@example.net"), b"", 64, "7BIT, 8BITMIME"),
        (("-f", "a@b>\r\nRCPT TO:<x@y", "bob@example.net"), b"", 64, "nothing was sent"),
        (("-f", "a@b SIZE=1", "bob@example.net"), b"", 64, "nothing was sent"),
        (("-f", "a@b, c@d", "bob@example.net"), b"", 64, "one address"),
        (("bob@example.net>\r\nDATA",), b"", 64, "nothing was sent"),
        (("<>",), b"", 64, "no recipient"),
        (("-F", "x\nBcc: eve@example.net", "bob@example.net"), b"", 64, "control characters"),
        (("-f", "b\udcff@example.org", "bob@example.net"), b"hi\n", 64, "nothing was sent"),
    ],
)
async def test_what_is_wrong_is_told_and_nothing_is_sent(
    tmp_path: Path, arguments: tuple[str, ...], stdin: bytes, status: int, told: str
) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail(*arguments, stdin=stdin)
        assert (ran.status, ran.out) == (status, "")
        assert told in ran.err
        assert not user.kept
        assert not user.unsent()


async def test_rfc6531_addresses_beyond_ascii_are_handed_over(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-f", "jörg@example.org", "bøb@example.net", stdin="Subject: grüße\n\nhi\n".encode())
        assert (ran.status, ran.err) == (0, "")
        [(envelope, _)] = user.kept
        assert (str(envelope.reverse_path), *map(str, envelope.recipients)) == ("jörg@example.org", "bøb@example.net")
        assert envelope.smtputf8


async def test_a_message_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    async with desk(tmp_path, more="max_message_octets = 10_000\n") as user:
        ran = await user.sendmail("bob@example.net", stdin=b"x\n" * 5001)
    assert (ran.status, "larger than 10000" in ran.err) == (65, True)


async def test_rfc1870_a_message_larger_than_the_server_takes_is_not_sent(tmp_path: Path) -> None:
    async with desk(tmp_path, ReceiveOptions(hostname="mx.example.org", max_message_octets=2000)) as user:
        ran = await user.sendmail("bob@example.net", stdin=b"x\n" * 1001)
        assert (ran.status, "the server takes 2000" in ran.err) == (65, True)
        assert not user.unsent()


async def test_input_that_cannot_be_read_is_ex_noinput(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        script = "import os, sys; os.close(0); from letterlock.sendmail.command import main; sys.exit(main())"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            "bob@example.net",
            env={"LETTERLOCK_CONFIG": str(user.config), "HOME": str(tmp_path)},
        )
        assert await process.wait() == 66


async def test_without_a_server_the_message_is_kept_and_can_be_sent_later(tmp_path: Path) -> None:
    config = write_config(tmp_path, ("127.0.0.1", 1))
    arguments = ("-f", "ann@example.org", "-N", "never", "bob@example.net", "cat@example.net")
    ran = await run("command", *arguments, stdin=MESSAGE + b".dot\n", home=tmp_path, config=config)
    assert ran.status == 75
    (kept,) = (tmp_path / ".local" / "state" / "letterlock-unsent").iterdir()
    assert f"kept in {kept}; once the server has a drop directory, `letterlock-sendmail -q` sends it" in ran.err
    assert kept.stat().st_mode & 0o777 == 0o600
    async with desk(tmp_path) as user:
        again = await user.sendmail("-bs", stdin=kept.read_bytes())
        assert (again.status, again.err) == (0, "")
        envelope, body = user.message()
    assert recipients(envelope) == ["bob@example.net", "cat@example.net"]
    assert body.endswith(b"hello\r\n.dot\r\n")


async def test_a_store_that_fails_for_now_leaves_the_message_with_its_user(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        user.world.store.fault = StoreFailed("disk full")
        ran = await user.sendmail("bob@example.net", stdin=b"hi\n")
        assert ran.status == 75
        assert len(user.unsent()) == 1


async def test_a_message_that_cannot_be_kept_is_said_to_be_the_users_own(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("in the way")
    config = write_config(tmp_path, ("127.0.0.1", 1))
    ran = await run("command", "bob@example.net", stdin=MESSAGE, home=tmp_path, config=config)
    assert (ran.status, "could not be kept either" in ran.err) == (75, True)


async def test_a_refused_recipient_is_named_and_the_others_get_the_message(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("bob@example.net", "x@-.-", "cat@example.net", stdin=MESSAGE)
        envelope, _ = user.message()
        assert not user.unsent()
    assert ran.status == 67
    assert "not sent to x@-.-: the server says 501 5.1.3" in ran.err
    assert "sent to bob@example.net, cat@example.net\n" in ran.err
    assert recipients(envelope) == ["bob@example.net", "cat@example.net"]


async def test_relaying_that_is_denied_is_ex_noperm(tmp_path: Path) -> None:
    async with desk(tmp_path, profile=Profile(relay_networks=())) as user:
        assert (await user.sendmail("bob@example.net", stdin=MESSAGE)).status == 77


async def test_rfc5321_4_5_3_1_10_more_recipients_than_a_transaction_takes_go_in_several(tmp_path: Path) -> None:
    async with desk(tmp_path, ReceiveOptions(hostname="mx.example.org", max_recipients=3)) as user:
        names = [f"u{number}@example.net" for number in range(8)]
        assert (await user.sendmail(*names, stdin=MESSAGE)).status == 0
        assert [recipients(envelope) for envelope, _ in user.kept] == [names[:3], names[3:6], names[6:]]


async def test_v_shows_the_session_but_not_the_content(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-v", "bob@example.net", stdin=MESSAGE)
    assert "> RCPT TO:<bob@example.net>\n< 250 2.1.5 Ok\n> DATA\n< 354" in ran.err
    assert "hello" not in ran.err


async def test_options_without_effect_are_said_to_have_none(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-q30m")
        assert (ran.status, "queue retry --all" in ran.err) == (0, True)
        assert (await user.sendmail("-bi")).status == 0
        ran = await user.sendmail("-Xlog", "-G", "-U", "-d1.2", "-h", "3", "bob@example.net", stdin=MESSAGE)
        assert (ran.status, "-X has no effect" in ran.err) == (0, True)


async def test_an_mbox_line_return_path_and_text_that_looks_like_none(tmp_path: Path) -> None:
    stdin = b"From ann Mon Jan  1 00:00:00 2024\nReturn-Path: <x@y>\n" + MESSAGE
    async with desk(tmp_path) as user:
        assert (await user.sendmail("bob@example.net", stdin=stdin)).status == 0
        assert (await user.sendmail("bob@example.net", stdin=b"two words: no field\n")).status == 0
        first, second = (without_trace(body) for _, body in user.kept)
    assert b"From ann" not in first
    assert b"Return-Path" not in first
    assert second.endswith(b"\r\n\r\ntwo words: no field\r\n")


async def test_one_odd_address_does_not_stop_the_others(tmp_path: Path) -> None:
    """Input 30."""
    stdin = b"From: ann@example.org\nTo: Ann :-( <ann@y.example>\nCc: b@y.example\n\nhi\n"
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-t", stdin=stdin)
        envelope, _ = user.message()
    assert recipients(envelope) == ["b@y.example"]
    assert ran.status == 65
    assert 'not sent: a comment without its end in "Ann :-( <ann@y.example>"' in ran.err
    assert "sent to b@y.example" in ran.err


async def test_of_a_list_all_that_can_be_read_are_sent_to(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("a@x.example, <b@y.example> <c@y.example>, d@@x, e@x.example", stdin=MESSAGE)
        envelope, _ = user.message()
    assert recipients(envelope) == ["a@x.example", "e@x.example"]
    assert ran.status == 64
    assert ran.err.count("not sent: ") == 2


async def test_bv_asks_the_server_and_sends_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-bv", "root", "x@-.-", "bøb@example.net")
        assert not user.kept
    assert ran.status == 67
    assert ran.out.splitlines()[0] == f"root@{HOSTNAME}... deliverable"
    assert ran.out.splitlines()[1].startswith("x@-.-... not accepted: 501 5.1.3")
    assert ran.out.splitlines()[2] == "bøb@example.net... deliverable"


@pytest.mark.parametrize(("option", "text"), [("--version", "letterlock-sendmail "), ("--help", "usage: ")])
async def test_long_options_print_and_do_nothing_else(tmp_path: Path, option: str, text: str) -> None:
    ran = await run("command", option, stdin=b"", home=tmp_path, config=None)
    assert (ran.status, ran.out.startswith(text)) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-FCronDaemon", "-i", "-B8BITMIME", "-oem"),  # Vixie cron
        ("-i", "-FCronDaemon", "-oem"),  # cronie
        ("-i", "-f", "ann@example.org", "--"),  # git send-email, mutt
        ("-oem", "-oi", "-F", "mutt", "-N", "failure", "-R", "hdrs", "--"),  # mutt with DSN
        ("-i", "-v"),  # s-nail
        ("-oi", "-odq", "-om", "-oAaliases"),  # old scripts
        ("-Q", "-Qheld", "-D", "/dev/null", "-L", "tag", "-p", "SMTP:host", "-h", "0", "-n", "-U", "-x"),
        ("-Am", "-Ac", "-G", "-e", "m", "-d0.1", "-O", "DeliveryMode=b", "-bm"),
    ],
)
async def test_as_other_programs_call_it(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail(*arguments, "bob@example.net", stdin=MESSAGE)
        assert ran.status == 0
        assert recipients(user.message()[0]) == ["bob@example.net"]


@pytest.mark.parametrize("option", ["-bh", "-bH", "-bP", "-bi", "-I"])
async def test_what_only_sendmail_has_to_do_is_done_at_once(tmp_path: Path, option: str) -> None:
    assert (await run("command", option, stdin=b"", home=tmp_path, config=None)).status == 0


@pytest.mark.parametrize(
    ("name", "sender"),
    [
        (None, f"uid{os.getuid()}@h.example"),
        ("ann", "ann@h.example"),
        ("ann@corp.example", "ann@corp.example"),
        ("CORP\\ann", '"CORP\\\\ann"@h.example'),
        ("ann smith", '"ann smith"@h.example'),
    ],
)
def test_every_user_has_an_address(monkeypatch: pytest.MonkeyPatch, name: str | None, sender: str) -> None:
    """A user of a container may be a number, and one of a Windows domain has a backslash in the name."""

    def found(uid: int) -> pwd.struct_passwd:
        if name is None:
            raise KeyError(uid)
        return pwd.struct_passwd((name, "x", uid, 0, "", "/", "/bin/sh"))

    monkeypatch.setattr(pwd, "getpwuid", found)
    person = _Person(Arguments(), "h.example")
    assert person.sender == person.address == sender
    assert str(parse_mailbox(sender)) == sender


def test_a_user_without_a_home_has_no_folder_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` that cannot be expanded is no directory to make."""

    def nobody(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert state_home() is None
    with pytest.raises(OSError, match="no home"):
        keep(b"message")
    assert Settings({}, "").queue_directory() == "/var/lib/letterlock"
    assert Settings({}, "").drop_directories() == ["/var/lib/letterlock-drop"]
