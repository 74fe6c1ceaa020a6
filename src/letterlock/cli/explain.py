"""`letterlock explain`: what a reason code means, who can cause it, and what to do."""

import difflib
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TextIO

import click

from letterlock.app.output import json_text
from letterlock.cli.style import Style
from letterlock.deliver.log import safe
from letterlock.policy.causes import CAUSES, Cause
from letterlock.policy.reasons import Explanation, ResultType, all_codes
from letterlock.policy.reasons import explain as explanation_of

MAX_HINTS = 3  # chosen: more suggestions are no help
EXIT_UNKNOWN = 2  # as for any other wrong argument
_SIMILARITY = 0.5  # of difflib: below it, suggestions have little in common with what was typed
_WORD = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")  # a code, or anything else of its shape
_WHY = re.compile(rf"\bwhy=({_WORD.pattern})", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_EFFECTS = {"2": "lets mail pass", "4": "keeps mail back; it is tried again", "5": "mail fails for good"}
_LOOKS = {"2": "good", "4": "warn", "5": "bad"}
_SUBJECTS = {
    "RFC 3207": "STARTTLS",
    "RFC 5280": "certificates",
    "RFC 5321": "SMTP",
    "RFC 7435": "opportunistic security",
    "RFC 7505": "null MX",
    "RFC 7672": "DANE for SMTP",
    "RFC 8461": "MTA-STS",
    "RFC 8689": "REQUIRETLS",
    "RFC 9525": "names in certificates",
}


@click.command()
@click.argument("text", metavar="[CODE]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(text: tuple[str, ...], as_json: bool) -> None:
    """Explain what a reason CODE means, who can cause it, and what to do about it.

    CODE may also be part of a code, or a whole log line: every code in it is explained. Without CODE, all codes are
    listed.

    Exit status: 0; 2 if there is no such code.
    """
    wanted = " ".join(text).strip()
    codes, whole = _find(wanted)
    if not codes:
        click.echo(_unknown(wanted), err=True)
        sys.exit(EXIT_UNKNOWN)
    found = [explanation_of(code) for code in codes]
    if as_json:
        click.echo(json_text({"reasons": [_values(each) for each in found]}, indent=2))
        return
    style = Style.of(sys.stdout)
    if whole or len(found) == 1:
        click.echo("\n\n".join("\n".join(_draw(each, style)) for each in found))
    else:
        click.echo("\n".join(_draw_list(found, style, _columns(sys.stdout))))


def _find(wanted: str) -> tuple[list[str], bool]:
    """The codes that are meant, and whether they stood there in full; without a text, all of them.

    A code that the log gave as `why=` and that is not in the table makes the whole text unknown, for to explain only
    the others would hide it.
    """
    known = all_codes()
    if not wanted:
        return list(known), False
    named = [code.lower() for code in _WHY.findall(wanted)]
    if any(code not in known for code in named):
        return [], False
    in_full = [word for word in dict.fromkeys(_WORD.findall(wanted.lower())) if word in known]
    if in_full:
        return in_full, True
    return [code for code in known if " " not in wanted and wanted.lower() in code], False


def _unknown(wanted: str) -> str:
    """That there is no such code, and which come near."""
    named = [code.lower() for code in _WHY.findall(wanted) if code.lower() not in all_codes()]
    if not named and " " in wanted:
        return "error: there is no reason code in this text\n  hint: `letterlock explain` lists them all"
    asked = named[0] if named else wanted.lower()
    near = difflib.get_close_matches(asked, all_codes(), n=MAX_HINTS, cutoff=_SIMILARITY)
    hint = f"did you mean {', '.join(near)}?" if near else "`letterlock explain` lists them all"
    return f"error: there is no reason code '{safe(asked)}'\n  hint: {hint}"


def _draw(entry: Explanation, style: Style) -> Iterator[str]:
    """One code in full."""
    yield f"{style(entry.code, 'bold')}   {style(_effect(entry), _LOOKS.get(entry.status[0], 'warn'))}"
    yield f"  {_pattern(entry)}"
    yield ""
    yield f"  caused by    {_cause(entry)}"
    yield f"  what to do   {entry.advice}"
    yield f"  standard     {entry.section}"
    yield f"  status       {entry.status}"
    yield f"  TLS report   {_report(entry.result_type)}"


def _draw_list(entries: Sequence[Explanation], style: Style, columns: int | None) -> Iterator[str]:
    """One line a code, under the standard that it comes from; cut at `columns`, if given."""
    groups: dict[str, list[Explanation]] = defaultdict(list)
    for entry in entries:
        groups[_standard(entry)].append(entry)
    width = max(len(entry.code) for entry in entries)
    for number, (standard, members) in enumerate(groups.items()):
        if number:
            yield ""
        subject = _SUBJECTS.get(standard)
        yield style(f"{standard}, {subject}" if subject else standard, "bold")
        for entry in members:
            head = f"  {entry.code:<{width}}  {entry.status:<6}  "
            room = None if columns is None else max(0, columns - len(head))
            yield f"{head}{style(_cut(_pattern(entry), room), 'dim')}"


def _columns(stream: TextIO) -> int | None:
    """How wide the terminal is; None where there is none."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def _cut(text: str, room: int | None) -> str:
    return text if room is None or len(text) <= room else text[: max(0, room - 1)] + "…"


def _standard(entry: Explanation) -> str:
    return entry.section.partition(" section ")[0]


def _effect(entry: Explanation) -> str:
    return _EFFECTS.get(entry.status[0], entry.status)


def _pattern(entry: Explanation) -> str:
    """The sentence, with the names of the facts that a case fills in."""
    return _PLACEHOLDER.sub(r"<\1>", entry.sentence)


def _passes(entry: Explanation) -> bool:
    return entry.status.startswith("2")


def _cause(entry: Explanation) -> str:
    return ", or ".join(CAUSES[entry.code]) or "not known from the code alone"


def _report(result_type: ResultType | None) -> str:
    return "not reported" if result_type is None else f"{result_type.value}  [RFC 8460 section 4.3]"


def _values(entry: Explanation) -> dict[str, object]:
    return {
        "code": entry.code,
        "sentence": entry.sentence,
        "facts": _PLACEHOLDER.findall(entry.sentence),
        "section": entry.section,
        "status": entry.status,
        "passes": _passes(entry),
        "attacker": Cause.ATTACKER in CAUSES[entry.code],
        "cause": _cause(entry),
        "advice": entry.advice,
        "tls_report": entry.result_type.value if entry.result_type else None,
    }
