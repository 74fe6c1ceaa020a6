"""Commands and Maildirs in a file of aliases: which may stand there, and how delivery finds them again.

The queue holds no commands: mail waits for "the first command of the alias ann", and the file says what that is.
"""

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace

from letterlock.mail.addresses import Mailbox
from letterlock.recipients.directory import Directory, TableFailed
from letterlock.recipients.targets import BadEntry, Ending, no_ending
from letterlock.routing.address_routes import AliasDelivery
from letterlock.routing.local_targets import BadFinalHop, CommandHop, FinalHop, Maildir, parse_command, parse_maildir

_LITERAL = re.compile(r"'[^']*'|\\.")
_QUOTED = re.compile(r"""'[^']*'|\\.|"(?:[^"\\]|\\.)*\"""")
_OF_A_SHELL = re.compile(r"[|&;<>()*?]")  # what a shell would not hand on as it is
_EXPANDED = re.compile(r"[$`]")  # nor these, in double quotes neither
CHANGED = "the alias has changed since the message came"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedEndings:
    """What a file of aliases may lead to besides addresses. `user`: who commands run as; None: the server's user."""

    commands: bool = False
    maildirs: bool = False
    user: str | None = None

    def __bool__(self) -> bool:
        return self.commands or self.maildirs

    def reads(self, text: str) -> Ending:
        """What a command or a file is, in a file that nobody else may write. Raises BadEntry."""
        return self._read(text, None)

    def reader(self, descriptor: int) -> Callable[[str], Ending]:
        """Reads the endings in an open file. Of a file that others may write, they can be read and not be used."""
        distrust = why_untrusted(descriptor) if self else None
        return lambda text: self._read(text, distrust)

    def _read(self, text: str, distrust: str | None) -> Ending:
        if not (self.commands if text.startswith("|") else self.maildirs):
            return no_ending(text)
        place = self._command(text[1:].strip()) if text.startswith("|") else _maildir(text)
        return Ending(text, place) if distrust is None else Ending(text, None, distrust)

    def _command(self, text: str) -> CommandHop:
        if _OF_A_SHELL.search(_QUOTED.sub("", text)) or _EXPANDED.search(_LITERAL.sub("", text)):
            raise BadEntry("there is no shell: write a script, and name it here")
        try:
            return replace(parse_command(text), user=self.user)
        except BadFinalHop as error:
            raise BadEntry(str(error)) from None


NO_ENDINGS = AllowedEndings()


def _maildir(text: str) -> Maildir:
    try:
        found = parse_maildir(text.rstrip("/"))
    except BadFinalHop as error:
        raise BadEntry(str(error)) from None
    if "{" in text:
        raise BadEntry("nothing stands for a part of the address in the path of an alias")
    if not text.endswith("/"):
        raise BadEntry(f"{text} would be an mbox, which is not written: a Maildir ends with a slash, {text}/")
    return found


def why_untrusted(descriptor: int) -> str | None:
    """Why commands of an open file are not run: somebody else than root and the server's user may write it."""
    status = os.fstat(descriptor)
    if status.st_uid not in (0, os.geteuid()):
        return f"commands and files of the table are not used: it belongs to user {status.st_uid}, not to root"
    if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        return "commands and files of the table are not used: others may write it (chmod go-w)"
    return None


class LookedUpPlaces:
    """Where mail ends by what tables say, as delivery asks for it: that of aliases, and of domains that tables have."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def find(self, recipient: Mailbox) -> AliasDelivery | None:
        """Where mail for an address ends; None: the address is a usual one."""
        try:
            found = await self._directory.ending(recipient)
            settings = await self._directory.settings(recipient.domain) if found is None else None
        except TableFailed as error:
            return AliasDelivery(recipient, None, "4.3.0", str(error))
        if found is None:
            place = None if settings is None else settings.place
            return AliasDelivery(recipient, place) if isinstance(place, FinalHop) else None
        alias, ending = found
        if ending is None:
            return AliasDelivery(alias, None, "5.1.1", CHANGED)
        if not isinstance(ending.place, CommandHop | Maildir):
            return AliasDelivery(alias, None, "4.3.5", ending.why)
        return AliasDelivery(alias, ending.place)
