"""How long a session waits for its client."""

import asyncio
import math

from letterlock.receive.options import ReceiveOptions
from letterlock.smtp.server import SmtpServer
from letterlock.smtp.server_session import RECEIVING


class Patience:
    """Until when the next read may take. A client that trickles gains nothing: only whole commands extend it."""

    def __init__(self, options: ReceiveOptions) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._commands = -1
        self._content_deadline: float | None = None
        self.deadline = math.inf

    def look_at(self, smtp: SmtpServer) -> None:
        """Before a read: set `deadline` (event loop's time)."""
        if smtp.state not in RECEIVING:
            self._content_deadline = None
            commands = smtp.commands
            if commands != self._commands:
                self._commands = commands
                self.deadline = self._loop.time() + self._options.command_timeout_seconds
            return
        now = self._loop.time()
        if self._content_deadline is None:
            self._content_deadline = now + self._options.message_timeout_seconds
        self.deadline = min(now + self._options.command_timeout_seconds, self._content_deadline)
        self._commands = -1  # the first command after the message has its full time
