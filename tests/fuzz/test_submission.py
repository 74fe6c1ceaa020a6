"""Short slices of the fuzzers of logins, addresses, aliases and filters; each is `python -m tests.fuzz.NAME_fuzz`."""

from tests.fuzz import address_fuzz, alias_fuzz, filter_fuzz, sasl_fuzz


def test_logins_end_as_documented() -> None:
    ended = sasl_fuzz.run(3000, 20261127)
    assert {"scram: accepted", "scram: refused", "session: logged in", "client: not proven"} <= set(ended)


def test_addresses_are_what_a_second_reader_takes() -> None:
    ended = address_fuzz.run(3000, 20261127)
    assert {"mailbox: accepted", "command: MAIL", "command: RCPT", "srs: came back"} <= set(ended)


def test_aliases_are_read_and_lead_somewhere() -> None:
    ended = alias_fuzz.run(2000, 20261127)
    assert {"file: good", "file: mistakes", "expand: expanded", "expand: failed", "targets: refused"} <= set(ended)


def test_filters_cannot_break_a_message() -> None:
    ended = filter_fuzz.run(2000, 20261127)
    assert {"milter: queued", "milter: 451", "policy: queued", "answer: refused", "frames: read"} <= set(ended)
