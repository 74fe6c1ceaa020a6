"""Enough file descriptors for what the configuration allows (getrlimit(2)).

A service manager or a shell usually grants 1,024 and lets a process take more by itself, up to a hard limit. A server
that runs out of them can neither accept connections nor deliver, so it asks for what it may need before it starts.
"""

import logging
import resource

from letterlock.app.binding import StartFailed
from letterlock.config import Options
from letterlock.config.capacity import BESIDE, PER_DELIVERY
from letterlock.net.dns.transport import MAX_QUERIES

log = logging.getLogger("letterlock.serve")
LEAST = 128  # chosen: a server without mail has some 40 open, and each delivery and lookup takes a few


def need(options: Options) -> int:
    """How many descriptors one process may come to have open: of several workers each has its share."""
    deliver = options.deliver
    shared = options.receive.max_connections + PER_DELIVERY * deliver.max_concurrent + deliver.max_idle_sessions
    return -(-shared // options.workers) + MAX_QUERIES + BESIDE


def raise_limit(options: Options) -> None:
    """Raise this process's soft limit as far as it needs and may; warn where that is not enough. Raises StartFailed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = need(options)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    granted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if granted < LEAST:
        hint = f"raise the limit to {needed} (LimitNOFILE= of systemd, ulimit -n)"
        raise StartFailed(f"{granted} file descriptors are too few for a server: {LEAST} are the least\n  hint: {hint}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    if granted < needed:
        log.warning(
            "%d file descriptors may be needed (max_connections = %d), and %d is the limit: some connections will"
            " wait; raise it (LimitNOFILE= of systemd, ulimit -n), or lower max_connections",
            needed,
            options.receive.max_connections,
            granted,
        )
