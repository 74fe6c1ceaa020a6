"""What runs beside the mail: a bug in it is logged, and it begins anew; mail goes on."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger("letterlock.app.server")
ANEW_SECONDS = 60.0  # chosen: one traceback a minute is enough to be found, and floods no log


async def beside(what: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run until that ends or is cancelled; after a bug, begin anew a minute later. `what` is for the log."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("internal error in %s: it begins anew in %.0f seconds; mail goes on", what, ANEW_SECONDS)
            await asyncio.sleep(ANEW_SECONDS)
        else:
            return
