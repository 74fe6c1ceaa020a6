"""What becomes of mail while a program that should decide on it cannot be asked."""

from typing import Literal

from letterlock.mail.replies import Reply

WhenAway = Literal["tempfail", "accept", "reject", "shutdown"]
AWAY: dict[WhenAway, Reply | None] = {
    "tempfail": Reply(451, ("4.7.1 Service unavailable, try again later",)),
    "accept": None,
    "reject": Reply(550, ("5.7.1 Service unavailable",)),
    "shutdown": Reply(421, ("4.7.1 Service unavailable, closing",)),
}
