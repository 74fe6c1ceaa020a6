"""The TXT record by RFC 8461 section 3.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.txt_records import Slip
from letterlock.mtasts import InvalidSTSRecord, NoSTSRecord, StsRecord, find_id


@pytest.mark.parametrize(
    ("record", "policy_id"),
    [
        (b"v=STSv1; id=20160831085700Z;", "20160831085700Z"),
        (b"v=STSv1; id=20160831085700Z", "20160831085700Z"),
        (b"v=STSv1;id=a", "a"),
        (b"v=STSv1;\tid=a \t;\t ", "a"),
        (b"v=STSv1; id=" + b"A" * 32, "A" * 32),
        (b"v=STSv1; new.field-1_x=anything/at:all; id=7;", "7"),
        (b"v=STSv1; id=1; id=2;", "1"),
        (b"v=STSv1; ID=x; id=2;", "2"),
        (b"v=STSv1 ; id=1;", "1"),
        (b"v=STSv1 \t; id=1", "1"),
    ],
)
def test_rfc8461_3_1_a_valid_record_gives_its_id(record: bytes, policy_id: str) -> None:
    assert find_id([[record]]) == StsRecord(policy_id)


def test_rfc8461_3_1_strings_of_one_record_are_joined_without_spaces() -> None:
    assert find_id([[b"v=STS", b"v1; id=20", b"16"]]) == StsRecord("2016")
    assert find_id([[b"v=STSv1; id=20", b" 16"]]) != StsRecord("2016")


@pytest.mark.parametrize(
    "records",
    [
        [],
        [[b""]],
        [[]],
        [[b"v=spf1 -all"]],
        [[b" v=STSv1; id=1;"]],
        [[b"V=STSv1; id=1;"]],
        [[b"v=stsv1; id=1;"]],
        [[b"v=STSv11; id=1;"]],
        [[b"v=STSv1"]],
        [[b"v=STSv2; id=1;"]],
        [[b"id=1; v=STSv1;"]],
    ],
)
def test_rfc8461_3_1_what_does_not_begin_as_it_must_does_not_count(records: list[list[bytes]]) -> None:
    assert isinstance(find_id(records), NoSTSRecord)
    assert find_id([*records, [b"v=STSv1; id=1;"]]) == StsRecord("1")


@pytest.mark.parametrize(
    ("record", "slip"),
    [
        (b"v=STSV1; id=1;", Slip.CASE),
        (b"V=STSv1; id=1;", Slip.CASE),
        (b"v=STSv1", Slip.SEMICOLON),
        (b"v=STSv1 id=1", Slip.SEMICOLON),
        (b"v=STSv1, id=1", Slip.SEMICOLON),
        (b" v=STSv1; id=1;", Slip.BLANKS),
        (b"v=STSv1; id=1; ", None),
        (b"v = STSv1; id=1;", Slip.BLANKS),
        (b"v=STS v1; id=1;", Slip.BLANKS),
        (b'"v=STSv1; id=1;"', Slip.QUOTES),
        (b"\xe2\x80\x9cv=STSv1; id=1;\xe2\x80\x9d", Slip.QUOTES),
        (b"v=STSv2; id=1;", None),
        (b"v=STSv10; id=1;", None),
        (b"v=STSv1.1; id=1;", None),
        (b"v=spf1 -all", None),
        (b"google-site-verification=abc", None),
        (b"", None),
    ],
)
def test_a_record_that_is_nearly_one_is_told_of(record: bytes, slip: Slip | None) -> None:
    found = find_id([[b"v=spf1 -all"], [record]])
    near = found.nearly if isinstance(found, NoSTSRecord) else None
    assert (near.slip if near is not None else None) is slip
    assert near is None or str(near).isprintable()


def test_rfc8461_3_1_two_records_are_no_policy() -> None:
    found = find_id([[b"v=STSv1; id=1;"], [b"v=STSv1; id=1;"]])
    assert found == InvalidSTSRecord("2 TXT records begin with v=STSv1; where one may")


@pytest.mark.parametrize(
    "record",
    [
        b"v=STSv1;",
        b"v=STSv1;;",
        b"v=STSv1; other=1;",
        b"v=STSv1; id=;",
        b"v=STSv1; id=2016-08-31;",
        b"v=STSv1; id=" + b"A" * 33,
        b"v=STSv1; id=a=b",
        b"v=STSv1; id=a b",
        b"v=STSv1; id =1",
        b"v=STSv1; id= 1",
        b"v=STSv1; id=1;;",
        b"v=STSv1; id=1; broken",
        b"v=STSv1; id=1; " + b"n" * 33 + b"=1",
        b"v=STSv1; id=1; .n=1",
        b"v=STSv1; id=1; n=\x07",
        b"v=STSv1; id=1; n=\xc3\xa9",
        b"v=STSv1; id=\xd9\xa1",
        b"v=STSv1; id=1\n",
        b"v=STSv1; id=;id=1",
    ],
)
def test_rfc8461_3_1_a_record_against_the_grammar_is_no_policy(record: bytes) -> None:
    found = find_id([[record]])
    assert isinstance(found, InvalidSTSRecord)
    assert found.detail.isprintable()
    assert len(found.detail) < 200


@given(st.lists(st.lists(st.binary(max_size=60), max_size=3), max_size=3), st.booleans())
def test_any_octets_are_a_record_or_not(records: list[list[bytes]], begun: bool) -> None:
    if begun:
        records = [[b"v=STSv1;", *strings] for strings in records]
    found = find_id(records)
    if isinstance(found, StsRecord):
        assert found.id.isascii()
        assert found.id.isalnum()
        assert 1 <= len(found.id) <= 32
