"""Keeps docs/ and the code equal: writes docs/reference/, the manual pages and the diagram of the rooms, or with
--check says what differs.

The references are made from the code itself: the commands' help, the configuration's models, the table of reasons, and
the names of the tests that hold a section of a standard. The check also follows every relative link in the Markdown
files, and reads every TOML example as the server would.
"""

import argparse
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
from pydantic_core import PydanticUndefined

from letterlock.cli.main import main as letterlock_command
from letterlock.config import TABLES, known_keys
from letterlock.policy.reasons import all_codes, explain

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tests are no package that is installed
from tests.checklist import CHECKLIST  # noqa: E402
from tests.companion.situations import NO_RULES, WITHOUT_OLD_TLS, situations  # noqa: E402
from tools import diagram  # noqa: E402
from tools.manual import packaged  # noqa: E402
from tools.metrics_page import metrics_page  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"
PACKAGING = ROOT / "packaging"
NOTE = "<!-- Made by tools/docs.py from the code; do not edit. -->\n"
WIDTH = 100


def commands(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Every command's path and its help text, a group before its verbs."""
    settings = {**command.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            verb = command.get_command(context, name)
            if verb:
                yield from commands(verb, f"{path} {name}", context)


def cli_page() -> str:
    """docs/reference/cli.md"""
    parts = [NOTE, "# Commands\n"]
    for path, text in commands(letterlock_command, "letterlock"):
        parts.append(f"## `{path}`\n\n```\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def shown(value: object) -> str:
    """A default value as the reader would write it."""
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, list):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


NAMED = (
    "domain",
    "sender",
    "route",
    "sender_route",
    "resolver.negative",
    "dkim",
    "table",
    "local",
    "hosted",
    "milter",
    "policy_service",
    "database",
    "limit",
    "dns_list",
)  # each holds a table for each name
INLINE_TABLES = ("selectors", "login", "certificates")  # keys whose values are tables, with names of their own
TITLES = {
    "": "Top of the file",
    "domain.exception": '`[domain."example.org".exception]`',
    "listener": "`[[listener]]`",
    "rule": "`[[rule]]`",
    "rule.match": "`match` of a `[[rule]]`",
    **{table: f'`[{table}."example.org"]`' for table in NAMED},
}
NOTES = {
    "listener": "[Listeners and the pipeline](../concepts/pipeline.md) explains the roles.\n",
    "domain": '`"*.example.org"` is every name below example.org, `"*"` any domain; the most exact one holds.\n',
    "domain.exception": 'The same below `[route."example.org"]`.\n',
    "rule": "[The guide](../guides/rules-and-routes.md#rules-on-recipients) has examples.\n",
    "route": "[The guide](../guides/rules-and-routes.md) describes how the rules of a message combine.\n",
}


def configuration_page() -> str:
    """docs/reference/configuration.md"""
    parts = [
        NOTE,
        "# Configuration\n",
        "One TOML file: `letterlock serve --config letterlock.toml`. Every key has a safe default. Mistakes are",
        "reported all at once, with their lines, and nothing is started. Relative paths start at the file's folder.\n",
    ]
    for table, model in TABLES.items():
        title = TITLES.get(table, f"`[{table}]`")
        parts.append(f"## {title}\n\n{model.__doc__}\n")
        parts += [NOTES[table]] if table in NOTES else []
        parts.append("| key | default | meaning |\n| --- | --- | --- |")
        parts += [
            f"| `{name}` | {shown(field.default)} | {field.description} |"
            for name, field in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())
            if field.description
        ]
        parts.append("")
    return "\n".join(parts)


def reasons_page() -> str:
    """docs/reference/reasons.md"""
    parts = [
        NOTE,
        "# Reasons\n",
        "Every decision carries reasons. The log shows the first one's code as `why=`; `letterlock check`, the queue",
        "and the delivery status notifications show its sentence.\n",
        "| code | standard | status | what it says | what to do |\n| --- | --- | --- | --- | --- |",
    ]
    for entry in map(explain, all_codes()):
        sentence = entry.sentence.replace("|", "/")
        parts.append(f"| `{entry.code}` | {entry.section} | {entry.status} | {sentence} | {entry.advice} |")
    return "\n".join([*parts, ""])


TEST = re.compile(r"^\s*(?:async )?def (test_(rfc\d+)_((?:\d+_)*)(\w+))\(", re.MULTILINE)


def rfc_index_page() -> str:
    """docs/reference/rfc-index.md, from the names of the tests."""
    held: dict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, standard, section, words in TEST.findall(path.read_text()):
            key = (standard, tuple(int(part) for part in section.strip("_").split("_") if part))
            held[key].append(f"{words.replace('_', ' ')} ([{path.stem}](../../{path.relative_to(ROOT)}))")
            del name
    parts = [NOTE, "# Which test holds which section\n", *checklist()]
    last = ""
    for standard, section in sorted(held, key=lambda key: (int(key[0][3:]), key[1])):
        if standard != last:
            parts.append(f"\n## RFC {standard[3:]}\n")
            last = standard
        number = ".".join(str(part) for part in section) or "general"
        parts += [f"- **{number}** {words}" for words in held[standard, section]]
    return "\n".join([*parts, ""])


def checklist() -> Iterator[str]:
    """The rules of the standards that have a checklist, each with the tests that hold it."""
    places = {
        name: path
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"^\s*(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    yield "The rules of the standards behind the TLS decision, and of those on what mail may hold, in our words;"
    yield "below them, every test by section.\n"
    for standard, rules in CHECKLIST.items():
        yield f"## {standard}, rule by rule\n\n| section | rule | held by |\n| --- | --- | --- |"
        for rule in rules:
            links = [f"[{name}](../../{places[name].relative_to(ROOT)})" for name in rule.tests]
            yield f"| {rule.section} | {rule.text} | {'<br>'.join(links) or rule.instead} |"
        yield ""
    yield "# Every test by section\n"


def tlspol_page() -> str:
    """docs/reference/postfix-tlspol.md, from the table that a test holds."""
    parts = [
        NOTE,
        "# Answers of the policy door, next to those of postfix-tlspol\n",
        "Each row is a test (`tests/companion/situations.py`). The answers of postfix-tlspol follow from its",
        "documentation and the names of its tests (November 2026); it was not run. `NOTFOUND`: Postfix goes by",
        "its own `smtp_tls_security_level`. Letterlock's answers, except `may`, also carry",
        f"`{WITHOUT_OLD_TLS}`, which the table leaves out.\n",
        "| situation | postfix-tlspol | Letterlock | why it differs |\n| --- | --- | --- | --- |",
    ]
    for each in situations():
        key = f" (`{each.key}`)" if each.key else ""
        theirs = each.theirs if each.theirs == NO_RULES else f"`{each.theirs}`"
        parts.append(
            f"| {each.text}{key} | {theirs} | `{each.ours}` | {each.why if each.ours != each.theirs else ''} |"
        )
    return "\n".join([*parts, ""])


PAGES = {
    "cli.md": cli_page,
    "configuration.md": configuration_page,
    "reasons.md": reasons_page,
    "metrics.md": metrics_page,
    "rfc-index.md": rfc_index_page,
    "postfix-tlspol.md": tlspol_page,
}


def markdown_files() -> list[Path]:
    """Every page that people read."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def broken_links() -> Iterator[str]:
    """Relative links that lead nowhere."""
    for page in markdown_files():
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                yield f"{page.relative_to(ROOT)}: broken link {target}"


def unknown_keys(data: dict[str, object], *place: str) -> Iterator[str]:
    """Keys of a TOML example that the configuration does not have."""
    named = ".".join(place) in NAMED  # then the keys are names of domains
    for key, value in data.items():
        if not named and key not in known_keys(place):
            yield ".".join((*place, key))
        elif isinstance(value, dict) and key not in INLINE_TABLES:
            yield from unknown_keys(value, *place, key)


def bad_examples() -> Iterator[str]:
    """TOML examples that the server would not take."""
    for page in markdown_files():
        for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            try:
                data = tomllib.loads(block)
            except tomllib.TOMLDecodeError as error:
                yield f"{page.relative_to(ROOT)}: example is not TOML: {error}"
                continue
            yield from (f"{page.relative_to(ROOT)}: example has the unknown key {key}" for key in unknown_keys(data))


def generated() -> dict[Path, str]:
    """Every file that is made from the code, and what it must hold."""
    pages = {REFERENCE / name: make() for name, make in PAGES.items()}
    pages[ROOT / diagram.PAGE] = diagram.page(ROOT)
    return pages | {PACKAGING / name: text for name, text in packaged().items()}


def main() -> int:
    """Write the references, or check everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something differs")
    check = parser.parse_args().check
    problems: list[str] = []
    made = generated()
    for path, text in made.items():
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            problems.append(f"{path.relative_to(ROOT)} is out of date\n  hint: .venv/bin/python tools/docs.py")
    for path in set((PACKAGING / "man").glob("*")) - set(made):  # of a verb that is gone
        if check:
            problems.append(f"{path.relative_to(ROOT)} belongs to no verb\n  hint: .venv/bin/python tools/docs.py")
        else:
            path.unlink()
    problems += [*broken_links(), *bad_examples()]
    print("\n".join(problems) or "docs and code agree", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
