"""Rules and routes: what reaches the policy, and what is refused at its place."""

import pytest

from letterlock.config import parse
from letterlock.routing.destination_rule import MemoryMode, RuleException, TlsRule
from letterlock.routing.routes import NextHop, RelayHost
from tests.config.test_reading import mistakes

STRONG = """
[delivery]
mta_sts = false

[domain."bank.test"]
tls = "verify"
fingerprints = ["SHA256:AA:%s"]
minimum_version = "1.3"
mode = "audit"

[domain."old.test"]
tls = "require-tls"
exception = { reason = "renews next week", until = 2027-01-31, allow = "clear" }

[sender."secret.test"]
tls = "dane-only"
""".replace("%s", ":".join(["0f"] * 31))


def test_stronger_rules_reach_the_policy() -> None:
    options = parse(STRONG, "letterlock.toml")
    assert not options.mta_sts
    bank = options.rules.for_next_hop("bank.test")
    assert bank is not None
    assert bank.fingerprints == (bytes([0xAA] + [0x0F] * 31),)
    assert (bank.minimum_version, bank.audit, bank.exception) == ("TLSv1.3", True, None)
    old = options.rules.for_next_hop("old.test")
    assert old is not None
    assert old.exception == RuleException(allow_clear=True, why="renews next week", until=1801353600.0)
    secret = options.rules.for_message("any.test", "secret.test").rule
    assert secret is not None
    assert secret.tls is TlsRule.DANE_ONLY
    assert options.rules.for_message("any.test", "other.test").rule is None


def test_what_the_header_tls_required_no_may_do_is_written_by_rule_and_by_client() -> None:
    text = '[smtp]\ntls_required_no_networks = ["192.0.2.0/24"]\n[domain."a.test"]\ntls = "verify"\n'
    options = parse(text + 'tls_required_no = "lift"\n[domain."b.test"]\ntls = "verify"\n', "letterlock.toml")
    assert [str(each) for each in options.profiles[0].tls_required_no_networks or ()] == ["192.0.2.0/24"]
    lifted = [options.rules.for_message(name, None).rule for name in ("a.test", "b.test")]
    assert [each and each.lifted_by_header for each in lifted] == [True, False]
    assert parse("", "letterlock.toml").profiles[0].tls_required_no_networks is None


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        (
            '[domain."a.test"]\ntls = "may"\nminimum_version = "1.3"\n',
            (3, 'domain."a.test".minimum_version'),
            'minimum_version means nothing beside tls = "may"',
        ),
        (
            '[domain."a.test"]\ntls = "require-tls"\nminimum_version = "1.1"\n',
            (3, 'domain."a.test".minimum_version'),
            "unknown TLS version '1.1'; one of: 1.2, 1.3",
        ),
        (
            '[domain."a.test"]\ntls = "verify"\nfingerprints = ["aa"]\n',
            (3, 'domain."a.test".fingerprints[0]'),
            "'aa' is not a SHA-256 fingerprint",
        ),
        (
            f'[domain."a.test"]\ntls = "require-tls"\nfingerprints = ["{"00" * 32}"]\n',
            (3, 'domain."a.test".fingerprints'),
            'fingerprints means something only beside tls = "verify"',
        ),
        (
            '[sender."a.test"]\ntls = "verify"\nexception = { reason = "x", until = 2027-01-31 }\n',
            (3, 'sender."a.test".exception'),
            "exceptions are for next hops",
        ),
    ],
)
def test_a_rule_that_means_nothing_is_refused_at_its_place(text: str, at: tuple[int, str], message: str) -> None:
    [(line, key, said, _)] = mistakes(text)
    assert ((line, key), said) == (at, message)


def test_an_exception_has_a_reason_and_an_end() -> None:
    found = mistakes('[domain."a.test"]\ntls = "verify"\nexception = { allow = "clear" }\n')
    assert {key for _, key, _, _ in found} == {
        'domain."a.test".exception.reason',
        'domain."a.test".exception.until',
    }


ROUTES = """
[route."*"]
next_hop = "[relay.example.net]"
port = 587
tls = "verify"
names = ["smarthost.example.net"]
minimum_version = "1.2"

[route."*.Partner.test"]
next_hop = "Partner.test"
exception = { reason = "moving house", until = 2027-01-31 }

[route.".lab.test"]
next_hop = "[192.0.2.1]"
"""


def test_routes_reach_the_policy_with_their_rules_and_lines() -> None:
    rules = parse(ROUTES, "letterlock.toml").rules
    relay = rules.relay_for("any.example")
    assert relay is not None
    assert (relay.next_hop(25), relay.source) == (NextHop("relay.example.net", 587, is_host=True), "letterlock.toml:2")
    assert relay.rule is not None
    assert (relay.rule.tls, relay.rule.names) == (TlsRule.VERIFY, ("smarthost.example.net",))
    assert (relay.rule.minimum_version, relay.rule.source) == ("TLSv1.2", "letterlock.toml:2")
    assert relay.rule.trust is not None


def test_a_route_that_demands_nothing_has_no_rule() -> None:
    relay = parse(ROUTES, "letterlock.toml").rules.relay_for("a.lab.test")
    assert relay is not None
    assert (relay.next_hop(26), relay.rule) == (NextHop("[192.0.2.1]", 26), None)


def test_a_route_with_an_exception_alone_has_a_rule() -> None:
    relay = parse(ROUTES, "letterlock.toml").rules.relay_for("a.partner.test")
    assert relay is not None
    assert (relay.next_hop(25), relay.source) == (NextHop("partner.test"), "letterlock.toml:9")
    assert relay.rule is not None
    assert relay.rule.tls is TlsRule.MAY
    assert relay.rule.exception == RuleException(allow_clear=False, why="moving house", until=1801353600.0)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("relay.example.net", NextHop("relay.example.net")),
        ("Relay.Example.NET.", NextHop("relay.example.net")),
        ("bücher.example", NextHop("xn--bcher-kva.example")),
        ("[Relay.example.net]", NextHop("relay.example.net", is_host=True)),
        ("[192.0.2.1]", NextHop("[192.0.2.1]")),
        ("[IPv6:2001:db8::1]", NextHop("[ipv6:2001:db8::1]")),
    ],
)
def test_a_next_hop_is_a_domain_or_a_host_or_an_address(written: str, wanted: NextHop) -> None:
    relay = parse(f'[route."*"]\nnext_hop = "{written}"\n', "letterlock.toml").rules.relay_for("example.org")
    assert relay is not None
    assert relay.next_hop(25) == wanted


NEXT_HOPS = 'write "relay.example.net" (its MX hosts), "[relay.example.net]" (that host itself) or "[192.0.2.1]"'


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("", NEXT_HOPS),
        ("[]", NEXT_HOPS),
        ("*", NEXT_HOPS),
        ("relay..example", NEXT_HOPS),
        ("[relay.example.net", NEXT_HOPS),
        ("[IPv6:nonsense]", NEXT_HOPS),
        ("https://relay.example.net", NEXT_HOPS),
        ("192.0.2.1", 'write "[192.0.2.1]"'),
        ("2001:db8::1", 'write "[IPv6:2001:db8::1]"'),
        ("[2001:db8::1]", 'write "[IPv6:2001:db8::1]"'),
        ("relay.example.net:587", 'write next_hop = "relay.example.net" and port = 587'),
        ("[relay.example.net]:587", 'write next_hop = "[relay.example.net]" and port = 587'),
    ],
)
def test_a_wrong_next_hop_is_one_mistake_with_a_hint(written: str, hint: str) -> None:
    found = mistakes(f'[route."a.test"]\nport = 25\nnext_hop = "{written}"\n')
    assert found == [(3, 'route."a.test".next_hop', f"{written!r} is not a next hop", hint)]


def test_a_route_leads_somewhere_and_has_a_port_that_exists() -> None:
    assert mistakes('[route."a.test"]\ntls = "may"\n')[0][:3] == (1, 'route."a.test".next_hop', "is missing")
    assert mistakes('[route."a.test"]\nnext_hop = "b.test"\nport = 70000\n')[0][:2] == (3, 'route."a.test".port')
    assert mistakes('[route."a.test"]\nnext_hop = 25\n')[0][2] == "must be text in quotes, not 25"


def test_a_rule_for_memory_alone_needs_no_tls_and_one_for_nothing_is_refused() -> None:
    rule = parse('[domain."bank.test"]\nmemory = "hold"\n', "t.toml").rules.for_next_hop("bank.test")
    assert rule is not None
    assert (rule.tls, rule.memory) == (TlsRule.MAY, MemoryMode.HOLD)
    assert mistakes('[domain."bank.test"]\nmode = "audit"\n')[0][:3] == (1, 'domain."bank.test".tls', "is missing")


def test_a_route_with_implicit_tls_has_port_465_unless_it_says_another() -> None:
    def relay(*keys: str) -> RelayHost:
        found = parse('[route."a.test"]\nnext_hop = "b.test"\n' + "\n".join(keys), "t.toml").rules.relay_for("a.test")
        assert found is not None
        return found

    assert (relay().port, relay().implicit_tls) == (None, False)
    assert (relay("implicit_tls = true").port, relay("implicit_tls = true").implicit_tls) == (465, True)
    assert relay("implicit_tls = true", "port = 4650").port == 4650


@pytest.mark.parametrize("hop", ["lmtp:/run/lmtp", "lmtp:[b.test]:24", "reports:"])
def test_implicit_tls_means_nothing_where_mail_goes_otherwise(hop: str) -> None:
    ((line, key, *_),) = mistakes(f'[route."a.test"]\nnext_hop = "{hop}"\nimplicit_tls = true\n')
    assert (line, key) == (3, 'route."a.test".implicit_tls')


def test_a_route_has_what_a_rule_has_and_the_same_mistakes() -> None:
    found = mistakes('[route."a.test"]\nnext_hop = "b.test"\nnames = ["c.test"]\n')
    assert [each[:3] for each in found] == [
        (3, 'route."a.test".names', 'names means something only beside tls = "verify"')
    ]
    assert mistakes('[route."a.test"]\nnext_hop = "b.test"\nnexthop = "c.test"\n')[0][3] == 'did you mean "next_hop"?'


def test_an_unknown_key_of_an_exception_is_told_with_those_that_there_are() -> None:
    table = '[route."a.test".exception]\nreason = "x"\nuntil = 2027-01-31\nalow = 1\n'
    text = '[route."a.test"]\nnext_hop = "b.test"\n' + table
    [(line, key, message, hint)] = mistakes(text)
    assert (line, key, message) == (6, 'route."a.test".exception.alow', "unknown key")
    assert hint == 'did you mean "allow"?'


@pytest.mark.parametrize("table", ["domain", "sender", "route"])
@pytest.mark.parametrize(("one", "other"), [("a.test", "A.test."), (".a.test", "*.a.test")])
def test_of_two_names_for_one_domain_neither_is_lost_silently(table: str, one: str, other: str) -> None:
    rest = 'tls = "may"\nnext_hop = "b.test"\n' if table == "route" else 'tls = "may"\n'
    found = mistakes(f'[{table}."{one}"]\n{rest}[{table}."{other}"]\n{rest}')
    assert [(key, message) for _, key, message, _ in found] == [
        (f'{table}."{other}"', f'"{one}" and "{other}" are the same')
    ]


def test_a_rule_knows_its_line_however_its_domain_is_written() -> None:
    rule = parse('\n[domain."BANK.test"]\ntls = "may"\n', "letterlock.toml").rules.for_next_hop("bank.test")
    assert rule is not None
    assert (rule.domain, rule.source) == ("bank.test", "letterlock.toml:2")
