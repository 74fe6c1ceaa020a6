"""The format of segments: what is read back, whatever became of the file."""

from pathlib import Path

from letterlock.store.segments.records import (
    Damage,
    RecordKind,
    SegmentRecord,
    encode_opening,
    encode_record,
    read_octets,
    read_segment,
)

SALT = b"saltsalt"
CONTENT = b"Subject: one\r\n\r\nHello\r\n"


def record(
    kind: RecordKind = RecordKind.ACCEPTED, note: bytes = b"note", content: bytes = CONTENT, salt: bytes = SALT
) -> bytes:
    return b"".join(encode_record(salt, kind, note, content))


def segment(path: Path, *records: bytes) -> Path:
    path.write_bytes(encode_opening(SALT) + b"".join(records))
    return path


def notes(path: Path) -> list[bytes | Damage]:
    return [each.note if isinstance(each, SegmentRecord) else each for each in read_segment(path)]


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = segment(tmp_path / "1", record(note=b"one"), record(RecordKind.DONE, b"two", b""))
    first, second = read_segment(path)
    assert isinstance(first, SegmentRecord)
    assert isinstance(second, SegmentRecord)
    assert (first.kind, first.note, second.kind, second.note) == (RecordKind.ACCEPTED, b"one", RecordKind.DONE, b"two")
    with path.open("rb") as file:
        assert read_octets(file.fileno(), first.content_at, first.content_octets) == CONTENT


def test_what_was_being_written_when_the_power_went_is_left_out_wherever_it_ends(tmp_path: Path) -> None:
    whole, last = record(note=b"one"), record(note=b"two")
    for cut in range(len(last)):
        path = segment(tmp_path / "1", whole, last[:cut])
        assert notes(path) == [b"one"], f"cut after {cut} octets"


def test_a_file_that_was_made_longer_but_not_written_has_no_record_there(tmp_path: Path) -> None:
    assert notes(segment(tmp_path / "1", record(note=b"one"), bytes(10_000))) == [b"one"]


def test_an_octet_that_changed_damages_its_own_record_and_no_other(tmp_path: Path) -> None:
    first, second = record(note=b"one"), record(note=b"two")
    for place in range(len(first)):
        damaged = bytearray(first)
        damaged[place] ^= 0x40
        found = notes(segment(tmp_path / "1", bytes(damaged), second))
        assert [type(each) for each in found] == [Damage, bytes], f"octet {place}"
        assert found[1] == b"two"


def test_a_damaged_opening_damages_the_segment_and_is_told(tmp_path: Path) -> None:
    path = segment(tmp_path / "1", record())
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert notes(path) == [Damage(0)]


def test_an_empty_or_unfinished_opening_holds_nothing(tmp_path: Path) -> None:
    for octets in range(len(encode_opening(SALT))):
        path = tmp_path / "1"
        path.write_bytes(encode_opening(SALT)[:octets])
        assert notes(path) == []


def test_a_content_that_looks_like_records_is_never_taken_for_any(tmp_path: Path) -> None:
    """Somebody sends records in a message, and then a sector of it goes bad."""
    forged = record(RecordKind.ACCEPTED, b"forged", salt=b"guessed!") + record(
        RecordKind.DONE, b"real", b"", salt=b"guessed!"
    )
    carrier = bytearray(record(note=b"carrier", content=forged))
    carrier[40] ^= 1
    found = notes(segment(tmp_path / "1", bytes(carrier), record(note=b"real")))
    assert [each for each in found if not isinstance(each, Damage)] == [b"real"]


def test_lengths_beyond_the_file_are_damage_and_read_nothing(tmp_path: Path) -> None:
    long = encode_record(SALT, RecordKind.ACCEPTED, b"note", bytes(1000))[0]
    assert notes(segment(tmp_path / "1", long)) == []
