"""`letterlock dkim`: make keys, print their records, and see what is published."""

import asyncio
import datetime as dt
import os
import stat
import sys
from pathlib import Path
from typing import NoReturn

import click
import dns.rdatatype

from letterlock import dkim as library
from letterlock.app.binding import StartFailed
from letterlock.app.output import json_text
from letterlock.app.resolving import validated_dns
from letterlock.cli.dkim_rotation import rotate, status
from letterlock.cli.resolve import AnchorParam, UpstreamParam
from letterlock.config import ResolverOptions
from letterlock.mail.names import InvalidName, normalise
from letterlock.net.dns import Upstream
from letterlock.resolver import Answer, FailureKind, LookupFailure, TrustAnchor

EXIT_PROBLEM, EXIT_UNKNOWN = 1, 3
ALGORITHMS = {"ed25519": library.Algorithm.ED25519_SHA256, "rsa": library.Algorithm.RSA_SHA256}
MAX_KEY_FILE_OCTETS = 16_384  # an RSA key of 4096 bits has 3.3 KB in PEM


class LabelsParam(click.ParamType[str]):
    """A domain or selector on the command line, in A-labels."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Normalise it, or say what is wrong."""
        try:
            return normalise(str(value))
        except InvalidName as error:
            self.fail(str(error), param, ctx)


DOMAIN, SELECTOR = LabelsParam("DOMAIN"), LabelsParam("SELECTOR")
KEY_FILE = click.Path(path_type=Path)


@click.group()
def dkim() -> None:
    """Keys that sign mail with DKIM: make one, print its record, see what is published, change it."""


dkim.add_command(rotate)
dkim.add_command(status)


@dkim.command()
@click.argument("domain", metavar="DOMAIN", type=DOMAIN)
@click.option("--selector", type=SELECTOR, help="Default: the algorithm and the month, such as ed25519-202611.")
@click.option(
    "--algorithm",
    type=click.Choice(list(ALGORITHMS)),
    default="rsa",
    show_default=True,
    help="Every receiver verifies RSA; sign with Ed25519 as well, not instead.",
)
@click.option("--bits", type=click.IntRange(2048, 4096), default=2048, show_default=True, help="Size of an RSA key.")
@click.option("--file", "path", type=KEY_FILE, help="Default: DOMAIN.SELECTOR.pem in this directory.")
def key(domain: str, selector: str | None, algorithm: str, bits: int, path: Path | None) -> None:
    """Make a key for DOMAIN and print the record to publish.

    The key is written to a file that only you can read. A file that exists is never overwritten.

    Exit status: 0 written; 1 not written; 2 usage error.
    """
    selector = selector or f"{algorithm}-{dt.datetime.now(dt.UTC):%Y%m}"
    path = path or Path(f"{domain}.{selector}.pem")
    pem = library.generate_key(ALGORITHMS[algorithm], rsa_bits=bits)
    try:
        record = library.read_signing_key(pem, domain, selector)
        _write_new(path, pem)
    except library.InvalidKey as error:
        _fail(str(error))
    except FileExistsError:
        _fail(f"{path} exists; nothing was written\n  hint: choose another --selector for a new key")
    except OSError as error:
        _fail(f"{path}: {error.strerror}")
    click.echo(f"wrote {path}; publish this record before you sign with the key:", err=True)
    click.echo(library.zone_line(record.record_name, record.record))


@dkim.command("record")
@click.argument("path", metavar="FILE", type=KEY_FILE)
@click.argument("domain", metavar="DOMAIN", type=DOMAIN)
@click.argument("selector", metavar="SELECTOR", type=SELECTOR)
def record_command(path: Path, domain: str, selector: str) -> None:
    """Print the record that publishes the key in FILE, as a line of a zone file.

    Exit status: 0 printed; 1 the file has no key that can sign, or others can read it; 2 usage error.
    """
    signing_key = _read(path, domain, selector)
    click.echo(library.zone_line(signing_key.record_name, signing_key.record))


@dkim.command()
@click.argument("domain", metavar="DOMAIN", type=DOMAIN)
@click.argument("selector", metavar="SELECTOR", type=SELECTOR)
@click.option("--key", "path", type=KEY_FILE, help="A private key that the record should belong to.")
@click.option("--upstream", "upstreams", type=UpstreamParam(), multiple=True, help="Resolver to ask; may be repeated.")
@click.option("--anchor", "anchors", type=AnchorParam(), multiple=True, help="DS or DNSKEY records to trust.")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=10, show_default=True, help="Seconds for one query.")
@click.option("--json", "as_json", is_flag=True, help="The same as data.")
def check(
    domain: str,
    selector: str,
    path: Path | None,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    timeout: float,  # click's option of that name
    as_json: bool,
) -> None:
    """Look up the key that DOMAIN publishes under SELECTOR, and judge it as a receiver would.

    Exit status: 0 it can be used (and belongs to --key); 1 it cannot, or does not; 2 usage error; 3 could not find out.
    """
    private = _read(path, domain, selector) if path else None
    options = ResolverOptions(
        upstreams=upstreams, anchors=tuple(anchor for file in anchors for anchor in file), timeout_seconds=timeout
    )
    name = f"{selector}._domainkey.{domain}"
    try:
        answer = asyncio.run(_ask(name, options))
    except StartFailed as error:
        _fail(str(error), EXIT_UNKNOWN)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    published = library.published_key(answer)
    click.echo(
        json_text(as_values(name, answer, published, private), indent=2)
        if as_json
        else "\n".join(as_lines(name, answer, published, private))
    )
    sys.exit(_status(answer, published, private))


async def _ask(name: str, options: ResolverOptions) -> Answer | LookupFailure:
    async with validated_dns(options, None) as asked:
        return await asked.resolver.resolve(name, dns.rdatatype.TXT)


def _status(answer: Answer | LookupFailure, published: library.PublishedKey, private: library.SigningKey | None) -> int:
    if isinstance(answer, LookupFailure):
        return EXIT_UNKNOWN
    fits = published.key is not None and (private is None or published.belongs_to(private))
    return 0 if fits else EXIT_PROBLEM


def _security(answer: Answer | LookupFailure) -> str:
    if isinstance(answer, Answer):
        return answer.security.value
    return "bogus" if answer.kind is FailureKind.BOGUS else "indeterminate"


def as_lines(
    name: str, answer: Answer | LookupFailure, published: library.PublishedKey, private: library.SigningKey | None
) -> list[str]:
    """What was found, for people."""
    lines = [f"{name} ({_security(answer)}): {published}"]
    if published.key and published.key.testing:
        lines.append("  the record says t=y: receivers treat failures as if the mail were not signed")
    if published.key and private:
        fits = published.belongs_to(private)
        lines.append("  it belongs to the private key" if fits else "  it does not belong to the private key")
    return lines


def as_values(
    name: str, answer: Answer | LookupFailure, published: library.PublishedKey, private: library.SigningKey | None
) -> dict[str, object]:
    """The same as JSON-able values."""
    return {
        "name": name,
        "security": _security(answer),
        "algorithm": published.algorithm.value if published.algorithm else None,
        "bits": published.key.bits if published.key else None,
        "testing": published.key.testing if published.key else None,
        "reason": published.reason.value if published.reason else None,
        "detail": str(published),
        "belongs_to_key": published.belongs_to(private) if private else None,
    }


def _write_new(path: Path, pem: bytes) -> None:
    """Write a file that only its owner can read. Raises OSError: FileExistsError rather than overwrite."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())  # a record may be published at once, and the key must not get lost
    except OSError:
        path.unlink()  # half a key would keep the next try from its name
        raise


def _read(path: Path, domain: str, selector: str) -> library.SigningKey:
    """The private key in a file that only its owner can read; else the end of the command."""
    try:
        with path.open("rb") as file:
            shared = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077
            pem = file.read(MAX_KEY_FILE_OCTETS)
    except OSError as error:
        _fail(f"{path}: {error.strerror}")
    if shared:
        _fail(f"{path} is a secret that others can read\n  hint: chmod 600 {path}")
    try:
        return library.read_signing_key(pem, domain, selector)
    except library.InvalidKey as error:
        _fail(f"{path}: {error}")


def _fail(text: str, status: int = EXIT_PROBLEM) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    sys.exit(status)
