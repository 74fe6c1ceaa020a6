"""Settings that can be used and are dangerous: warned of at start, at each reload, and by `letterlock config check`."""

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from letterlock.config.options import Options
from letterlock.config.reload_effects import contexts


def dangers(options: Options, now: float) -> Iterator[str]:
    """Warnings, and what to do about them. Reads the modes of key files, and nothing else."""
    if "." not in options.hostname:
        yield (
            f"the host name {options.hostname} has no dot: many servers refuse mail from it; set `hostname` to the"
            " name that this machine's address has in the DNS"
        )
    for network in dict.fromkeys(network for profile in options.profiles for network in profile.relay_networks):
        if not (network.is_private or network.is_loopback or network.is_link_local):
            yield f"relay_networks has {network}, which is public: everybody there can send mail to anybody through you"
    yield from _ended(options, now)
    for context in contexts(options):
        if _others_read(context.key_path):
            yield f"the key in {context.key_path} can be read by others: chmod 600 {context.key_path}"
        if warning := context.warning(now):
            yield warning


def _ended(options: Options, now: float) -> Iterator[str]:
    for rule in options.rules.written():
        if rule.exception is not None and rule.exception.until <= now:
            ended = datetime.fromtimestamp(rule.exception.until, UTC).date()
            yield f"{rule.source}: the exception for {rule.domain} ended on {ended} and has no effect: remove it"
    for anchor in options.resolver.negative_anchors:
        if anchor.until <= now:
            ended = datetime.fromtimestamp(anchor.until, UTC).date()
            yield f"the negative trust anchor for {anchor.zone} ended on {ended} and has no effect: remove it"


def _others_read(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:  # read before root was given up, perhaps: then others cannot read it either
        return False
    return bool(mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP))
