"""Single values of the configuration: text in, checked values out; errors in terms that operators know."""

import datetime as dt
import ipaddress
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from letterlock.config.mistakes import guess, wrong
from letterlock.config.wording import as_written
from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.names import InvalidName, is_ip_address, normalise
from letterlock.net.dns import InvalidUpstream, Upstream, parse_upstream
from letterlock.net.service_address import ServiceAddress
from letterlock.net.sources import SourceAddresses, parse_sources
from letterlock.receive.profiles import Role
from letterlock.resolver import InvalidAnchor, TrustAnchor, parse_anchors
from letterlock.routing.destination_rule import MemoryMode, TlsRule
from letterlock.shared_defaults import MAX_FILE_OCTETS
from letterlock.store.engines import ENGINES, StoreAddress, UnknownEngine, parse_store

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_T = TypeVar("_T")

_SOURCES = 'at most one IPv4 and one IPv6 address of this machine: ["192.0.2.25", "2001:db8::25"]'


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An IP address and a TCP port to listen on; port 0 lets the system choose."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def text_of(value: object) -> str:
    """Text, or a mistake."""
    if not isinstance(value, str):
        raise wrong(f"must be text in quotes, not {as_written(value)}")
    if any(character < " " or character == "\x7f" for character in value):
        raise wrong("has a character that cannot be printed")
    return value


CREDENTIALS = ("%d/", "$CREDENTIALS_DIRECTORY/")
"""How a path of a credential begins (systemd.exec(5), LoadCredential=): as units and as services write it."""
USUAL_CREDENTIALS = Path("/run/credentials/letterlock.service")  # for commands that systemd did not start


def credentials() -> Path:
    """The directory of the credentials that systemd hands over."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY") or USUAL_CREDENTIALS)


def path_of(value: object, info: ValidationInfo) -> Path:
    """A path; a relative one is taken from the folder of the configuration, a credential from systemd's."""
    base: Path = (info.context or {}).get("base", Path())
    text = text_of(value)
    if not text:
        raise wrong("names no file")
    for start in CREDENTIALS:
        if text.startswith(start):
            return credentials() / text.removeprefix(start)
    try:
        return base / Path(text).expanduser()
    except RuntimeError:  # as pathlib has it for a home that cannot be found
        raise wrong("begins with ~, and that user has no home directory: write the whole path") from None


def drop_directory(value: object, info: ValidationInfo) -> Path | None:
    """A path, or `false`: there is none."""
    return None if value is False else path_of(value, info)


def store_address(value: object, info: ValidationInfo) -> StoreAddress:
    """`ENGINE:LOCATION`; a directory is taken from the folder of the configuration, as every path."""
    try:
        address = parse_store(text_of(value))
    except UnknownEngine as error:
        raise wrong(str(error), 'write "sqlite:/var/lib/letterlock", or remove the key') from None
    if ENGINES[address.engine].in_directory and address.location:
        return replace(address, location=str(path_of(address.location, info)))
    return address


def read(path: Path) -> bytes:
    """The octets of a file that the configuration names, at most MAX_FILE_OCTETS, or a mistake."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_OCTETS + 1)
    except OSError as error:
        raise wrong(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE_OCTETS:
        raise wrong(f"{path} is larger than {MAX_FILE_OCTETS} octets")
    return raw


def endpoint(value: object) -> Endpoint:
    """An address and a port."""
    return _endpoint(text_of(value), 'write "127.0.0.1:2525" or "[::1]:2525"')


def _endpoint(text: str, hint: str) -> Endpoint:
    address, colon, port = text.rpartition(":")
    try:
        ip = ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        ip = None
    if ip is None or not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise wrong(f"{text!r} is not an address and a port", hint)
    if needs_interface(ip):
        raise wrong(f"{ip} is link-local, and needs its interface", f'write "[{ip}%eth0]:{port}"')
    return Endpoint(str(ip), int(port))


@dataclass(frozen=True, slots=True)
class UnixPath:
    """The path of a UNIX socket to listen on."""

    path: Path

    def __str__(self) -> str:
        return f"{UNIX}{self.path}"


def dns_endpoint(value: object) -> Endpoint:
    """An address and a port for the resolver door: a response has to come from the address that was asked."""
    found = endpoint(value)
    if ipaddress.ip_address(found.address.partition("%")[0]).is_unspecified:
        raise wrong("names all addresses at once", 'name each address of this machine: ["127.0.0.1:53", "[::1]:53"]')
    return found


UNIX = "unix:"


def door_endpoint(value: object, info: ValidationInfo) -> Endpoint | UnixPath:
    """An address and a port, or a UNIX socket."""
    text = text_of(value)
    if text.startswith(UNIX):
        return UnixPath(path_of(text.removeprefix(UNIX), info))
    return endpoint(value)


def _network(value: object) -> Network:
    try:
        return ipaddress.ip_network(text_of(value))
    except ValueError as error:
        raise wrong(str(error), 'write "192.0.2.0/24" or "2001:db8::/32"') from None


def _address(value: object) -> str:
    try:
        return str(ipaddress.ip_address(text_of(value)))
    except ValueError as error:
        raise wrong(str(error), 'write "192.0.2.1" or "2001:db8::1"') from None


_SERVICE_HINT = 'write "unix:/run/program/socket" or "127.0.0.1:11332"'


def service_address(value: object) -> ServiceAddress:
    """`unix:PATH`, `inet:HOST:PORT` or `HOST:PORT`. Raises what pydantic expects of a value that is none of these."""
    text = text_of(value)
    for prefix in ("unix:", "local:"):
        if text.startswith(prefix):
            path = text.removeprefix(prefix)
            if not path.startswith("/"):
                raise wrong(f"{text!r}: the path of a socket begins with /", _SERVICE_HINT)
            return ServiceAddress(path=path)
    if text.startswith("/"):
        raise wrong(f"{text!r} is neither a socket nor an IP address and a port", f'write "unix:{text}"')
    host, colon, port = text.removeprefix("inet:").rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        address = None
    if address is None or not colon or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise wrong(f"{text!r} is neither a socket nor an IP address and a port", _SERVICE_HINT)
    return ServiceAddress(host=str(address), port=int(port))


def distinct(name_of: Callable[[object], str]) -> Callable[[object], object]:
    """A check that no two keys of a table are one name: one of their tables would be lost without a word."""

    def check(value: object) -> object:
        known: dict[str, str] = {}
        for written in value if isinstance(value, dict) else ():
            try:
                name = name_of(written)
            except PydanticCustomError:
                continue  # reported with its place when the key itself is checked
            if name in known:
                raise wrong(f'"{known[name]}" and "{written}" are the same', "keep one of them", at=written)
            known[name] = written
        return value

    return check


def domain_name(value: object) -> str:
    """A domain name as A-labels."""
    try:
        return normalise(text_of(value))
    except InvalidName as error:
        host = urlsplit(text_of(value)).hostname
        raise wrong(str(error), f'write "{host}"' if host else 'write "example.org"') from None


def host_name(value: object) -> str:
    """The name of a host as A-labels: letters, digits and hyphens (RFC 5321 section 2.3.5), not as in all of DNS."""
    text = text_of(value)
    if is_ip_address(text):
        raise wrong(f"{text} is an address, and a host has a name", 'write "mx.example.org"')
    name = domain_name(text)
    if bad := why_no_host(name):
        raise wrong(f"{text!r} is no name of a host: {bad}", 'write "mx.example.org"')
    return name


def why_no_host(name: str) -> str | None:
    """Why a domain name cannot be a host's; None: it can."""
    label = next((each for each in name.split(".") if "_" in each), None)
    return None if label is None else f"{label} has an underscore, and many servers refuse mail from such a name"


def needs_interface(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address says nothing without an interface behind it (RFC 4007)."""
    return isinstance(address, ipaddress.IPv6Address) and address.is_link_local and address.scope_id is None


def _with_interface(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Refuse a link-local address that could be on any interface."""
    if needs_interface(address):
        raise wrong(f"{address} is link-local, and needs its interface", f'write "{address}%eth0"')


def _mailbox(value: object) -> Mailbox:
    try:
        return parse_mailbox(text_of(value))
    except InvalidAddress as error:
        raise wrong(str(error), 'write "postmaster@example.org"') from None


def _upstream(value: object) -> Upstream:
    try:
        upstream = parse_upstream(text_of(value))
    except InvalidUpstream as error:
        raise wrong(str(error), 'write "192.0.2.53" or "127.0.0.1:5353"') from None
    _with_interface(ipaddress.ip_address(upstream.address))
    return upstream


def _sources(value: object) -> SourceAddresses:
    if not isinstance(value, list):
        raise wrong(f"must be a list of addresses, not {as_written(value)}", _SOURCES)
    try:
        sources = parse_sources([text_of(each) for each in value])
    except ValueError as error:
        raise wrong(str(error), _SOURCES) from None
    if sources.ipv6 is not None:
        _with_interface(ipaddress.ip_address(sources.ipv6))
    return sources


def _user(value: object) -> str:
    name = text_of(value)
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise wrong(f"this system has no user {name!r}", f"as root: useradd --system {name}") from None
    return name


def _anchors(value: object, info: ValidationInfo) -> tuple[TrustAnchor, ...]:
    path = path_of(value, info)
    try:
        return tuple(parse_anchors(read(path).decode(errors="replace"), str(path)))
    except InvalidAnchor as error:
        raise wrong(str(error), "one DS or DNSKEY record a line, as in a zone file") from None


def _moment(value: object) -> float:
    """A TOML date or time as seconds since 1970; a date means its beginning, UTC."""
    match value:
        case dt.datetime():
            return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
        case dt.date():
            return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC).timestamp()
    raise wrong(f"must be a date without quotes, not {as_written(value)}", "write until = 2027-01-31")


_METRICS_HINT = 'write "127.0.0.1:9725", or "unix:/run/letterlock/metrics.sock"'


def _metrics_address(value: object, info: ValidationInfo) -> Endpoint | UnixPath:
    text = text_of(value)
    if text == UNIX:
        raise wrong("names no socket", _METRICS_HINT)
    return door_endpoint(text, info) if text.startswith(UNIX) else _endpoint(text, _METRICS_HINT)


_ROLES_HINT = '"mx" takes mail for your domains on port 25; users submit on 587 ("submission") or 465 ("submissions")'


def _role(value: object) -> Role:
    text = text_of(value)
    roles = [role.value for role in Role]
    if text not in roles:
        raise wrong(f"unknown role {text!r}; one of: {', '.join(roles)}", guess(text, roles) or _ROLES_HINT)
    return Role(text)


_TLS_RULES = [rule.value for rule in TlsRule]
_TlsWord = Literal["may", "require-tls", "verify", "dane-only"]  # what editors offer; a test holds it to TlsRule
_MEMORY_MODES = [mode.value for mode in MemoryMode]
_MemoryWord = Literal["off", "observe", "hold"]  # as above
_VersionWord = Literal["1.2", "1.3"]
_VERSIONS = {"1.2": "TLSv1.2", "1.3": "TLSv1.3"}


def _tls_rule(value: object) -> TlsRule:
    text = text_of(value)
    if text not in _TLS_RULES:
        raise wrong(f"unknown value {text!r}; one of: {', '.join(_TLS_RULES)}", guess(text, _TLS_RULES))
    return TlsRule(text)


def _memory_mode(value: object) -> MemoryMode:
    text = text_of(value)
    if text not in _MEMORY_MODES:
        raise wrong(f"unknown value {text!r}; one of: {', '.join(_MEMORY_MODES)}", guess(text, _MEMORY_MODES))
    return MemoryMode(text)


def _tls_version(value: object) -> str:
    text = text_of(value)
    if text not in _VERSIONS:
        raise wrong(f"unknown TLS version {text!r}; one of: 1.2, 1.3", guess(text, _VERSIONS))
    return _VERSIONS[text]


def _fingerprint(value: object) -> bytes:
    """SHA-256 of a certificate or of its key, in hexadecimal, colons and `sha256:` in front allowed."""
    text = text_of(value).lower().removeprefix("sha256:").replace(":", "")
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):  # SHA-256 in hexadecimal
        raise wrong(f"{value!r} is not a SHA-256 fingerprint", "64 hexadecimal digits; `letterlock probe` shows them")
    return bytes.fromhex(text)


Octets = Annotated[int, Field(ge=1024, le=1 << 30)]
Seconds = Annotated[float, Field(gt=0, le=60 * 86400)]
Port = Annotated[int, Field(ge=1, le=65535)]
Workers = Annotated[int, Field(ge=1, le=64)]  # each has a queue, sockets and caches of its own
Moment = Annotated[float, PlainValidator(_moment)]
FilePath = Annotated[Path, PlainValidator(path_of, json_schema_input_type=str)]
StoreText = Annotated[StoreAddress, PlainValidator(store_address, json_schema_input_type=str)]
DropPath = Annotated[Path | None, PlainValidator(drop_directory, json_schema_input_type=str | bool)]
MetricsAddress = Annotated[Endpoint | UnixPath, PlainValidator(_metrics_address, json_schema_input_type=str)]
RuleOfTls = Annotated[TlsRule, PlainValidator(_tls_rule, json_schema_input_type=_TlsWord)]
ModeOfMemory = Annotated[MemoryMode, PlainValidator(_memory_mode, json_schema_input_type=_MemoryWord)]
VersionOfTls = Annotated[str, PlainValidator(_tls_version, json_schema_input_type=_VersionWord)]
CertificateFingerprint = Annotated[bytes, PlainValidator(_fingerprint, json_schema_input_type=str)]
DomainName = Annotated[str, PlainValidator(domain_name, json_schema_input_type=str)]
NamedByDomain = Annotated[dict[DomainName, _T], BeforeValidator(distinct(domain_name))]
HostName = Annotated[str, PlainValidator(host_name, json_schema_input_type=str)]
ListenEndpoint = Annotated[Endpoint, PlainValidator(endpoint, json_schema_input_type=str)]
DnsEndpoint = Annotated[Endpoint, PlainValidator(dns_endpoint, json_schema_input_type=str)]
DoorEndpoint = Annotated[Endpoint | UnixPath, PlainValidator(door_endpoint, json_schema_input_type=str)]
ListenerRole = Annotated[Role, PlainValidator(_role, json_schema_input_type=str)]
ClientNetwork = Annotated[Network, PlainValidator(_network, json_schema_input_type=str)]
Service = Annotated[ServiceAddress, PlainValidator(service_address, json_schema_input_type=str)]
IpAddress = Annotated[str, PlainValidator(_address, json_schema_input_type=str)]
MailAddress = Annotated[Mailbox, PlainValidator(_mailbox, json_schema_input_type=str)]
UpstreamAddress = Annotated[Upstream, PlainValidator(_upstream, json_schema_input_type=str)]
UserName = Annotated[str, PlainValidator(_user, json_schema_input_type=str)]
Sources = Annotated[SourceAddresses, PlainValidator(_sources, json_schema_input_type=list[str])]
AnchorFile = Annotated[tuple[TrustAnchor, ...], PlainValidator(_anchors, json_schema_input_type=str)]


MAX_EHLO_KEYWORDS = 100  # as many as an EHLO reply may have lines, roughly; far more than an operator would suppress
_ABOUT_TLS = frozenset({"STARTTLS", "REQUIRETLS"})


def ehlo_keyword(value: object) -> str:
    """A keyword of an EHLO reply (RFC 5321 section 4.1.1.1), in capitals; not one that protects a message."""
    keyword = text_of(value).upper()
    if not (keyword.isascii() and keyword.replace("-", "").isalnum() and keyword[0] != "-"):
        raise wrong(f"{value!r} is not a keyword of an EHLO reply", 'such as "CHUNKING" or "PIPELINING"')
    if keyword in _ABOUT_TLS:
        raise wrong(f"{keyword} cannot be ignored", "whether TLS is used is decided by rules: see `tls`")
    return keyword


EhloKeywords = Annotated[
    list[Annotated[str, PlainValidator(ehlo_keyword, json_schema_input_type=str)]], Field(max_length=MAX_EHLO_KEYWORDS)
]
