"""A short slice of the comparison with dnspython; the long run is `python -m tests.fuzz.rdata_fuzz`."""

from tests.fuzz.rdata_fuzz import SAMPLES, compare, run


def test_rfc4034_6_2_records_are_read_as_dnspython_reads_them() -> None:
    assert {compare(kind, octets, b"") for kind, octets in SAMPLES} == {"read"}


def test_rfc3597_damaged_records_are_read_as_dnspython_reads_them_or_stay_opaque() -> None:
    ended = run(1_500, 1)
    assert ended["read"]
    assert ended["refused"]
