"""Surveys as one HTML page that needs nothing else: no script, no font, no picture from anywhere.

It shows what `--json` says, word for word. Everything that a stranger could have written is escaped.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Sequence

import jinja2

import letterlock
from letterlock.cli.check.table import HEADINGS
from letterlock.deliver.log import safe
from letterlock.inspect.outlook import Attacker
from letterlock.mail.printable import printable_lines

ATTACKERS = {
    Attacker.REMOVES_STARTTLS: "On the path, removing STARTTLS",
    Attacker.OWN_CERTIFICATE: "On the path, with another certificate",
    Attacker.FORGES_DNS: "Forging DNS answers",
    Attacker.BOUGHT_CERTIFICATE: "On the path, with a bought certificate for the host",
    Attacker.FIRST_CONTACT: "Hiding the MTA-STS policy at first contact",
}
_SECTION = re.compile(r"RFC (\d+) section (\d[\d.]*)")


def page(surveys: Sequence[dict[str, object]], *, whole: bool = True) -> str:
    """The page for some surveys, each as `survey_values` gives it; `whole`: these are all that were asked for."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("letterlock.cli.check", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(moment=_moment, day=_day, link=_link, safe_text=safe)
    text = environment.get_template("survey.html").render(
        surveys=surveys,
        whole=whole,
        counted=Counter(str(survey["verdict"]) for survey in surveys),
        headings={protection.value: words for protection, (words, _) in HEADINGS.items()},
        looks={protection.value: look for protection, (_, look) in HEADINGS.items()},
        verdicts=dict(HEADINGS.values()),
        attackers={each.value: words for each, words in ATTACKERS.items()},
        version=letterlock.__version__,
    )
    return printable_lines(text)


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _day(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d")


def _link(section: str) -> str:
    """Where a section of an RFC can be read; empty for what is no RFC."""
    found = _SECTION.match(section)
    return f"https://www.rfc-editor.org/rfc/rfc{found[1]}#section-{found[2]}" if found else ""
