"""Why: one code for everything a decision rests on, with the standard, the status and a sentence for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason: its code (a key of the table in this module), what it is about, and the values that go with it.

    `subject` is a host, a domain or an address. `facts` fill the sentence's placeholders.
    """

    code: str
    subject: str
    facts: tuple[tuple[str, str], ...] = ()
