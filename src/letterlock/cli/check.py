"""`letterlock check`: what protects mail to a domain, by which evidence, and what an attacker could still do."""

import asyncio
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from letterlock.app import UNFIT_HINT, Dns, StartFailed, SystemClock, discovering, validated_dns
from letterlock.cli.configured import configured
from letterlock.cli.resolve import AnchorParam, UpstreamParam
from letterlock.cli.style import Style
from letterlock.cli.survey_text import draw_survey
from letterlock.cli.survey_values import survey_values
from letterlock.config import Options
from letterlock.deliver.options import Timeouts
from letterlock.deliver.session import Ports
from letterlock.deliver.survey import Survey, survey
from letterlock.mail.names import InvalidName, is_address_literal, literal_address, normalise
from letterlock.net.dial import TcpDialer
from letterlock.net.dns import Upstream
from letterlock.policy.outlook import Protection
from letterlock.resolver import TrustAnchor

MAX_AT_ONCE = 10
EXIT_STATUS = {Protection.PROTECTED: 0, Protection.UNPROTECTED: 1, Protection.HELD: 1, Protection.UNKNOWN: 3}


class DomainParam(click.ParamType[str]):
    """A domain, or an address literal, on the command line."""

    name = "DOMAIN"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Normalise it, or tell what is wrong. The part before an `@` is left out."""
        text = str(value).rpartition("@")[2]
        try:
            if is_address_literal(text):
                literal_address(text)
                return text
            return normalise(text)
        except InvalidName as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("domains", metavar="DOMAIN...", type=DomainParam(), nargs=-1, required=True)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="The server's configuration: rules, resolver, port.",
)
@click.option("--upstream", "upstreams", type=UpstreamParam(), multiple=True, help="Resolver to ask; may be repeated.")
@click.option(
    "--anchor", "anchors", type=AnchorParam(), multiple=True, help="DS or DNSKEY records to trust; may be repeated."
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the MX hosts.  [default: 25]")
@click.option(
    "--timeout",
    type=click.FloatRange(1, 300),
    default=15,
    show_default=True,
    help="Seconds for one connection or answer.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as data.")
def check(
    domains: tuple[str, ...],
    config_path: Path | None,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    port: int | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Show what protects mail to each DOMAIN, and what an attacker on the path could still do.

    Speaks to the MX hosts as delivery would, up to the moment before MAIL FROM; nothing is sent.

    Exit status: 0 protected; 1 not, or a host does not hold what it promised; 2 usage; 3 could not find out; 78
    mistakes in the configuration. With several domains the worst counts, 1 before 3.
    """
    options = _overridden(configured(config_path), upstreams, anchors, port, timeout)
    try:
        surveys = asyncio.run(_survey_all(domains, options))
    except StartFailed as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(3)
    if as_json:
        click.echo(json.dumps({"domains": [survey_values(each) for each in surveys]}, indent=2, ensure_ascii=False))
    else:
        style = Style.of(sys.stdout)
        click.echo("\n\n".join("\n".join(draw_survey(each, style)) for each in surveys))
    sys.exit(_status(surveys))


def _overridden(
    options: Options,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    port: int | None,
    timeout: float,
) -> Options:
    """The configuration with what the command line says instead; time-outs for somebody who waits."""
    resolver = replace(
        options.resolver,
        upstreams=upstreams or options.resolver.upstreams,
        anchors=tuple(anchor for file in anchors for anchor in file) or options.resolver.anchors,
    )
    timeouts = Timeouts(
        connect=timeout, greeting=timeout, hello=timeout, starttls=timeout, handshake=timeout, session=4 * timeout
    )
    deliver = replace(options.deliver, port=port or options.deliver.port, timeouts=timeouts)
    return replace(options, resolver=resolver, deliver=deliver)


async def _survey_all(domains: Sequence[str], options: Options) -> list[Survey]:
    chance, room = random.SystemRandom(), asyncio.Semaphore(MAX_AT_ONCE)
    async with validated_dns(options.resolver) as asked, discovering(options, asked, None) as discoverer:
        ports = Ports(
            discoverer=discoverer,
            dialer=TcpDialer(),
            clock=SystemClock(),
            shuffle=lambda items: chance.sample(items, len(items)),
        )

        async def look(domain: str) -> Survey:
            async with room:
                return await survey(domain, ports=ports, options=options.deliver)

        surveys = await asyncio.gather(*(look(domain) for domain in domains))
        if any(each.summary.protection is Protection.UNKNOWN for each in surveys):
            await _tell_unfit(asked)
        return surveys


async def _tell_unfit(asked: Dns) -> None:
    """When something could not be found out, the upstream may be why."""
    for report in await asked.examine():
        if report.findings:
            click.echo(f"warning: upstream {report}\n  {UNFIT_HINT}", err=True)


def _status(surveys: Sequence[Survey]) -> int:
    found = {EXIT_STATUS[each.summary.protection] for each in surveys}
    return next((status for status in (1, 3) if status in found), 0)
