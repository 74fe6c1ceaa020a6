"""Settings that can be used and are dangerous: warned of at start, at each reload, and by `letterlock config check`."""

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from letterlock.config.checked_values import why_no_host
from letterlock.config.options import Options
from letterlock.config.recipient_rule_tables import is_public
from letterlock.config.reload_effects import contexts
from letterlock.receive.recipient_rules import RuleAction

MAX_NAMED = 3  # domains in one warning: the kind matters, and the file has the rest


def dangers(options: Options, now: float) -> Iterator[str]:
    """Warnings, and what to do about them. Reads the modes of key files, and nothing else."""
    yield from _of_the_name(options.hostname)
    for network in dict.fromkeys(network for profile in options.profiles for network in profile.relay_networks):
        if is_public(network):
            yield f"relay_networks has {network}, which is public: everybody there can send mail to anybody through you"
    yield from _of_rules(options)
    yield from _ended(options, now)
    yield from _of_routes(options)
    yield from _of_reports(options)
    for context in contexts(options):
        if others_read(context.key_path):
            yield open_key(str(context.key_path))
        if warning := context.warning(now):
            yield warning


def _of_the_name(hostname: str) -> Iterator[str]:
    advice = "set `hostname` to the name that this machine's address has in the DNS"
    if "." not in hostname:
        yield f"the host name {hostname} has no dot: many servers refuse mail from it; {advice}"
    if why := why_no_host(hostname):
        yield f"the host name {hostname} is the system's: {why}; {advice}"


def _of_rules(options: Options) -> Iterator[str]:
    """Rules that open more than is meant, or are never reached."""
    rules = options.receive.recipient_rules
    for rule in rules:
        public = [each for each in rule.clients or () if is_public(each)]
        if rule.action is RuleAction.RELAY and public and rule.users is None:
            yield f"{rule.source}: {public[0]} is public: everybody there can send mail to anybody through you"
    last = next((each for each in rules if each.always_matches), None)
    if last is not None and last is not rules[-1]:
        yield f"{last.source}: this rule always matches, so that those below it are never reached: move it to the end"


def _of_routes(options: Options) -> Iterator[str]:
    """Mail that would go round in a circle, or to one mailbox for all."""
    ours = {domain for profile in options.profiles for domain in profile.domains}
    for rule in options.receive.recipient_rules:
        if rule.action is RuleAction.DELIVER and rule.recipients is not None:
            ours.update(rule.recipients.names())
    domains = sorted(ours)
    if nowhere := [domain for domain in domains if options.rules.relay_for(domain) is None]:
        names = ", ".join(nowhere[:MAX_NAMED]) + (f" and {len(nowhere) - MAX_NAMED} more" * (len(nowhere) > MAX_NAMED))
        yield (
            f"an mx accepts mail for {names}, and no route says where it goes: it follows the MX record, and fails if"
            f' that leads here; add [route."{nowhere[0]}"] with a next_hop'
        )
    for target in options.maildirs:
        if "{local}" not in target.template:
            path = target.template.replace("/{domain}", "")
            yield (
                f"next_hop {target} is one mailbox for all recipients; for one each write"
                f" maildir:{path}/{{domain}}/{{local}}"
            )


def _of_reports(options: Options) -> Iterator[str]:
    """Reports that receivers drop, because nobody signs them (RFC 8460 section 3)."""
    wanted = options.reporting
    for table, is_sent, author in (
        ("tls_reports", wanted.send, wanted.tls_from),
        ("dmarc_reports", wanted.dmarc_send, wanted.dmarc_from),
    ):
        domain = author.domain if author is not None else options.hostname
        if is_sent and not any(domain == each or domain.endswith(f".{each}") for each in options.signing_domains):
            yield (
                f"[{table}] sends reports from {domain}, which has no DKIM key: receivers drop them; add "
                f'[dkim."{domain}"], or name an address of a domain that has one in `from`'
            )


def _ended(options: Options, now: float) -> Iterator[str]:
    for rule in options.rules.written():
        if rule.exception is not None and rule.exception.until <= now:
            ended = datetime.fromtimestamp(rule.exception.until, UTC).date()
            yield f"{rule.source}: the exception for {rule.domain} ended on {ended} and has no effect: remove it"
    for anchor in options.resolver.negative_anchors:
        if anchor.until <= now:
            ended = datetime.fromtimestamp(anchor.until, UTC).date()
            yield f"the negative trust anchor for {anchor.zone} ended on {ended} and has no effect: remove it"


def open_key(path: str) -> str:
    """The warning about a key that others than its owner can read, or could replace."""
    return f"the key in {path} can be read by others: chmod 600 {path}"


def others_read(path: Path) -> bool:
    """Whether the modes of a file let others read it or write to it."""
    try:
        mode = path.stat().st_mode
    except OSError:  # read before root was given up, perhaps: then others cannot read it either
        return False
    return bool(mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP))
