"""`letterlock check-mail`: its options, statuses and streams, against the lab's DNS."""

from pathlib import Path

import pytest

from letterlock.lab.box import running_box
from letterlock.lab.scenarios import Attack
from tests.cli.running import asking, letterlock

MESSAGE = "From: Ann <ann@dane-ee.test>\nSubject: Hello\n\nHi\n"


@pytest.fixture
def message(tmp_path: Path) -> Path:
    path = tmp_path / "message.eml"
    path.write_text(MESSAGE)
    return path


async def test_a_message_of_a_domain_without_records(message: Path) -> None:
    async with running_box(Attack.NONE) as box:
        options = ("--client", "192.0.2.7", "--from", "ann@dane-ee.test", "--helo", "mx.dane-ee.test")
        ran = await letterlock("check-mail", message, *options, *asking(box))
        data = (await letterlock("check-mail", message, *options, "--json", *asking(box))).data
    assert ran.status == 0
    assert ran.out.startswith("From: dane-ee.test   would be ACCEPTED, for its author's domain has no DMARC policy\n")
    assert "dane-ee.test publishes no SPF record" in ran.out
    assert (data["dmarc"]["result"], data["dmarc"]["reason"], data["dmarc"]["security"]) == (
        "none",
        "no-record",
        "secure",
    )
    assert [each["result"] for each in data["spf"]] == ["none", "none"]


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (MESSAGE, ("--helo", "a.test"), "need --client"),
        (MESSAGE, ("--client", "192.0.2.7"), "no Return-Path field"),
        (MESSAGE, ("--client", "192.0.2.7", "--from", "<>"), "name it with --helo"),
        (MESSAGE, ("--client", "nowhere"), "is not an IP address"),
        ("X: y\n" * 20_000, (), "more than 10000 fields"),
        ("", (), "no header field"),
        ("\n", (), "no header field"),
        ("\n\nFrom: a@b.test\n", (), "no header field"),
        ("no field\nat all\n\nFrom: a@b.test\n", (), "no header field"),
        ("\x00" * 5_000, (), "no header field"),
        (MESSAGE.encode("utf-16").decode("latin-1"), (), "no header field"),
    ],
)
async def test_mistakes_are_named(tmp_path: Path, content: str, options: tuple[str, ...], words: str) -> None:
    path = tmp_path / "message.eml"
    path.write_text(content)
    ran = await letterlock("check-mail", path, *options)
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err


NOWHERE = ("--upstream", "127.0.0.1:1", "--timeout", "1")
DATE = "Mon Jan  1 00:00:00 2024"
TWO = f"From ann@dane-ee.test {DATE}\n{MESSAGE}\nFrom b@x.test {DATE}\nFrom: b@x.test\n"


@pytest.mark.parametrize(
    ("content", "author", "note"),
    [
        (MESSAGE, "dane-ee.test", ""),
        (MESSAGE.replace("\n", "\r\n"), "dane-ee.test", ""),
        (MESSAGE.rstrip("\n"), "dane-ee.test", ""),
        ("From : ann@dane-ee.test\n\n", "dane-ee.test", ""),
        (TWO.partition("\nFrom b@")[0], "dane-ee.test", "an mbox of one message"),
        (TWO, "dane-ee.test", "an mbox of several messages; the first one is checked"),
        (TWO.replace("\n", "\r\n"), "dane-ee.test", "an mbox of several messages; the first one is checked"),
        (MESSAGE + "From here on\n", "dane-ee.test", ""),
        ("\ufeffX: y\n" + MESSAGE, "dane-ee.test", "a line that is no field"),
        (MESSAGE.replace("\n", "\r"), "unreadable", "a CR without LF"),
    ],
)
async def test_files_as_programs_write_them(tmp_path: Path, content: str, author: str, note: str) -> None:
    path = tmp_path / "message.eml"
    path.write_bytes(content.encode())
    ran = await letterlock("check-mail", path, *NOWHERE)
    assert ran.status == (1 if author == "unreadable" else 3)
    assert ran.out.startswith(f"From: {author}   would be ACCEPTED, ")
    notes = [line for line in ran.err.splitlines() if line.startswith("note: ")]
    assert len(notes) == bool(note)
    assert note in "".join(notes)


async def test_what_cannot_be_found_out_has_a_status_of_its_own(message: Path) -> None:
    ran = await letterlock("check-mail", message, "--upstream", "127.0.0.1:1", "--timeout", "1")
    assert ran.status == 3
