"""On which terms mail is sent: schedules, lifetimes, source addresses, concurrency, by route."""

import pytest

from letterlock.config import BadConfig, Options, parse, require_sources
from letterlock.net.sources import ANY_SOURCE, SourceAddresses
from letterlock.queue.settle import RetrySchedule
from letterlock.shares import share
from tests.config.test_reading import mistakes

ROUTES = """\
[queue]
retry_first_seconds = 600
retry_max_seconds = 3600
[delivery]
source_address = ["127.0.0.1", "::1"]
[route."*"]
next_hop = "relay.example.net"
max_concurrent = 20
[route."*.slow.example"]
next_hop = "relay.example.net"
max_concurrent = 5
retry_first_seconds = 1200
lifetime_seconds = 86400
source_address = ["127.0.0.2"]
[route."box.example"]
next_hop = "maildir:/var/mail/{local}"
retry_max_seconds = 900
"""


def read(text: str) -> Options:
    return parse(text, "letterlock.toml")


def test_the_postmaster_and_the_longest_line_are_settings_of_receiving() -> None:
    receive = read('[smtp]\npostmaster = "ops@example.org"\nmax_line_octets = 20000\n').receive
    assert (str(receive.postmaster), receive.max_text_line_octets) == ("ops@example.org", 20_000)
    assert read("").receive.postmaster is None


def test_a_postmaster_that_is_no_address_is_a_mistake() -> None:
    with pytest.raises(BadConfig, match="postmaster"):
        read('[smtp]\npostmaster = "ops"\n')


def test_without_a_word_the_schedule_is_the_queues_and_the_system_chooses_the_address() -> None:
    route_settings = read("").route_settings.of("example.org")
    assert route_settings.schedule == RetrySchedule(first_seconds=300, maximum_seconds=4000, lifetime_seconds=None)
    assert route_settings.source == ANY_SOURCE
    assert read("").route_settings.max_concurrent == {}


def test_a_route_has_terms_of_its_own_and_what_it_leaves_out_is_the_usual() -> None:
    route_settings = read(ROUTES).route_settings
    slow = route_settings.of("very.slow.example")
    assert slow.schedule == RetrySchedule(first_seconds=1200, maximum_seconds=3600, lifetime_seconds=86400)
    assert slow.source == SourceAddresses(ipv4="127.0.0.2")
    usual = route_settings.of("example.org")
    assert usual.schedule == RetrySchedule(first_seconds=600, maximum_seconds=3600, lifetime_seconds=None)
    assert usual.source == SourceAddresses(ipv4="127.0.0.1", ipv6="::1")


def test_where_mail_ends_here_there_is_a_schedule_and_no_source_address() -> None:
    box = read(ROUTES).route_settings.of("box.example")
    assert box.schedule.maximum_seconds == 900
    assert box.source == ANY_SOURCE


def test_of_several_routes_to_one_next_hop_the_lowest_concurrency_counts_and_workers_share_it() -> None:
    route_settings = read(ROUTES).route_settings
    assert route_settings.max_concurrent == {"relay.example.net": 5}
    assert share(route_settings, 2, 0).max_concurrent == {"relay.example.net": 3}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('["192.0.2.1", "192.0.2.2"]', "192.0.2.1 and 192.0.2.2 are both IPv4"),
        ('["::1", "2001:db8::1"]', "::1 and 2001:db8::1 are both IPv6"),
        ('["mx.example.org"]', "'mx.example.org' does not appear to be an IPv4 or IPv6 address"),
        ('["0.0.0.0"]', "0.0.0.0 is no address that a host can have"),
        ('["ff02::1"]', "ff02::1 is no address that a host can have"),
        ("[25]", "must be text in quotes, not 25"),
        ('"192.0.2.1"', 'must be a list of addresses, not "192.0.2.1"'),
    ],
)
@pytest.mark.parametrize("table", ["delivery", 'route."example.org"'])
def test_what_is_no_pair_of_addresses_is_a_mistake_at_its_place(value: str, words: str, table: str) -> None:
    next_hop = 'next_hop = "relay.example.net"\n' if table.startswith("route") else ""
    (mistake,) = mistakes(f"[{table}]\n{next_hop}source_address = {value}\n")
    assert mistake[1:3] == (f"{table}.source_address", words)
    assert mistake[0] == 2 + bool(next_hop)
    assert words.startswith("must be text") or mistake[3]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("[queue]\nretry_first_seconds = 5000\n", 1, "queue.retry_max_seconds"),
        ('[route."a.test"]\nnext_hop = "b.test"\nretry_max_seconds = 60\n', 3, 'route."a.test".retry_max_seconds'),
        ('[route."a.test"]\nnext_hop = "b.test"\nretry_first_seconds = 9000\n', 1, 'route."a.test".retry_max_seconds'),
        ('[route."a.test"]\nnext_hop = "b.test"\nlifetime_seconds = 864000\n', 3, 'route."a.test".lifetime_seconds'),
        ('[route."a.test"]\nnext_hop = "b.test"\nmax_concurrent = 0\n', 3, 'route."a.test".max_concurrent'),
        ('[route."a.test"]\nnext_hop = "b.test"\nretry_first_seconds = 0\n', 3, 'route."a.test".retry_first_seconds'),
        (
            '[route."a.test"]\nnext_hop = "lmtp:/run/lmtp"\nsource_address = ["127.0.0.1"]\n',
            3,
            'route."a.test".source_address',
        ),
    ],
)
def test_schedules_that_mean_nothing_are_told_with_a_hint(text: str, line: int, key: str) -> None:
    (mistake,) = mistakes(text)
    assert mistake[:2] == (line, key)
    assert mistake[3]


def test_a_route_ignores_extensions_of_its_own_or_the_usual_ones() -> None:
    route_settings = read(
        '[delivery]\nignore_ehlo = ["chunking"]\n'
        '[route."a.test"]\nnext_hop = "a.test"\nignore_ehlo = ["PIPELINING", "X-Odd"]\n'
        '[route."b.test"]\nnext_hop = "b.test"\nignore_ehlo = []\n'
        '[route."c.test"]\nnext_hop = "lmtp:/run/lmtp"\n'
    ).route_settings
    assert route_settings.of("example.org").ignore_ehlo == {"CHUNKING"}
    assert route_settings.of("a.test").ignore_ehlo == {"PIPELINING", "X-ODD"}
    assert route_settings.of("b.test").ignore_ehlo == frozenset()
    assert route_settings.of("c.test").ignore_ehlo == {"CHUNKING"}


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("STARTTLS", "STARTTLS cannot be ignored"),
        ("requiretls", "REQUIRETLS cannot be ignored"),
        ("", "'' is not a keyword of an EHLO reply"),
        ("SIZE 10", "'SIZE 10' is not a keyword of an EHLO reply"),
        ("-X", "'-X' is not a keyword of an EHLO reply"),
    ],
)
def test_what_protects_a_message_cannot_be_ignored(keyword: str, words: str) -> None:
    (mistake,) = mistakes(f'[delivery]\nignore_ehlo = ["{keyword}"]\n')
    assert mistake[2] == words
    assert mistake[3]


def test_a_maildir_has_no_extensions_to_ignore() -> None:
    (mistake,) = mistakes('[route."a.test"]\nnext_hop = "maildir:/v/{local}"\nignore_ehlo = ["CHUNKING"]\n')
    assert mistake[1] == 'route."a.test".ignore_ehlo'


def test_an_address_that_this_machine_does_not_have_is_told_with_its_line() -> None:
    text = ROUTES.replace('["127.0.0.2"]', '["192.0.2.1", "2001:db8::1"]')
    options = read(text)
    with pytest.raises(BadConfig) as caught:
        require_sources(options.source, options.sources)
    found = [(mistake.line, mistake.key, mistake.message) for mistake in caught.value.mistakes]
    key, line = 'route."*.slow.example".source_address', 14
    assert found == [
        (line, key, "mail cannot be sent from 192.0.2.1: Cannot assign requested address"),
        (line, key, "mail cannot be sent from 2001:db8::1: Cannot assign requested address"),
    ]
    assert caught.value.mistakes[0].hint


def test_addresses_that_it_has_are_fine() -> None:
    options = read(ROUTES)
    require_sources(options.source, options.sources)


BY_SENDER = """\
[sender_route."a.example"]
next_hop = "relay.example.net"
max_concurrent = 3
source_address = ["192.0.2.25"]
[sender_route."b.example"]
next_hop = "maildir:/var/mail/{local}"
"""


def test_a_route_by_sender_is_held_to_the_same_terms_as_any_other() -> None:
    [(line, key, message, _)] = mistakes(BY_SENDER + "retry_first_seconds = 900\nretry_max_seconds = 600\n")
    assert (line, key) == (8, 'sender_route."b.example".retry_max_seconds')
    assert message.startswith("is shorter than the first wait")
    options = read(BY_SENDER)
    assert options.route_settings.max_concurrent["relay.example.net"] == 3
    assert ('sender_route."a.example".source_address', 4) in {each[:2] for each in options.sources}
    with pytest.raises(BadConfig, match=r"mail cannot be sent from 192\.0\.2\.25"):
        require_sources("letterlock.toml", options.sources)
    assert [each.template for each in options.maildirs] == ["/var/mail/{local}"]
