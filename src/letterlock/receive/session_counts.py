"""What became of the sessions of clients since the start, for monitoring: plain numbers, counted once per session."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from letterlock.mail.replies import Reply
from letterlock.receive.auth import PUT_OFF
from letterlock.receive.filter_counts import FilterCounts
from letterlock.receive.limits import NO_MEMORY, STORE_FULL, TOO_MANY, TOO_MANY_FROM_YOU
from letterlock.receive.rate_limits import TOO_MANY_MESSAGES, TOO_MANY_RECIPIENTS, TOO_MANY_SESSIONS, TOO_MUCH_MAIL
from letterlock.smtp import server_replies as say

LIMITS: Mapping[Reply, str] = {
    TOO_MANY: "max_connections",
    TOO_MANY_FROM_YOU: "max_connections_per_client",
    NO_MEMORY: "memory_in",
    STORE_FULL: "min_free_octets",
    PUT_OFF: "login_failures",
    TOO_MANY_SESSIONS: "rate_connections",
    TOO_MANY_MESSAGES: "rate_messages",
    TOO_MANY_RECIPIENTS: "rate_recipients",
    TOO_MUCH_MAIL: "rate_octets",
    say.TOO_LARGE: "max_message_octets",
    say.TEXT_LINE_TOO_LONG: "max_line_octets",
    say.HEADER_TOO_LARGE: "header",
    say.TOO_MANY_RECIPIENTS: "max_recipients",
    say.TOO_MANY_HOPS: "max_hops",
    say.TOO_MANY_ERRORS: "bad_commands",
    say.TOO_MANY_IDLE_COMMANDS: "idle_commands",
    say.LINE_TOO_LONG: "command_line",
}
"""The limit that each refusal is about."""
_COMMANDS = {"CONNECT": "connect", "MAIL": "mail", "RCPT": "rcpt", "DATA": "message", "BDAT": "message"}
_COMMANDS |= {"END-OF-MESSAGE": "message"}


@dataclass(slots=True)
class SessionCounts:
    """Connections and what happened in them; `lost` counts those that ended without QUIT.

    `limits` counts by the names in LIMITS.
    """

    connections: int = 0
    tls_versions: Counter[str] = field(default_factory=Counter)
    tls_failures: int = 0
    rejections: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: int = 0
    timeouts: int = 0
    logins: int = 0
    failed_logins: int = 0
    limits: Counter[str] = field(default_factory=Counter)
    filters: FilterCounts = field(default_factory=FilterCounts)

    def rejected(self, command: str, reply: Reply) -> None:
        """A client got a negative reply. Any command of a client counts as one of a few."""
        self.rejections[_COMMANDS.get(command, "other"), "4" if reply.transient else "5"] += 1
        self.reached(reply)

    def reached(self, reply: Reply) -> None:
        """Count the limit behind a reply, if there is one."""
        if (limit := LIMITS.get(reply)) is not None:
            self.limits[limit] += 1
