"""Many surveys for people: one line a domain, and how many there were of each kind."""

from collections import Counter
from typing import NamedTuple

from letterlock.cli.style import Style
from letterlock.deliver.log import safe
from letterlock.inspect.outlook import Protection
from letterlock.inspect.survey import Met, Survey
from letterlock.policy.decision import (
    Authentication,
    DaneAuthentication,
    Demander,
    Encryption,
    PkixAuthentication,
    RememberedAuthentication,
    Requirement,
)

HEADINGS = {
    Protection.PROTECTED: ("PROTECTED", "good"),
    Protection.ONCE_KNOWN: ("PROTECTED ONCE KNOWN", "warn"),
    Protection.UNPROTECTED: ("NOT PROTECTED", "bad"),
    Protection.HELD: ("HELD", "warn"),
    Protection.UNKNOWN: ("COULD NOT FIND OUT", "warn"),
    Protection.NO_MAIL: ("NO MAIL", "dim"),
}
_COUNTED = {
    "PROTECTED": "protected",
    "PROTECTED ONCE KNOWN": "protected once known",
    "NOT PROTECTED": "not protected",
    "HELD": "held",
    "COULD NOT FIND OUT": "could not be found out",
    "NO MAIL": "without mail",
}
_MAX_DOMAIN_CHARACTERS = 40  # chosen: longer names are cut, so that the columns fit a wide terminal
_MAX_NEXT_CHARACTERS = 100  # chosen: one line of advice


class Row(NamedTuple):
    """One domain in a line. `hosts`: how many of its hosts a message would be handed to, of how many."""

    domain: str
    word: str
    look: str
    by: str
    hosts: str
    next: str


def heading(survey: Survey) -> tuple[str, str]:
    """The verdict in a word or three, and its look."""
    return HEADINGS[survey.summary.protection]


def row(survey: Survey) -> Row:
    """The line for one domain."""
    word, look = heading(survey)
    open_hosts = sum(any(isinstance(each.result, Met) for each in host.contacts) for host in survey.hosts)
    return Row(
        domain=survey.domain,
        word=word,
        look=look,
        by=protected_by(survey),
        hosts=f"{open_hosts}/{len(survey.hosts)}" if survey.hosts else "-",
        next=_cut(safe(survey.advice[0].what if survey.advice else "-")),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_NEXT_CHARACTERS else text[: _MAX_NEXT_CHARACTERS - 1] + "…"


def protected_by(survey: Survey) -> str:
    """What is demanded of the hosts, each way once: `DANE`, `DANE + MTA-STS`, `MTA-STS`, `rule`, `TLS`, `nothing`."""
    ways = dict.fromkeys(_way(host.required) for host in survey.hosts if isinstance(host.required, Requirement))
    return " / ".join(ways) or "-"


def _way(required: Requirement) -> str:
    names = [_demand(each) for each in (required.authentication, required.also) if each is not None]
    if names:
        return " + ".join(names)
    return "TLS" if required.encryption is Encryption.MANDATORY else "nothing"


def _demand(authentication: Authentication) -> str:
    if isinstance(authentication, DaneAuthentication):
        return "DANE"
    if isinstance(authentication, PkixAuthentication) and authentication.demander is Demander.MTA_STS:
        return "MTA-STS"
    return "memory" if isinstance(authentication, RememberedAuthentication) else "rule"


def draw_table(rows: list[Row], style: Style) -> list[str]:
    """The lines of the table, its heading first."""
    words = max([len("PROTECTION"), *(len(row.word) for row in rows)])
    domains = min(_MAX_DOMAIN_CHARACTERS, max([len("DOMAIN"), *(len(row.domain) for row in rows)]))
    ways = max([len("BY"), *(len(row.by) for row in rows)])
    head = f"{'DOMAIN':<{domains}}  {'PROTECTION':<{words}}  {'BY':<{ways}}  HOSTS  WORTH DOING NEXT"
    return [
        style(head, "dim"),
        *(
            f"{row.domain:<{domains}}  {style(f'{row.word:<{words}}', row.look)}  {row.by:<{ways}}  {row.hosts:>5}  "
            f"{row.next}"
            for row in rows
        ),
    ]


def draw_count(verdicts: Counter[str], seconds: float) -> str:
    """The last line of a run: how many domains there are of each verdict, in its words."""
    kinds = ", ".join(f"{verdicts[verdict]} {words}" for verdict, words in _COUNTED.items() if verdicts[verdict])
    domains = verdicts.total()
    return f"{domains} domain{'s' if domains != 1 else ''} in {seconds:.1f} s: {kinds or 'nothing to look at'}"
