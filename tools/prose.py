"""Checks the English of the documentation, of every command's `--help`, of the table of reasons, and of the code.

proselint finds general faults; tools/house-style.toml lists what this project avoids. Code is blanked out first, so
that only prose is judged. Prints one line for each finding and exits with status 1 if there is any.
"""

import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from proselint.checks import __register__ as proselint_checks
from proselint.config import DEFAULT, Config
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

from letterlock.cli.main import main as letterlock_command
from letterlock.policy.reasons import all_codes, explain

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from docs import commands  # noqa: E402  # the neighbour that lists every verb with its help

IN_CODE = (
    (re.compile(r"\b(?:he|his|him|himself|she|her|hers|herself)\b", re.IGNORECASE), "they, the sender, the attacker"),
    (re.compile(r"\bmend(?:s|ed|ing)?\b", re.IGNORECASE), "repair, correct, fix"),
    (re.compile(r"\bwhoever\b", re.IGNORECASE), "the client, the caller, an attacker who …"),
    (re.compile(r"\b(?:is|are) (?:not )?told\b", re.IGNORECASE), "is notified, gets, reports"),
)
"""What docstrings and comments avoid; most words of the house style are those of the documentation only."""
HOUSE_STYLE = ROOT / "tools" / "house-style.toml"
GENERATED = ("rfc-index.md", "cli.md", "reasons.md")  # made from names and code; their sources are checked below
PROSELINT: Config = {
    "max_errors": DEFAULT["max_errors"],
    "checks": DEFAULT["checks"]
    | {
        "typography": False,  # plain quotes and dots are wanted in files that people edit in terminals
        "dates_times": False,  # "from 3,072" is a size here, not the start of a span of dates
        "industrial_language": False,  # "bandwidth" and "input" are meant literally
    },
}
BLANKED = re.compile(
    r"^ *```.*?^ *```$"  # a fenced block
    r"|^(?: {4,}|\t).*$"  # an indented block, or the arguments of an option in a help text
    r"|<!--.*?-->"
    r"|`[^`\n]+(?:\n[^`\n]+)?`"  # code in a line, which may wrap once
    r"|\]\([^)]*\)"  # where a link leads
    r"|\*\*|^#+ |^ *- |^ *\d+\. |^> |\|",
    re.MULTILINE | re.DOTALL,
)
NO_REPETITION = re.compile(r"\n\s*\n|\d|from From")  # a heading and its paragraph; a record's numbers; the field From
PARAGRAPH_END = re.compile(r"\n\s*\n|\n(?= *[-*] )|\n(?= *\d+\. )|\n(?=\|)|\n(?=#)")


class Text(NamedTuple):
    """A text to check: where it comes from, and the words."""

    source: str
    words: str


class Finding(NamedTuple):
    """One thing to change."""

    source: str
    line: int
    what: str


class Rule(NamedTuple):
    """One rule of the house."""

    pattern: re.Pattern[str]
    instead: str


def rules() -> tuple[Rule, ...]:
    """The rules of the house, in the order of their file."""
    table = tomllib.loads(HOUSE_STYLE.read_text())
    return tuple(
        Rule(re.compile(each["pattern"], re.MULTILINE | (0 if each.get("case") else re.IGNORECASE)), each["instead"])
        for each in table["rule"]
    )


def texts() -> Iterator[Text]:
    """Everything that is checked: pages, the help of every command, the sentence and the advice of every reason."""
    for page in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))):
        if page.name not in GENERATED:
            yield Text(str(page.relative_to(ROOT)), prose(page.read_text()))
    for path, words in commands(letterlock_command, "letterlock"):
        yield Text(f"{path} --help", re.sub(r"(?<=\S)  +", " ; ", words.partition("\n")[2]))  # an option; its meaning
    for entry in map(explain, all_codes()):
        yield Text(f"reason {entry.code}", f"{entry.sentence}.\n{entry.advice}.")


def prose(markdown: str) -> str:
    """The text without its code and marks; lines and columns stay as they are."""
    return BLANKED.sub(lambda match: re.sub(r"[^\n|#]", " ", match.group()).replace("|", ";"), markdown)


def house_findings(text: Text, house: Iterable[Rule]) -> Iterator[Finding]:
    """What the rules of the house find. A paragraph counts as one line, so that a phrase may wrap."""
    start = 0
    for paragraph in PARAGRAPH_END.split(text.words):
        start = text.words.index(paragraph, start)
        joined = re.sub(r"\n", " ", paragraph)
        trimmed = joined.lstrip()
        offset = start + len(joined) - len(trimmed)
        for rule in house:
            for match in rule.pattern.finditer(re.sub(r"(?<=\S) +", lambda run: " " * len(run.group()), trimmed)):
                line = text.words.count("\n", 0, offset + match.start()) + 1
                yield Finding(text.source, line, f"“{shortened(match.group())}”: {rule.instead}")


def shortened(phrase: str) -> str:
    """The first words of a long match."""
    squeezed = " ".join(phrase.split())
    return squeezed if len(squeezed) <= 60 else squeezed[:60] + "…"


def proselint_findings(text: Text) -> Iterator[Finding]:
    """What proselint finds."""
    for result in LintFile(text.source, text.words).lint(PROSELINT):
        found, start, end = result.check_result, *result.check_result.span
        repeated = found.check_path.startswith("lexical_illusions")
        if repeated and NO_REPETITION.search(
            text.words[start - 1 : end]
        ):  # proselint counts from a line break in front
            continue
        yield Finding(text.source, result.pos[0] - 1, found.message)


def code_findings() -> Iterator[Finding]:
    """What docstrings and comments of the code say in words that the house avoids."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""')):
                    for pattern, instead in IN_CODE:
                        for match in pattern.finditer(token.string):
                            line = token.start[0] + token.string.count("\n", 0, match.start())
                            yield Finding(str(path.relative_to(ROOT)), line, f"“{match.group()}”: {instead}")


def main() -> int:
    """Check everything."""
    CheckRegistry().register_many(proselint_checks)
    house = rules()
    findings = [
        each
        for text in texts()
        for check in (partial(house_findings, house=house), proselint_findings)
        for each in check(text)
    ]
    findings += code_findings()
    for each in findings:
        print(f"{each.source}:{each.line}: {each.what}")
    print(f"{len(findings)} findings" if findings else "the prose follows the house style", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
