"""`letterlock resolve`: an answer, its state, and the chain behind it."""

import asyncio
import datetime as dt
import sys
import time
from pathlib import Path

import click
import dns.exception
import dns.rdatatype

from letterlock.app.binding import StartFailed
from letterlock.app.output import json_text
from letterlock.app.resolving import validated_dns
from letterlock.cli.drawing import draw_answer, draw_failure
from letterlock.cli.style import Style
from letterlock.config import ResolverOptions
from letterlock.net.dns import InvalidUpstream, Upstream, parse_upstream
from letterlock.resolver import Answer, FailureKind, InvalidAnchor, LookupFailure, ProofStep, TrustAnchor, parse_anchors

EXIT_BOGUS, EXIT_UNKNOWN = 1, 3


class UpstreamParam(click.ParamType[Upstream]):
    """An upstream resolver on the command line."""

    name = "ADDR[:PORT]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Upstream:
        """Parse it, or report what is wrong with it."""
        try:
            return parse_upstream(str(value))
        except InvalidUpstream as error:
            self.fail(f"{error}", param, ctx)


class AnchorParam(click.ParamType[tuple[TrustAnchor, ...]]):
    """A file of trust anchors on the command line."""

    name = "FILE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[TrustAnchor, ...]:
        """Read it, or tell what is wrong."""
        try:
            return parse_anchors(Path(str(value)).read_text(), str(value))
        except OSError as error:
            self.fail(f"{value}: {error.strerror}", param, ctx)
        except (InvalidAnchor, UnicodeDecodeError) as error:
            self.fail(str(error), param, ctx)


class TimeParam(click.ParamType[float]):
    """A moment on the command line: Unix seconds or ISO 8601."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it, or report what is wrong with it."""
        text = str(value)
        try:
            if text.replace(".", "", 1).isdigit():
                return float(text)
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither Unix seconds nor ISO 8601, such as 2026-11-23T12:00:00Z", param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


class TypeParam(click.ParamType[dns.rdatatype.RdataType]):
    """A DNS type on the command line."""

    name = "TYPE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dns.rdatatype.RdataType:
        """Parse it, or report what is wrong with it."""
        try:
            return dns.rdatatype.from_text(str(value))
        except (dns.exception.DNSException, ValueError):
            self.fail(f"{value!r} is not a DNS type, such as MX, A or TLSA", param, ctx)


@click.command()
@click.argument("name", metavar="NAME")
@click.argument("rdtype", metavar="TYPE", type=TypeParam())
@click.option(
    "--upstream",
    "upstreams",
    type=UpstreamParam(),
    multiple=True,
    help="Resolver to query; may be repeated. Default: the system's.",
)
@click.option(
    "--anchor",
    "anchors",
    type=AnchorParam(),
    multiple=True,
    help="File of DS or DNSKEY records to trust; may be repeated. Default: the root's keys.",
)
@click.option("--now", type=TimeParam(), help="Validate as of this time (Unix seconds or ISO 8601).")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 60), default=10, show_default=True, help="Seconds for each query."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resolve(
    name: str,
    rdtype: dns.rdatatype.RdataType,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    now: float | None,
    timeout: float,  # click's option of that name
    as_json: bool,
) -> None:
    """Look NAME up, validate the answer, and show the chain of trust behind it.

    The upstream resolver only supplies data and signatures; they are validated here. Secure: proven from a
    trust anchor down. Insecure: proven to be unsigned. Bogus: signed, but the proof is broken.

    Exit status: 0 secure or insecure, there or absent; 1 bogus; 2 usage error; 3 could not find out.
    """
    options = ResolverOptions(
        upstreams=upstreams, anchors=tuple(anchor for file in anchors for anchor in file), timeout_seconds=timeout
    )
    begun = time.monotonic()
    try:
        result = asyncio.run(_ask(name, rdtype, options, now))
    except StartFailed as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_UNKNOWN)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json_text(as_values(result), indent=2))
    else:
        style = Style.of(sys.stdout)
        lines = draw_answer(result, style) if isinstance(result, Answer) else draw_failure(result, style)
        click.echo("\n".join(lines))
        click.echo(
            f"asked {', '.join(map(str, upstreams)) or 'the system resolver'}, {time.monotonic() - begun:.2f} s",
            err=True,
        )
    sys.exit(_status(result))


async def _ask(
    name: str, rdtype: dns.rdatatype.RdataType, options: ResolverOptions, now: float | None
) -> Answer | LookupFailure:
    async with validated_dns(options, now) as asked:
        return await asked.resolver.resolve(name, rdtype)


def _status(result: Answer | LookupFailure) -> int:
    if isinstance(result, Answer):
        return 0
    return EXIT_BOGUS if result.kind is FailureKind.BOGUS else EXIT_UNKNOWN


def as_values(result: Answer | LookupFailure) -> dict[str, object]:
    """A result as JSON-able values."""
    question = {"name": str(result.question.name), "type": dns.rdatatype.to_text(result.question.rdtype)}
    proof = [_step_values(step) for step in result.proof]
    if isinstance(result, LookupFailure):
        security = "bogus" if result.kind is FailureKind.BOGUS else "indeterminate"
        failure = {"kind": result.kind.value, "detail": result.detail, "ede": result.ede}
        return {
            "question": question,
            "security": security,
            "rcode": "SERVFAIL",
            "records": [],
            "failure": failure,
            "proof": proof,
        }
    return {
        "question": question,
        "security": result.security.value,
        "rcode": "NXDOMAIN" if result.absence == "nxdomain" else "NOERROR",
        "absence": result.absence.value if result.absence else None,
        "canonical_name": str(result.canonical_name),
        "aliases": [
            {
                "owner": str(link.owner),
                "target": str(link.target),
                "type": dns.rdatatype.to_text(link.rdtype),
                "security": link.security.value,
            }
            for link in result.aliases
        ],
        "records": [record.to_text() for record in result.records],
        "ttl": result.ttl,
        "expires_at": result.expires_at,
        "wildcard": str(result.wildcard) if result.wildcard else None,
        "failure": None,
        "proof": proof,
    }


def _step_values(step: ProofStep) -> dict[str, object]:
    return {
        "zone": step.zone,
        "what": step.what,
        "security": step.security.value,
        "detail": step.detail,
        "section": step.section,
        "facts": [{"name": name, "value": value} for name, value in step.facts],
    }
