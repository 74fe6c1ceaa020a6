"""The archive of a queue: what is written is read again, and nothing else is taken for it."""

import gzip
import hashlib
import io
import json
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from letterlock.admin.archive import ArchiveOrigin, ArchiveReader, ArchiveWriter, BadArchive

ORIGIN = ArchiveOrigin("20261126T000000Z-0123456789abcdef", 1795651200.0, "letterlock 1.2.3")
CONTENTS = {"M1": b"Subject: one\r\n\r\n1\r\n", "M2": b"\0\xff" * 40_000, "M3": b""}


def written(contents: dict[str, bytes], *, compressed: bool = False, damaged: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file, ORIGIN, compressed=compressed)
    for name, content in contents.items():
        document = json.dumps({"id": name}).encode()
        pieces = [content[at : at + 1000] for at in range(0, len(content), 1000)]
        writer.add(name, document, pieces, len(content), hashlib.sha256(content).hexdigest())
    writer.end(damaged or {})
    return file.getvalue()


class Pipe(io.BytesIO):
    """Bytes that can be read once, and in small pieces."""

    def read(self, octets: int | None = -1, /) -> bytes:
        return super().read(octets if octets is None else min(octets, 700))


def read(octets: bytes) -> dict[str, bytes]:
    found = {}
    for member in ArchiveReader(Pipe(octets)).messages():
        document, *content = member.pieces()
        assert json.loads(document) == {"id": member.id}
        found[member.id] = b"".join(content)
        assert len(found[member.id]) == member.octets
    return found


@pytest.mark.parametrize("compressed", [False, True])
def test_what_was_written_is_read(compressed: bool) -> None:
    octets = written(CONTENTS, compressed=compressed)
    assert ArchiveReader(Pipe(octets)).origin == ORIGIN
    assert read(octets) == CONTENTS
    assert octets.startswith(b"\x1f\x8b") is compressed


def test_an_empty_queue_is_an_archive_too() -> None:
    assert read(written({})) == {}


def test_other_programs_read_it_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "queue.tar").write_bytes(written(CONTENTS, damaged={"M9": "its content is missing"}))
    done = subprocess.run(["tar", "xpf", "queue.tar"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert {name: (tmp_path / f"{name}.eml").read_bytes() for name in CONTENTS} == CONTENTS
    assert (tmp_path / "M1.eml").stat().st_mode & 0o777 == 0o600
    end = json.loads((tmp_path / "end.json").read_text())
    assert end == {"messages": 3, "octets": 80_019, "damaged": 1, "damage": {"M9": "its content is missing"}}


def test_an_archive_that_was_cut_short_anywhere_is_not_whole() -> None:
    octets = written({"M1": b"x" * 3000, "M2": b"y"})
    end = octets.rindex(b"}") + 1  # what follows is padding
    for length in (*range(0, end, 97), end - 1):
        with pytest.raises(BadArchive):
            read(octets[:length])
    packed = written(CONTENTS, compressed=True)
    for length in range(0, len(packed), 31):
        try:
            found = read(packed[:length])
        except BadArchive:
            continue
        assert found == CONTENTS, "only padding is missing"
        assert length > len(packed) * 0.9


def test_whatever_precedes_the_damage_is_read() -> None:
    octets = written({"M1": b"x" * 3000, "M2": b"y" * 3000})
    messages = ArchiveReader(Pipe(octets[: octets.index(b"y" * 100) + 100])).messages()
    assert next(messages).id == "M1"
    with pytest.raises(BadArchive, match="cut short"):
        next(messages)


def test_no_changed_byte_of_a_message_goes_unnoticed() -> None:
    octets, chance = written({"M1": b"x" * 3000, "M2": b"y" * 3000}), random.Random(7)
    for content in (b'{"id": "M1"}', b"x" * 3000, b"y" * 3000):
        changed = bytearray(octets)
        changed[octets.index(content) + chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        with pytest.raises(BadArchive):
            read(bytes(changed))


def test_random_damage_ends_in_a_word_about_it_or_does_not_matter() -> None:
    octets, chance = written({"M1": b"x" * 300, "M2": b"y" * 300}), random.Random(11)
    for _ in range(600):
        changed = bytearray(octets)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        try:
            found = read(bytes(changed))
        except BadArchive:
            continue
        assert found == {"M1": b"x" * 300, "M2": b"y" * 300}


def member(name: str, octets: bytes, kind: bytes = tarfile.REGTYPE, comment: str | None = None) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type = len(octets), kind
    made.pax_headers = {"comment": comment or "sha256:" + hashlib.sha256(octets).hexdigest()}
    return made


def packed(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, octets in members:
            tar.addfile(member(name, octets), io.BytesIO(octets))
    return file.getvalue()


FIRST = (
    "letterlock-queue.json",
    json.dumps({"format": "letterlock-queue", "version": 1, "archive": "A", "made_at": 0, "made_by": "x"}).encode(),
)
END = "end.json", b'{"messages": 0, "octets": 0}'


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([], "not an archive"),
        ([("etc/passwd", b"x")], "does not begin with"),
        ([("letterlock-queue.json", b"{}")], "does not describe"),
        ([("letterlock-queue.json", b"[" * 100_000)], "letterlock-queue.json"),
        ([("letterlock-queue.json", b'{"format": "letterlock-queue", "version": 2}')], "install a later one"),
        ([FIRST], "its end is missing"),
        ([FIRST, ("../../etc/cron.d/x.json", b"{}"), END], "not of a message"),
        ([FIRST, ("M1.eml", b"x"), END], "not of a message"),
        ([FIRST, ("M1.json", b"{}"), END], "not followed by its content"),
        ([FIRST, ("M1.json", b"{}"), ("M2.eml", b"x"), END], "not followed by its content"),
        ([FIRST, ("M1.json", b'{"id": "M1"}'), ("M1.eml", b""), END], "1 messages were found"),
        ([FIRST, ("end.json", b"7")], "not an object"),
    ],
)
def test_what_is_no_archive_is_refused(members: list[tuple[str, bytes]], words: str) -> None:
    with pytest.raises(BadArchive, match=words):
        read(packed(*members))


def test_links_and_devices_are_no_messages() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member(*FIRST), io.BytesIO(FIRST[1]))
        link = member("M1.json", b"", tarfile.SYMTYPE)
        link.linkname = "/etc/shadow"
        tar.addfile(link)
    with pytest.raises(BadArchive, match="not a file"):
        read(file.getvalue())


@pytest.mark.parametrize(
    "octets", [b"", b"From: me\r\n\r\nhello\r\n", gzip.compress(b"x" * 5000, mtime=0), bytes(20_000)]
)
def test_another_file_is_refused(octets: bytes) -> None:
    with pytest.raises(BadArchive, match="not an archive"):
        read(octets)


def test_memory_does_not_grow_with_an_archive() -> None:
    writer = ArchiveWriter(io.BytesIO(), ORIGIN, compressed=False)
    reader = ArchiveReader(Pipe(written({f"M{number}": b"x" for number in range(300)})))
    for number in range(300):
        writer.add(f"M{number}", b"{}", [b"x"], 1, "0")
    for _ in reader.messages():
        assert len(vars(vars(reader)["_tar"])["members"]) <= 1
    assert not vars(vars(writer)["_tar"])["members"]
