"""Every key with every wrong type: one message per mistake, in words of TOML, at the key, with nothing of pydantic."""

import re

import pytest

from letterlock.config import TABLES, BadConfig, Mistake, parse
from letterlock.config.wording import alternatives, as_written, toml_text

NAMED = {
    "domain": 'domain."example.org"',
    "domain.exception": 'domain."example.org".exception',
    "sender": 'sender."example.org"',
    "route": 'route."example.org"',
    "sender_route": 'sender_route."example.org"',
    "resolver.negative": 'resolver.negative."example.org"',
    "dkim": 'dkim."example.org"',
    "local": 'local."example.org"',
    "table": "table.people",
    "milter": "milter.rspamd",
    "policy_service": "policy_service.grey",
}
WRONG = (
    '"many"', '""', '"\\u0000"', '"a\\nb"', "-1", "1.5", "nan", "1e400", "9" * 30,
    "true", "2026-01-01", "[]", "[[]]", "[1]", '["x"]', "[{}]", "{ a = 1 }",
)  # fmt: skip
INTERNALS = re.compile(
    r"Input|Literal|literal\[|function-|instance of|Value error|Assertion"
    r"|valid (?:list|dictionary|integer|number|string)|datetime\.|\bNone\b|\bTrue\b|\bFalse\b"
    r"|pydantic|union|tagged|Traceback|\{'|<class|validation"
)


def heading(table: str) -> str:
    if table == "":
        return ""
    return "[[listener]]\n" if table == "listener" else f"[{NAMED.get(table, table)}]\n"


def mistakes(table: str, key: str, value: str) -> tuple[Mistake, ...]:
    try:
        parse(f"{heading(table)}{key} = {value}\n", "t.toml")
    except BadConfig as error:
        return error.mistakes
    return ()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table or "top")
def test_no_wrong_value_shows_how_it_was_checked(table: str) -> None:
    for key in TABLES[table].model_fields:
        for value in WRONG:
            found = mistakes(table, key, value)
            for each in found:
                text = f"{each.key}: {each.message}"
                assert not INTERNALS.search(text), (key, value, text)
                assert not INTERNALS.search((each.hint or "").replace(value, "")), (key, value, each.hint)
                assert "\x00" not in f"{text}{each.hint}"
                assert each.message
            places = [each.key for each in found]
            assert len(places) == len(set(places)), (key, value, places)


@pytest.mark.parametrize(
    ("text", "key", "message", "hint"),
    [
        ('workers = "many"', "workers", 'must be "auto" or a whole number', 'it is "many" here'),
        ("workers = 0", "workers", 'must be "auto" or at least 1', "it is 0 here"),
        ("user = true", "user", "must be text in quotes, not true", None),
        ("[smtp]\nlisten = []", "smtp.listen", "must have at least 1 entry", "it is [] here"),
        ("[smtp]\naccept_nul = 1", "smtp.accept_nul", "must be true or false", "it is 1 here"),
        ("smtp = 3", "smtp", "must be a table", "it is 3 here"),
        (
            '[domain."x.example"]\ntls = "verify"\nmode = "enforced"',
            'domain."x.example".mode',
            'must be "enforce" or "audit"',
            'did you mean "enforce"?',
        ),
        ('[queue]\nkey_file = "a\\u0000b"', "queue.key_file", "has a character that cannot be printed", None),
    ],
)  # fmt: skip
def test_messages(text: str, key: str, message: str, hint: str | None) -> None:
    with pytest.raises(BadConfig) as caught:
        parse(text, "t.toml")
    (found,) = caught.value.mistakes
    assert (found.key, found.message, found.hint) == (key, message, hint)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('hostname = "mx_1.example.org"', "mx_1 has an underscore"),
        ('hostname = "192.0.2.1"', "is an address, and a host has a name"),
        ('[resolver]\nupstream = ["fe80::1"]', 'write "fe80::1%eth0"'),
        ('[smtp]\nlisten = ["[fe80::1]:25"]', r'write "\[fe80::1%eth0\]:25"'),
        ('[delivery]\nsource_address = ["fe80::1"]', "link-local, and needs its interface"),
        ('[metrics]\nlisten = "[fe80::1]:9725"', "needs its interface"),
    ],
)
def test_what_could_only_fail_later_is_refused_at_once(text: str, words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        parse(text, "t.toml")


def test_values_as_toml_has_them() -> None:
    assert toml_text({"a": [1, True, "x"], "b": {}}) == '{ a = [1, true, "x"], b = {} }'
    assert as_written("x" * 100).endswith("x…")
    assert len(as_written("x" * 100)) == 60


def test_alternatives_that_are_not_of_one_form_are_not_joined() -> None:
    assert alternatives(["must be a", "must be b", "must be a"]) == "must be a or b"
    assert alternatives(["is wrong", "must be b"]) == "is wrong"
