"""The parameters of `letterlock probe`: each is a type that parses a word or reports the mistake."""

from dataclasses import dataclass
from pathlib import Path

import click
import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from cryptography.hazmat.primitives.serialization import Encoding
from dns.rdtypes.ANY.TLSA import TLSA

from letterlock.identity.certificates import InvalidCertificate, load_pem
from letterlock.identity.tlsa import TLSARecord
from letterlock.identity.trust import TrustRoots
from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.names import InvalidName, is_ip_address, normalise

MAX_PORT = 65535  # 16 bits (RFC 9293 section 3.1)
NULL_PATH = "<>"
MAX_PEM_OCTETS = 1 << 24  # chosen: all authorities of a system have 250 KB
MAX_MESSAGE_OCTETS = 1 << 26  # chosen: more than servers on the internet accept


@dataclass(frozen=True, slots=True)
class HostAndPort:
    """A host's name (A-labels) or IP address, and its port; None: the usual one."""

    host: str
    port: int | None

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address."""
        return is_ip_address(self.host)


class PlaceParam(click.ParamType[HostAndPort]):
    """`HOST[:PORT]`: a name, an IP address, or an address in brackets."""

    name = "HOST[:PORT]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> HostAndPort:
        """Take it apart, or tell what is wrong."""
        text = str(value)
        try:
            return _place(text)
        except InvalidName as error:
            self.fail(f"{error}; write mx.example.org, mx.example.org:25, 192.0.2.1 or [2001:db8::1]:25", param, ctx)


def _place(text: str) -> HostAndPort:
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        host = inner[5:] if inner[:5].lower() == "ipv6:" else inner
        if not bracket or not is_ip_address(host) or (rest and not rest.startswith(":")):
            raise InvalidName(f"{text!r} is not an address in brackets")
        return HostAndPort(host, _port(rest[1:]) if rest else None)
    if is_ip_address(text):
        return HostAndPort(text, None)
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, ""
    return HostAndPort(host if is_ip_address(host) else normalise(host), _port(port) if colon else None)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)) and 1 <= int(text) <= MAX_PORT):
        raise InvalidName(f"{text!r} is not a port")
    return int(text)


class NameParam(click.ParamType[str]):
    """A host name, as A-labels."""

    name = "NAME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Normalise it, or tell what is wrong."""
        text = str(value)
        if is_ip_address(text):
            self.fail(f"{text} is an address, and no name that a certificate is verified for", param, ctx)
        try:
            return normalise(text)
        except InvalidName as error:
            self.fail(str(error), param, ctx)


class TlsaParam(click.ParamType[TLSARecord]):
    """A TLSA record as in a zone file: three numbers and hexadecimal data (RFC 6698 section 2.2)."""

    name = "'3 1 1 HEX'"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> TLSARecord:
        """Parse it, or report what is wrong with it."""
        try:
            found = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TLSA, str(value))
        except (dns.exception.DNSException, ValueError) as error:
            self.fail(f"{value!r} is not a TLSA record, such as '3 1 1 0123abcd…': {error}", param, ctx)
        if not isinstance(found, TLSA):
            self.fail(f"{value!r} is not a TLSA record", param, ctx)
        return TLSARecord(found.usage, found.selector, found.mtype, found.cert)


class RootsParam(click.ParamType[TrustRoots]):
    """A PEM file of authorities."""

    name = "FILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> TrustRoots:
        """Read it, or tell what is wrong."""
        raw = _read(self, str(value), MAX_PEM_OCTETS, param, ctx)
        try:
            found = load_pem(raw)
        except InvalidCertificate as error:
            self.fail(f"{value}: {error}", param, ctx)
        return TrustRoots(str(value), tuple(each.public_bytes(Encoding.DER) for each in found))


class MessageParam(click.ParamType[bytes]):
    """A file with a message."""

    name = "FILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Read it, with the line ends that mail has, or tell what is wrong."""
        content = _read(self, str(value), MAX_MESSAGE_OCTETS, param, ctx)
        if b"\r" not in content:
            return content.replace(b"\n", b"\r\n")
        if content.count(b"\r\n") != content.count(b"\r") or content.count(b"\r\n") != content.count(b"\n"):
            self.fail(f"{value}: some lines end in CRLF, and some do not", param, ctx)
        return content


class SenderParam(click.ParamType["Mailbox | str"]):
    """A reverse-path: an address, or `<>`, which stays that word."""

    name = "ADDR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Mailbox | str:
        """Parse it, or report what is wrong with it."""
        return NULL_PATH if value in ("", NULL_PATH) else _mailbox(self, value, param, ctx)


class RecipientParam(click.ParamType[Mailbox]):
    """A forward-path."""

    name = "ADDR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Mailbox:
        """Parse it, or report what is wrong with it."""
        return _mailbox(self, value, param, ctx)


def _mailbox(
    asking: "SenderParam | RecipientParam", value: object, param: click.Parameter | None, ctx: click.Context | None
) -> Mailbox:
    try:
        return parse_mailbox(str(value).removeprefix("<").removesuffix(">"))
    except InvalidAddress as error:
        asking.fail(f"{value!r}: {error}", param, ctx)


def _read(
    asking: "RootsParam | MessageParam",
    name: str,
    max_octets: int,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> bytes:
    try:
        with Path(name).open("rb") as file:
            data = file.read(max_octets + 1)
    except OSError as error:
        asking.fail(f"{name}: {error.strerror}", param, ctx)
    if len(data) > max_octets:
        asking.fail(f"{name}: longer than {max_octets} octets", param, ctx)
    return data
