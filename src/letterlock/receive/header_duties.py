"""What a submission server owes a new message: the header fields it lacks, and no Bcc (RFC 6409 section 8)."""

import re

from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.trace import date_time

# One field with its continuation lines. The alternatives of each repetition begin with different bytes, and the
# repetitions are possessive: so the time is linear in the length of the header section.
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+")
_HIDDEN = frozenset({b"bcc", b"resent-bcc"})


class CompleteHeader:
    """Adds Date, Message-ID and From where they are missing, and removes Bcc (RFC 5322 sections 3.6 and 3.6.3)."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def message(self, _facts: Facts, draft: Draft) -> None:
        """Change the draft's header section; the body stays as it is."""
        names = self._take_bcc_away(draft)
        if b"from" not in names and draft.reverse_path is not None:
            draft.add_field(f"From: <{draft.reverse_path}>\r\n".encode())
        if b"message-id" not in names:
            draft.add_field(f"Message-ID: <{draft.id}@{self._hostname}>\r\n".encode())
        if b"date" not in names:
            draft.add_field(f"Date: {date_time(int(draft.received_at))}\r\n".encode())

    def _take_bcc_away(self, draft: Draft) -> set[bytes]:
        """Remove Bcc fields; the names of the other fields, in lower case."""
        content, names, kept, at, changed = draft.content, set[bytes](), list[bytes](), 0, False
        while (field := _FIELD.match(content, at)) is not None:
            at = field.end()
            name = field[1].lower()
            if name in _HIDDEN:
                changed = True
            else:
                names.add(name)
                kept.append(field[0])
        if content[at : at + 2] != b"\r\n":  # no empty line: what follows would be taken for header fields of ours
            kept.append(b"\r\n")
            changed = True
        if changed:
            draft.content = type(content)(b"".join(kept) + content[at:])
        return names
