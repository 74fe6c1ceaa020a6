"""Upstream resolvers: parsed from text, or those of the system."""

import base64
import binascii
import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
MAX_RESOLV_CONF_OCTETS = 1 << 16  # chosen: real files have a few lines
MAX_UPSTREAMS = 16  # chosen: resolv.conf(5) uses three; more would only be asked in turn
MAX_TEXT_OCTETS = 512  # chosen: an address, a port, a name of 253 characters and pins
DNS_PORT, DNS_OVER_TLS_PORT = 53, 853  # RFC 1035 section 4.2, RFC 7858 section 3.1
_PIN = "pin-sha256="
_PIN_OCTETS = 32  # of a SHA-256 digest
_BRACKETED = re.compile(r"\[([^\]]+)\](?::(\d{1,5}))?")
_WITH_PORT = re.compile(r"([^:@]+)[:@](\d{1,5})|([^@]+)@(\d{1,5})")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62}\.?)*", re.IGNORECASE)


class InvalidUpstream(ValueError):
    """The text does not name an upstream resolver."""


class NoUpstreams(Exception):
    """The system names no upstream resolver."""


@dataclass(frozen=True, slots=True)
class UpstreamProof:
    """The proof required of an upstream: a certificate for `name`, a public key with this SHA-256, or both."""

    name: str | None = None
    pin: bytes | None = None

    def __str__(self) -> str:
        pin = f"{_PIN}{base64.b64encode(self.pin).decode()}" if self.pin else None
        return "#".join(filter(None, (self.name, pin)))


@dataclass(frozen=True, slots=True)
class Upstream:
    """A resolver to ask; over TLS where `tls` says how it is authenticated, else over UDP and TCP."""

    address: str
    port: int = DNS_PORT
    tls: UpstreamProof | None = None

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        place = f"{host}:{self.port}"
        return f"tls://{place}#{self.tls}" if self.tls else place


def parse_upstream(text: str) -> Upstream:
    """Parse `ADDRESS`, `ADDRESS:PORT`, `ADDRESS@PORT`, `[ADDRESS]:PORT` or `tls://ADDRESS[:PORT]#NAME`.

    `#pin-sha256=BASE64` (of the public key, RFC 7858 section 4.2) may replace the name, or follow it.
    Raises InvalidUpstream.
    """
    if len(text) > MAX_TEXT_OCTETS:
        raise InvalidUpstream(f"the name of an upstream is longer than {MAX_TEXT_OCTETS} characters")
    if not text.startswith("tls://"):
        return Upstream(*_place(text, text, DNS_PORT))
    place, *shown = text.removeprefix("tls://").split("#")
    address, port = _place(place, text, DNS_OVER_TLS_PORT)
    return Upstream(address, port, _authentication(shown, text))


def _place(place: str, text: str, default_port: int) -> tuple[str, int]:
    address, port = place, None
    if found := _BRACKETED.fullmatch(place):
        address, port = found[1], found[2]
    elif found := _WITH_PORT.fullmatch(place):
        address, port = found[1] or found[3], found[2] or found[4]
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise InvalidUpstream(f"{text!r} is not the IP address of a resolver") from None
    number = default_port if port is None else int(port)
    if not 0 < number < 65536:
        raise InvalidUpstream(f"{text!r}: a port is between 1 and 65535")
    return str(ip), number


def _authentication(shown: list[str], text: str) -> UpstreamProof:
    name, pin = None, None
    for each in shown:
        if each.startswith(_PIN) and pin is None:
            pin = _pin(each.removeprefix(_PIN), text)
        elif _HOST.fullmatch(each) and name is None:
            name = each
        else:
            raise InvalidUpstream(f"{text!r}: {each!r} is neither a host name nor pin-sha256=BASE64")
    if name is None and pin is None:
        raise InvalidUpstream(f"{text!r}: TLS needs to know whom to expect: tls://ADDRESS#NAME")
    return UpstreamProof(name, pin)


def _pin(encoded: str, text: str) -> bytes:
    try:
        pin = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        pin = b""
    if len(pin) != _PIN_OCTETS:
        raise InvalidUpstream(f"{text!r}: a pin is the base64 of a SHA-256")
    return pin


def system_upstreams(path: Path = RESOLV_CONF) -> tuple[Upstream, ...]:
    """The name servers of the system, from /etc/resolv.conf. Raises NoUpstreams."""
    try:
        with path.open(errors="replace") as file:
            lines = file.read(MAX_RESOLV_CONF_OCTETS).splitlines()
    except OSError as error:
        raise NoUpstreams(f"no upstream resolver: {path}: {error.strerror}") from None
    found = []
    for words in map(str.split, lines):
        if len(words) >= 2 and words[0] == "nameserver":
            with suppress(InvalidUpstream):  # what cannot be used may stand beside what can
                found.append(Upstream(*_place(words[1], words[1], DNS_PORT)))
    if not found:
        raise NoUpstreams(f"no upstream resolver: {path} has no nameserver line that can be used")
    return tuple(dict.fromkeys(found))[:MAX_UPSTREAMS]
