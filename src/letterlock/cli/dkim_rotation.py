"""`letterlock dkim rotate` and `dkim status`: the keys of a domain, changed step by step."""

import asyncio
import datetime as dt
import os
import pwd
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

import click
import dns.rdatatype

from letterlock import dkim as library
from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.app.binding import StartFailed
from letterlock.app.output import json_text
from letterlock.app.resolving import validated_dns
from letterlock.cli.configured import config_option, configured
from letterlock.cli.resolve import AnchorParam, UpstreamParam
from letterlock.config import EX_CONFIG, Options, ResolverOptions
from letterlock.config.dkim_keys import GRACE_SECONDS
from letterlock.deliver.log import safe
from letterlock.discover.authoritative import AuthoritativeView, ServerView, look_everywhere
from letterlock.mail.names import InvalidName, normalise
from letterlock.mailauth.dkim.published import key_of_record
from letterlock.mailauth.dkim.rotation import (
    MAX_KEYS,
    KeyPhase,
    Keys,
    RotatedKey,
    awaits_server,
    begun,
    forgotten,
    in_phase,
    is_under_way,
    new_selector,
    retired,
    switched,
    used,
)
from letterlock.net.dns import Upstream, UpstreamTransport
from letterlock.ports import Resolver
from letterlock.resolver import Answer, TrustAnchor
from letterlock.state.key_directory import KeyDirectory, KeyDirectoryFailed

EXIT_DONE, EXIT_WAITS, EXIT_UNKNOWN = 0, 1, 3
DAY_SECONDS = 86_400  # times are shown in days
ALGORITHMS = {"rsa": library.Algorithm.RSA_SHA256, "ed25519": library.Algorithm.ED25519_SHA256}
Views = Mapping[str, AuthoritativeView]


class RotatedDomain(click.ParamType[str]):
    """A domain on the command line, in A-labels."""

    name = "DOMAIN"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Normalise it, or say what is wrong."""
        try:
            return normalise(str(value))
        except InvalidName as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("domain", metavar="DOMAIN", type=RotatedDomain())
@config_option
@click.option(
    "--algorithm",
    "algorithms",
    type=click.Choice(list(ALGORITHMS)),
    multiple=True,
    help="Make keys of this algorithm; may be repeated. Default: those that sign now, at first both.",
)
@click.option(
    "--after", "days", type=click.IntRange(0, 3650), default=0, help="Begin only when a key has signed so long."
)
@click.option("--upstream", "upstreams", type=UpstreamParam(), multiple=True, help="Resolver to ask; may be repeated.")
@click.option("--anchor", "anchors", type=AnchorParam(), multiple=True, help="DS or DNSKEY records to trust.")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=10, show_default=True, help="Seconds for one query.")
@click.option("--json", "as_json", is_flag=True, help="The same as data.")
def rotate(
    domain: str,
    config_path: Path | None,
    algorithms: tuple[str, ...],
    days: int,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    timeout: float,  # click's option of that name
    as_json: bool,
) -> None:
    """Change the keys that sign for DOMAIN: begin, or take the next step that is safe.

    Run it again until its status is 0; a daily timer with --after 180 begins by itself. The steps: new keys are made,
    and you publish their records; once every authoritative server shows them, the new keys sign and the server
    reloads; the old records stay while mail signed with them may be on its way; then you remove them.

    \b
    Exit status:
       0  nothing is left to do
       1  it waits: for a record, for time to pass, or for the server
       2  usage error
       3  it failed: the name servers could not be asked, or the keys not be read or written
      78  mistakes in the configuration, or no directory for the keys of DOMAIN in it
    """
    options = configured(config_path)
    directory = _directory(options, domain, writing=True)
    resolving = ResolverOptions(
        upstreams=upstreams or options.resolver.upstreams,
        anchors=tuple(anchor for file in anchors for anchor in file) or options.resolver.anchors,
        timeout_seconds=timeout,
    )
    now = time.time()
    try:
        with directory.locked():
            keys = _made(directory, domain, algorithms, days * DAY_SECONDS, now)
            views = asyncio.run(_look(domain, keys, resolving))
            keys = _advanced(directory, domain, keys, views, now)
            directory.write(keys)
            keys = _with_server(directory, keys, options, now)
    except (KeyDirectoryFailed, StartFailed) as error:
        _fail(str(error), EXIT_UNKNOWN)
    if as_json:
        click.echo(json_text(_domain_values(directory, domain, keys, views), indent=2))
    else:
        _show(directory, domain, keys, views)
    unknown = any(view.problem for view in views.values())
    sys.exit(EXIT_UNKNOWN if unknown else EXIT_WAITS if is_under_way(keys) else EXIT_DONE)


@click.command()
@click.argument("domain", metavar="[DOMAIN]", type=RotatedDomain(), required=False)
@config_option
@click.option("--json", "as_json", is_flag=True, help="The same as data.")
def status(domain: str | None, config_path: Path | None, as_json: bool) -> None:
    """Show the keys that rotate, of one DOMAIN or of all, and what each waits for. Changes and asks nothing.

    With --json, one DOMAIN is an object, and all are a list of these: `{"domains": [...]}`.

    \b
    Exit status:
       0  no change of keys is under way
       1  one is
       2  usage error
       3  the keys cannot be read
      78  mistakes in the configuration, or no directory for the keys of DOMAIN in it
    """
    options = configured(config_path)
    domains = [domain] if domain else [name for name, _ in options.key_directories]
    shown = []
    waits = False
    try:
        for each in domains:
            directory = _directory(options, each)
            keys = directory.read()
            waits = waits or is_under_way(keys)
            if as_json:
                shown.append(_domain_values(directory, each, keys, {}))
            else:
                _show(directory, each, keys, {})
    except KeyDirectoryFailed as error:
        _fail(str(error), EXIT_UNKNOWN)
    if as_json:
        click.echo(json_text(shown[0] if domain else {"domains": shown}, indent=2))
    elif not domains:
        click.echo("the configuration has no directory of keys that rotate")
    sys.exit(EXIT_WAITS if waits else EXIT_DONE)


def _directory(options: Options, domain: str, *, writing: bool = False) -> KeyDirectory:
    path = dict(options.key_directories).get(domain)
    if path is None:
        hint = f'[dkim."{domain}"] with directory = "/var/lib/letterlock/dkim/{domain}"'
        _fail(f"the configuration has no directory for keys of {domain}\n  hint: {hint}", EX_CONFIG)
    as_root = writing and options.user is not None and os.geteuid() == 0
    return KeyDirectory(path, pwd.getpwnam(options.user).pw_uid if as_root and options.user else None)


# --- the steps ------------------------------------------------------------------------------------------------------


def _made(directory: KeyDirectory, domain: str, algorithms: tuple[str, ...], after_seconds: float, now: float) -> Keys:
    """The keys, with new ones where it is time to begin. Raises KeyDirectoryFailed."""
    keys = directory.read()
    if is_under_way(keys) or (keys and now - max(each.since for each in keys) < after_seconds):
        return keys
    signing = tuple(dict.fromkeys(each.algorithm for each in keys)) or tuple(ALGORITHMS.values())
    wanted = tuple(ALGORITHMS[each] for each in dict.fromkeys(algorithms)) or signing
    if len(keys) + len(wanted) > MAX_KEYS:
        raise KeyDirectoryFailed(f"{directory.path} has {len(keys)} keys: remove the records of retired ones first")
    made = [(_new_key(directory, domain, each, keys, now), each) for each in wanted]
    keys = begun(keys, made, now)
    directory.write(keys)
    return keys


def _new_key(directory: KeyDirectory, domain: str, algorithm: library.Algorithm, keys: Keys, now: float) -> str:
    """A new private key on the disk; its selector. A file that a killed command left is not used: nobody knows it."""
    taken = {each.selector for each in keys}
    day = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y%m%d")
    while True:
        selector = new_selector(algorithm, day, taken)
        pem = library.generate_key(algorithm)
        library.read_signing_key(pem, domain, selector)
        try:
            directory.add(selector, pem)
        except FileExistsError:
            taken.add(selector)
        else:
            return selector


async def _look(domain: str, keys: Keys, options: ResolverOptions) -> Views:
    """What the authoritative servers show of the keys for which that matters."""
    wanted = (*in_phase(keys, KeyPhase.NEXT), *in_phase(keys, KeyPhase.RETIRED))

    ask = partial(_ask, options.timeout_seconds)
    async with validated_dns(options) as asked:
        names = [f"{each.selector}._domainkey.{domain}" for each in wanted]
        found = await asyncio.gather(*(look_everywhere(name, asked.resolver, ask) for name in names))
        proven = await asyncio.gather(
            *(_unproven(name, view, asked.resolver) for name, view in zip(names, found, strict=True))
        )
    return {each.selector: view for each, view in zip(wanted, proven, strict=True)}


async def _ask(timeout_seconds: float, address: str, query: bytes, tcp: bool) -> bytes:
    """One authoritative server's reply. Raises OSError."""
    transport = UpstreamTransport((Upstream(address),), timeout_seconds=timeout_seconds)
    try:
        return await transport(query, tcp)
    finally:
        await transport.aclose()


async def _unproven(name: str, view: AuthoritativeView, resolver: Resolver) -> AuthoritativeView:
    """The view, with a problem where all servers show a record that a validating receiver could not use."""
    if not view.everywhere(lambda _: True):
        return view
    answer = await resolver.resolve(name, dns.rdatatype.TXT)
    if isinstance(answer, Answer) and answer.records:
        return view
    why = "is remembered as absent" if isinstance(answer, Answer) else f"fails: {answer.kind.value}: {answer.detail}"
    return AuthoritativeView(
        name=name, views=view.views, problem=f"all servers show it, but a lookup by the resolver {why}"
    )


def _advanced(directory: KeyDirectory, domain: str, keys: Keys, views: Views, now: float) -> Keys:
    """All steps that are safe now."""
    seen = {
        each.selector
        for each in in_phase(keys, KeyPhase.NEXT)
        if each.selector in views and _is_everywhere(directory, domain, each, views[each.selector])
    }
    gone = {selector for selector, view in views.items() if view.nowhere}
    return retired(switched(forgotten(keys, gone), seen, now), now)


def _is_everywhere(directory: KeyDirectory, domain: str, key: RotatedKey, view: AuthoritativeView) -> bool:
    private = _private(directory, domain, key)
    return view.everywhere(lambda text: key_of_record(text).belongs_to(private))


def _private(directory: KeyDirectory, domain: str, key: RotatedKey) -> library.SigningKey:
    path = directory.pem(key.selector)
    try:
        return library.read_signing_key(path.read_bytes(), domain, key.selector)
    except OSError as error:
        raise KeyDirectoryFailed(f"{path} cannot be read: {error.strerror}") from None
    except library.InvalidKey as error:
        raise KeyDirectoryFailed(f"{path}: {error}") from None


def _with_server(directory: KeyDirectory, keys: Keys, options: Options, now: float) -> Keys:
    """Have the server use the keys that sign, and remember it. One that does not run reads them when it starts."""
    if not awaits_server(keys):
        return keys
    try:
        mistakes = Queues(options.queue_directory).reload()["mistakes"]
    except NotRunning:
        mistakes = None
    except ServerError as error:
        mistakes = str(error)
    if mistakes is not None:
        click.echo(f"warning: the server does not use the new keys yet: {mistakes}", err=True)
        return keys
    keys = used(keys, options.receive.expire_seconds + GRACE_SECONDS, now)
    directory.write(keys)
    return keys


# --- what is shown --------------------------------------------------------------------------------------------------


def _domain_values(directory: KeyDirectory, domain: str, keys: Keys, views: Views) -> dict[str, object]:
    return {"domain": domain, "keys": [_values(directory, domain, each, views) for each in keys]}


def _show(directory: KeyDirectory, domain: str, keys: Keys, views: Views) -> None:
    click.echo(domain)
    for each in keys:
        click.echo(f"  {each.selector:<24} {each.phase.value:<9} {_what_next(each)}")
        if each.phase is KeyPhase.NEXT:
            key = _private(directory, domain, each)
            click.echo(f"    {library.zone_line(key.record_name, key.record)}")
        for line in _seen(views.get(each.selector)):
            click.echo(f"    {line}")
    if not keys:
        click.echo("  no keys yet; `letterlock dkim rotate` makes them")


def _what_next(key: RotatedKey) -> str:
    match key.phase:
        case KeyPhase.NEXT:
            return "publish this record, then run `letterlock dkim rotate` again:"
        case KeyPhase.SIGNING:
            return f"since {_day(key.since)}"
        case KeyPhase.RETIRING if key.until is None:
            return "keep its record; the server has to reload"
        case KeyPhase.RETIRING:
            return f"keep its record until {_day(key.until or 0)}"
        case KeyPhase.RETIRED:
            return "remove its record"


def _seen(view: AuthoritativeView | None) -> Iterator[str]:
    """What each server shows."""
    if view is None:
        return
    if view.problem:
        yield safe(view.problem)
    for each in view.views:
        yield f"{safe(each.host)} {each.address}: {_said(each)}".replace("  ", " ")


def _said(view: ServerView) -> str:
    if view.unreachable:
        return f"cannot be reached from here ({safe(view.problem)})"
    if view.problem:
        return safe(view.problem)
    return {0: "no record", 1: "a record"}.get(len(view.texts), f"{len(view.texts)} records, where one may be")


def _values(directory: KeyDirectory, domain: str, key: RotatedKey, views: Views) -> dict[str, object]:
    view = views.get(key.selector)
    record = _private(directory, domain, key).record if key.phase is KeyPhase.NEXT else None
    return {
        "selector": key.selector,
        "algorithm": key.algorithm.value,
        "phase": key.phase.value,
        "since": key.since,
        "keep_record_until": key.until,
        "record_name": f"{key.selector}._domainkey.{domain}",
        "record": record,
        "problem": view.problem if view else None,
        "servers": [
            {
                "host": each.host,
                "address": each.address,
                "records": len(each.texts),
                "problem": each.problem,
                "unreachable": each.unreachable,
            }
            for each in (view.views if view else ())
        ],
    }


def _day(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    sys.exit(code)
