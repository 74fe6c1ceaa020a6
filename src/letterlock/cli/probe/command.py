"""`letterlock probe`: one server, spoken to as delivery would, under a requirement that is given by hand."""

import asyncio
import secrets
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import click
import dns.name
import dns.rdatatype
from cryptography.utils import CryptographyDeprecationWarning

from letterlock.app.binding import StartFailed
from letterlock.app.output import json_text
from letterlock.app.resolving import validated_dns
from letterlock.app.system_clock import SystemClock
from letterlock.cli.configured import config_option, configured
from letterlock.cli.probe.params import (
    HostAndPort,
    MessageParam,
    NameParam,
    PlaceParam,
    RecipientParam,
    RootsParam,
    SenderParam,
    TlsaParam,
)
from letterlock.cli.probe.presented_chain import look_at
from letterlock.cli.probe.text import draw_probe
from letterlock.cli.probe.values import probe_values
from letterlock.cli.resolve import AnchorParam, UpstreamParam
from letterlock.cli.style import Style
from letterlock.config import Options, system_roots
from letterlock.deliver.options import Timeouts
from letterlock.deliver.session import Ports
from letterlock.discover import Discoverer
from letterlock.identity.tlsa import TLSARecord
from letterlock.identity.trust import TrustRoots
from letterlock.inspect.probe import ByHand, Demand, Mail, Probe, ProbeConclusion
from letterlock.inspect.probe import probe as probe_server
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import BodyType, Envelope
from letterlock.net.dial import TcpDialer
from letterlock.net.dns import Upstream
from letterlock.policy.evidence import MxHost, Origin, TargetHost
from letterlock.ports import Resolver
from letterlock.resolver import Answer, FailureKind, LookupFailure, Question, TrustAnchor
from letterlock.routing.rules import Rules

IMPLICIT_PORT = 465  # RFC 8314 section 7.3
EXIT_NOT_CLEARED, EXIT_UNKNOWN = 1, 3


@click.command()
@click.argument("place", metavar="HOST[:PORT]", type=PlaceParam())
@click.option(
    "--require",
    "demand",
    type=click.Choice([each.value for each in Demand]),
    default=Demand.TLS.value,
    show_default=True,
    help="What to require: nothing, TLS with any certificate, a verified certificate, or a TLSA match.",
)
@click.option(
    "--name", "names", type=NameParam(), multiple=True, help="Name that the certificate must have; may be repeated."
)
@click.option(
    "--tlsa", "records", type=TlsaParam(), multiple=True, help="TLSA record to use instead of DNS; may be repeated."
)
@click.option("--ca", "roots", type=RootsParam(), help="PEM file of authorities to trust.  [default: the system's]")
@click.option("--implicit", is_flag=True, help="Start TLS at once, without STARTTLS.")
@click.option("--sni", type=NameParam(), help="Server name (SNI) to send.  [default: the first name]")
@click.option("--send", "content", type=MessageParam(), help="Message file to send if the session is cleared.")
@click.option("--from", "reverse_path", type=SenderParam(), help="Envelope sender; <> for the null reverse-path.")
@click.option("--to", "recipients", type=RecipientParam(), multiple=True, help="Envelope recipient; may be repeated.")
@config_option
@click.option(
    "--upstream", "upstreams", type=UpstreamParam(), multiple=True, help="Resolver to query; may be repeated."
)
@click.option(
    "--anchor",
    "anchors",
    type=AnchorParam(),
    multiple=True,
    help="File of DS or DNSKEY records to trust; may be repeated.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, 300),
    default=15,
    show_default=True,
    help="Seconds for each connection and reply; the whole session gets four times as long.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(
    place: HostAndPort,
    demand: str,
    names: tuple[str, ...],
    records: tuple[TLSARecord, ...],
    roots: TrustRoots | None,
    implicit: bool,
    sni: str | None,
    content: bytes | None,
    reverse_path: Mailbox | str | None,
    recipients: tuple[Mailbox, ...],
    config_path: Path | None,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    timeout: float,  # click's option of that name
    as_json: bool,
) -> None:
    """Connect to one server as delivery would, under a requirement that you choose, and show what was found.

    HOST is an IP address, or a name whose addresses and TLSA records are looked up in validated DNS. The port is 25, or
    465 with --implicit. Without --send nothing is sent: the session ends before MAIL FROM.

    Exit status: 0 cleared, and sent if requested; 1 not cleared, or not accepted; 2 usage error; 3 could not connect,
    or a lookup failed; 78 mistakes in the configuration.
    """
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # about some of the system's roots, not about mail
    by_hand = ByHand(
        demand=Demand(demand),
        roots=roots or system_roots(),
        names=names,
        records=records,
        sni=sni,
        implicit=implicit,
    )
    _refuse_impossible(place, by_hand)
    mail = _mail(content, reverse_path, recipients)
    configuration = configured(config_path)
    port = place.port or (IMPLICIT_PORT if implicit else configuration.deliver.port)
    options = _overridden(configuration, upstreams, anchors, port, timeout)
    try:
        probed = asyncio.run(_probe(place, by_hand, options, mail))
    except StartFailed as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_UNKNOWN)
    _show(probed, by_hand, mail, as_json=as_json)
    sys.exit(_status(probed, mail))


def _refuse_impossible(place: HostAndPort, by_hand: ByHand) -> None:
    """Raises UsageError for what no server could hold."""
    nameless = place.is_address and not by_hand.names
    if nameless and by_hand.demand is Demand.VERIFY:
        raise click.UsageError("--require verify: an IP address has no name that a certificate could have; give --name")
    if nameless and by_hand.demand is Demand.DANE and not by_hand.records:
        raise click.UsageError("--require dane: an IP address has no TLSA records; give --tlsa, or a --name to ask for")


def _mail(content: bytes | None, reverse_path: Mailbox | str | None, recipients: tuple[Mailbox, ...]) -> Mail | None:
    """The message to send. Raises UsageError when a part of it is missing."""
    if content is None:
        if reverse_path is not None or recipients:
            raise click.UsageError("--from and --to are for a message: give --send")
        return None
    if reverse_path is None or not recipients:
        raise click.UsageError("--send needs --from and at least one --to")
    now = time.time()
    envelope = Envelope(
        id=secrets.token_hex(6),
        reverse_path=None if isinstance(reverse_path, str) else reverse_path,
        recipients=tuple(dict.fromkeys(recipients)),
        size=len(content),
        accepted_at=now,
        expires_at=now,
        body_type=BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT_MIME,
    )
    return Mail(envelope=envelope, content=content)


def _overridden(
    options: Options,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    port: int,
    timeout: float,
) -> Options:
    """The configuration with what the command line says instead; time-outs for somebody who waits."""
    resolver = replace(
        options.resolver,
        upstreams=upstreams or options.resolver.upstreams,
        anchors=tuple(anchor for file in anchors for anchor in file) or options.resolver.anchors,
    )
    timeouts = Timeouts(
        connect=timeout,
        greeting=timeout,
        hello=timeout,
        starttls=timeout,
        handshake=timeout,
        mail=timeout,
        recipient=timeout,
        data=timeout,
        block=timeout,
        message=4 * timeout,  # servers look into a message before they take it
        session=4 * timeout,
    )
    deliver = replace(options.deliver, port=port, timeouts=timeouts)
    return replace(options, resolver=resolver, deliver=deliver)


async def _probe(place: HostAndPort, by_hand: ByHand, options: Options, mail: Mail | None) -> Probe:
    """Find the server and speak to it. Raises StartFailed where DNS is needed and there is nobody to ask."""
    asks_by_name = by_hand.demand is Demand.DANE and not by_hand.records
    if place.is_address and not asks_by_name:
        discoverer = _discoverer(_NoDns())
        host = MxHost(name=place.host, preference=0, origin=Origin.LITERAL, secure=False)
        target = await discoverer.host(host, options.deliver.port)
        return await probe_server(target, by_hand, ports=_ports(discoverer), options=options.deliver, mail=mail)
    async with validated_dns(options.resolver) as asked:
        discoverer = _discoverer(asked.resolver)
        target = await _found(discoverer, place, by_hand, options.deliver.port)
        return await probe_server(target, by_hand, ports=_ports(discoverer), options=options.deliver, mail=mail)


def _discoverer(resolver: Resolver) -> Discoverer:
    """One that asks for hosts only: no rules, no policies."""
    return Discoverer(resolver, Rules({}), clock=SystemClock())


async def _found(discoverer: Discoverer, place: HostAndPort, by_hand: ByHand, port: int) -> TargetHost:
    """The host, or for an address the host of the first --name, at that address."""
    name = by_hand.names[0] if place.is_address else place.host
    host = MxHost(name=name, preference=0, origin=Origin.IMPLICIT_MX, secure=True)  # a person gave the name
    target = await discoverer.host(host, port)
    return replace(target, addresses=(place.host,)) if place.is_address and target.addresses else target


def _ports(discoverer: Discoverer) -> Ports:
    return Ports(discoverer=discoverer, dialer=TcpDialer(), clock=SystemClock(), shuffle=tuple)


class _NoDns:
    """DNS for an address, of which it is not asked; as ports.Resolver."""

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        """Nothing can be found out."""
        question = Question(dns.name.from_text(name), rdtype)
        return LookupFailure(question=question, kind=FailureKind.SERVFAIL, detail="DNS is not asked of an address")


def _show(probed: Probe, by_hand: ByHand, mail: Mail | None, *, as_json: bool) -> None:
    """Print it. JSON is ASCII, so that nothing from the server reaches a terminal as it is."""
    now = time.time()
    findings = look_at(probed, by_hand, now)
    if as_json:
        click.echo(json_text(probe_values(probed, by_hand, findings, mail), indent=2))
    else:
        style = Style.of(sys.stdout)
        click.echo("\n".join(draw_probe(probed, by_hand, findings, style, now=now, mail=mail)))


def _status(probed: Probe, mail: Mail | None) -> int:
    """How the command ends."""
    not_taken = mail is not None and not probed.delivered
    if probed.conclusion is ProbeConclusion.CLEARED:
        return EXIT_NOT_CLEARED if not_taken else 0
    return EXIT_NOT_CLEARED if probed.conclusion is ProbeConclusion.NOT_CLEARED else EXIT_UNKNOWN
