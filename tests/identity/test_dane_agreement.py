"""OpenSSL's own DANE verification is the oracle; the full run is `python -m tests.identity.dane_agreement`."""

from tests.identity.dane_agreement import compare


def test_dane_agrees_with_openssl_or_a_section_says_why_it_is_stricter() -> None:
    compared = list(compare(range(1000)))
    assert [one for one in compared if not one.agrees and one.exception is None] == []


def test_the_random_cases_reach_every_outcome() -> None:
    compared = list(compare(range(200)))
    assert {(one.usable, one.accepted) for one in compared} == {(False, False), (True, False), (True, True)}
    assert len({one.kind for one in compared}) >= 5
