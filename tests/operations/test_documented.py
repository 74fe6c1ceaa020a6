"""Each command that docs/guides and docs/operations show is run, or listed with a reason; and each exists."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
import yaml

from letterlock.cli.main import main
from tests.operations.documented import PAGES, is_mention, shown, table
from tests.operations.machine import DOCS, ROOT

RULES = ROOT / "packaging/prometheus/letterlock.rules.yml"
KNOWN = table()
LISTED = frozenset(each for commands in KNOWN["not_run"].values() for each in commands)
ELSEWHERE = {page: test for test, pages in KNOWN["elsewhere"].items() for page in pages}


def everything() -> Iterator[str]:
    for page in PAGES:
        found = shown(page)
        yield from (*found.apart, *found.inline)


def test_pages_and_tests_that_the_table_names_exist() -> None:
    assert {*ELSEWHERE, *KNOWN["walk"]} <= {*PAGES}
    for test in KNOWN["elsewhere"]:
        assert (ROOT / test).exists(), test
    for reason in KNOWN["not_run"]:
        for test in re.findall(r"tests/\S+\.py", reason):
            assert (ROOT / test).exists(), test


def test_every_page_of_operations_is_run_by_a_test() -> None:
    """`make guide-check` runs a guide's commands unless a test does; those of a disaster are in every test run."""
    assert {page for page in PAGES if page.startswith("operations/")} <= {*ELSEWHERE}


def test_what_is_listed_is_shown_and_what_the_walk_expects_is_typed() -> None:
    seen = {*everything()}
    assert not LISTED - seen, "no page shows these any more"
    for page, needs in KNOWN["walk"].items():
        typed = [*shown(page).apart, *shown(page).inline]
        for old, new in needs.get("words", {}).items():
            assert any(old in each for each in typed), f"{page}: {old}"
            typed = [each.replace(old, new) for each in typed]
        assert not {*needs.get("fails", ())} - {*typed}, page


def left_to_the_walk(page: str) -> Iterator[str]:
    """The commands of a page that the walk types, as a reader would have replaced their words."""
    found, words = shown(page), KNOWN["walk"].get(page, {}).get("words", {})
    for command in (*(() if page in ELSEWHERE else found.apart), *found.inline):
        if command not in LISTED and not is_mention(command):
            typed = command
            for old, new in words.items():
                typed = typed.replace(old, new)
            yield typed


@pytest.mark.parametrize("page", PAGES)
def test_what_cannot_be_typed_as_it_stands_is_in_the_table(page: str) -> None:
    """A new command goes to the walk by itself; one with a word to replace, or that never ends, needs an entry."""
    for command in left_to_the_walk(page):
        assert not re.search(r"\b(?:ID|DOMAIN|FILE|DIR|ADDR|ADDRESS|NAME|CODE|VERSION)\b|1 …", command), command
        assert not re.match(r"letterlock (?:serve(?! --(?:check|print))|top|lab up|sts serve)\b", command), command


def options(command: click.Command) -> dict[str, click.Parameter]:
    names = {name: each for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return names | {"--help": click.Option(["--help"], is_flag=True), "-h": click.Option(["-h"], is_flag=True)}


def check_words(words: Sequence[str]) -> None:
    """Walk from verb to verb; an option's value is passed over. Raises AssertionError for what does not exist."""
    command: click.Command = main
    context = click.Context(command)
    values = 0
    for word in words:
        known = options(command)
        if values:
            values -= 1
        elif re.match(r"--?[a-zA-Z]", word):
            name, given, _ = word.partition("=")
            if name not in known:
                assert name == "--config", f"{command.name} has no option {name}"
            found = known.get(name)
            values = int(not given and (found is None or not (isinstance(found, click.Option) and found.is_flag)))
        elif isinstance(command, click.Group):
            inner = command.get_command(context, word)
            assert inner is not None, f"{command.name} has no verb {word}"
            command = inner


def commands_of(text: str) -> Iterator[Sequence[str]]:
    """The words after `letterlock` or `q`, for each command of a line."""
    for part in re.split(r"\|\|?|&&|;|\d?>", text.replace("\\|", "|")):
        try:
            words = shlex.split(part)
        except ValueError:  # half of a quotation
            continue
        if words[:1] == ["q"]:
            yield ["queue", *words[1:]]
        elif words and Path(words[0]).name == "letterlock":
            yield words[1:]


@pytest.mark.parametrize(
    "page", sorted(str(each.relative_to(DOCS)) for each in DOCS.rglob("*.md") if "decisions" not in each.parts)
)
def test_every_verb_and_option_that_a_page_shows_exists(page: str) -> None:
    found = shown(page)
    for each in (*found.apart, *found.inline):
        if "()" not in each:
            for words in commands_of(each):
                check_words(words)


def test_every_verb_and_option_that_an_alert_names_exists() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]:
        for command in re.findall(r"letterlock (?:[a-z-]+ ?)+(?:--[a-z]+)?", rule["annotations"]["action"]):
            words = [each for each in command.split()[1:] if each not in ("shows", "from", "here", "and")]
            check_words(words[: 3 if words[0] in ("queue", "memory", "config") else 1])


def test_a_command_that_does_not_exist_is_noticed() -> None:
    for wrong in ("letterlock queue lits", "letterlock queue list --stat held", "letterlock memory list --alarms"):
        (words,) = commands_of(wrong)
        with pytest.raises(AssertionError):
            check_words(words)
