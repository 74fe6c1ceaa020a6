"""The configuration: one TOML file in, frozen options out; every mistake at once, with its line and a hint.

Pydantic stands at the edge only. What the rooms get are their own frozen dataclasses, built here, so that no room reads
the configuration. Files that the configuration names (certificates, trust roots, anchors) are read here too: whoever
holds an Options holds something that can be run.
"""

import datetime as dt
import difflib
import functools
import ipaddress
import os
import pwd
import re
import socket
import ssl
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import certifi
import dns.name
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from letterlock.deliver.options import DeliverOptions, Timeouts
from letterlock.identity.certificates import InvalidCertificate, parse_certificate
from letterlock.identity.trust import TrustRoots
from letterlock.mail.names import InvalidName, normalise
from letterlock.net.dns import InvalidUpstream, Upstream, parse_upstream
from letterlock.net.tls import BadCertificate, ServerContext
from letterlock.policy.evidence import DestinationRule, RuleException, TlsRule
from letterlock.policy.rules import Rules
from letterlock.queue.settle import RetrySchedule
from letterlock.receive.options import ReceiveOptions
from letterlock.resolver import ALGORITHMS, SHA1_ALGORITHMS, InvalidAnchor, NegativeAnchor, TrustAnchor, parse_anchors

DEFAULT_LISTEN = "127.0.0.1:2525"
DEFAULT_USER = "letterlock"
MAX_FILE_OCTETS = 4 << 20
EX_CONFIG = 78

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in a configuration: where, what, and what to do."""

    key: str
    message: str
    line: int | None = None
    hint: str | None = None


class BadConfig(Exception):
    """The configuration cannot be used. `str()` is the whole report for the operator."""

    def __init__(self, source: str, mistakes: Iterable[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.line or 0, mistake.key)))
        super().__init__(self._report())

    def _report(self) -> str:
        lines = []
        for mistake in self.mistakes:
            place = f"{self.source}:{mistake.line}" if mistake.line else self.source
            lines.append(f"{place}: {mistake.key}" if mistake.key else place)
            lines.append(f"  {mistake.message}")
            if mistake.hint:
                lines.append(f"  hint: {mistake.hint}")
        count = len(self.mistakes)
        lines.append(f"{count} mistake{'s' if count != 1 else ''}. Nothing was started.")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An IP address and a TCP port to listen on; port 0 lets the system choose."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverOptions:
    """Whom to ask, and what to trust. No upstreams: those of the system. No anchors: the root's, as shipped."""

    upstreams: tuple[Upstream, ...]
    anchors: tuple[TrustAnchor, ...]
    timeout_seconds: float
    negative_anchors: tuple[NegativeAnchor, ...] = ()
    algorithms: frozenset[int] = ALGORITHMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that the server needs to know, checked."""

    source: str
    hostname: str
    user: str | None
    listen: tuple[Endpoint, ...]
    server_context: ServerContext | None
    receive: ReceiveOptions
    queue_directory: Path
    schedule: RetrySchedule
    resolver: ResolverOptions
    deliver: DeliverOptions
    rules: Rules
    mta_sts: bool = True


def load(path: Path | None) -> Options:
    """Read a configuration file; None means the safe defaults, on loopback.

    Raises BadConfig.
    """
    if path is None:
        return parse("", "defaults")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_OCTETS + 1)
        text = raw.decode()
    except OSError as error:
        raise BadConfig(str(path), [Mistake(key="", message=f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise BadConfig(str(path), [Mistake(key="", message="is not UTF-8 text")]) from None
    if len(raw) > MAX_FILE_OCTETS:
        raise BadConfig(str(path), [Mistake(key="", message=f"is larger than {MAX_FILE_OCTETS} octets")])
    return parse(text, str(path), base=path.parent)


def parse(text: str, source: str, *, base: Path | None = None) -> Options:
    """Turn TOML text into Options. Relative paths are taken from `base` (default: the working directory).

    Raises BadConfig.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        mistake = Mistake(key="", message=f"is not TOML: {error}", line=int(found[1]) if found else None)
        raise BadConfig(source, [mistake]) from None
    lines = locate(text)
    try:
        file = _File.model_validate(data, context={"base": base or Path()})
    except ValidationError as error:
        raise BadConfig(source, [_mistake(details, lines) for details in error.errors()]) from None
    return _options(file, source, lines)


# --- the file, as pydantic sees it -----------------------------------------------------------------------------------


def _wrong(message: str, hint: str = "", at: str = "") -> PydanticCustomError:
    """A mistake for pydantic to place; `at` names the key inside a table that was checked as a whole."""
    return PydanticCustomError("letterlock", "{message}", {"message": message, "hint": hint, "at": at})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(f"must be text in quotes, not {value!r}")
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base", Path())
    return base / Path(_text(value)).expanduser()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_OCTETS + 1)
    except OSError as error:
        raise _wrong(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE_OCTETS:
        raise _wrong(f"{path} is larger than {MAX_FILE_OCTETS} octets")
    return raw


def _endpoint(value: object) -> Endpoint:
    text = _text(value)
    address, colon, port = text.rpartition(":")
    try:
        ip = ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        ip = None
    if ip is None or not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise _wrong(f"{text!r} is not an address and a port", 'write "127.0.0.1:2525" or "[::1]:2525"')
    return Endpoint(str(ip), int(port))


def _network(value: object) -> Network:
    try:
        return ipaddress.ip_network(_text(value))
    except ValueError as error:
        raise _wrong(str(error), 'write "192.0.2.0/24" or "2001:db8::/32"') from None


def _domain_name(value: object) -> str:
    try:
        return normalise(_text(value))
    except InvalidName as error:
        raise _wrong(str(error)) from None


def _upstream(value: object) -> Upstream:
    try:
        return parse_upstream(_text(value))
    except InvalidUpstream as error:
        raise _wrong(str(error), 'write "192.0.2.53" or "127.0.0.1:5353"') from None


def _user(value: object) -> str:
    name = _text(value)
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise _wrong(f"this system has no user {name!r}", f"as root: useradd --system {name}") from None
    return name


def _anchors(value: object, info: ValidationInfo) -> tuple[TrustAnchor, ...]:
    path = _path(value, info)
    try:
        return tuple(parse_anchors(_read(path).decode(errors="replace"), str(path)))
    except InvalidAnchor as error:
        raise _wrong(str(error), "one DS or DNSKEY record a line, as in a zone file") from None


_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def _roots(value: object, info: ValidationInfo) -> TrustRoots:
    if value == "system":
        return system_roots()
    path = _path(value, info)
    return TrustRoots(str(path), _own_certificates(_read(path), path))


def _own_certificates(raw: bytes, path: Path) -> tuple[bytes, ...]:
    try:
        found = tuple(parse_certificate(der) for der in _pem_blocks(raw))
    except (ValueError, InvalidCertificate) as error:
        raise _wrong(f"{path} holds no usable certificates: {error}", "a file of PEM certificates") from None
    if not found:
        raise _wrong(f"{path} holds no certificates", "a file of PEM certificates")
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)


def _pem_blocks(raw: bytes) -> list[bytes]:
    """The certificates of a PEM file as DER. Raises ValueError."""
    return [ssl.PEM_cert_to_DER_cert(block[0].decode()) for block in _PEM.finditer(raw)]


@functools.cache
def system_roots() -> TrustRoots:
    """The WebPKI roots: the system's bundle, else certifi's; those that nobody could use are left out."""
    system = ssl.get_default_verify_paths().cafile
    path = Path(system) if system and Path(system).is_file() else Path(certifi.where())
    return TrustRoots("system", tuple(filter(_is_usable, _pem_blocks(path.read_bytes()))))


def _is_usable(der: bytes) -> bool:
    try:
        parse_certificate(der)
    except InvalidCertificate:
        return False
    return True


_TLS_RULES = [rule.value for rule in TlsRule]


def _tls_rule(value: object) -> TlsRule:
    text = _text(value)
    if text not in _TLS_RULES:
        raise _wrong(f"unknown value {text!r}; one of: {', '.join(_TLS_RULES)}", _guess(text, _TLS_RULES))
    return TlsRule(text)


def _moment(value: object) -> float:
    """A TOML date or time as seconds since 1970; a date means its beginning, UTC."""
    match value:
        case dt.datetime():
            return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
        case dt.date():
            return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC).timestamp()
    raise _wrong(f"must be a date without quotes, not {value!r}", "write until = 2027-01-31")


_VERSIONS = {"1.2": "TLSv1.2", "1.3": "TLSv1.3"}


def _tls_version(value: object) -> str:
    text = _text(value)
    if text not in _VERSIONS:
        raise _wrong(f"unknown TLS version {text!r}; one of: 1.2, 1.3", _guess(text, list(_VERSIONS)))
    return _VERSIONS[text]


def _fingerprint(value: object) -> bytes:
    """SHA-256 of a certificate or of its key, in hexadecimal, colons and `sha256:` in front allowed."""
    text = _text(value).lower().removeprefix("sha256:").replace(":", "")
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise _wrong(f"{value!r} is not a SHA-256 fingerprint", "64 hexadecimal digits; `letterlock probe` shows them")
    return bytes.fromhex(text)


def _rule_domain(value: object) -> str:
    text = _text(value)
    if text == "*":
        return text
    prefix = "*." if text.startswith("*.") else ""
    return prefix + _domain_name(text.removeprefix("*."))


Octets = Annotated[int, Field(ge=1024, le=1 << 30)]
Seconds = Annotated[float, Field(gt=0, le=60 * 86400)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class _Smtp(_Table):
    """Receiving mail."""

    listen: list[Annotated[Endpoint, PlainValidator(_endpoint)]] = Field(
        [_endpoint(DEFAULT_LISTEN)], min_length=1, description="Addresses and ports to listen on."
    )
    certificate: Annotated[Path, PlainValidator(_path)] | None = Field(
        None, description="PEM file of the server's certificate and its intermediates; with `key`, STARTTLS is offered."
    )
    key: Annotated[Path, PlainValidator(_path)] | None = Field(None, description="PEM file of the private key.")
    relay_networks: list[Annotated[Network, PlainValidator(_network)]] = Field(
        [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")],
        description="Clients that may send to anybody. Nobody else may relay.",
    )
    max_message_octets: Octets = Field(26_214_400, description="Largest message accepted (SIZE).")
    max_recipients: int = Field(1000, ge=100, le=100_000, description="Most recipients of one message.")
    max_connections: int = Field(500, ge=1, le=100_000, description="Most connections at once.")
    max_connections_per_client: int = Field(
        100, ge=1, le=100_000, description="Most connections of one client at once."
    )
    command_timeout_seconds: Seconds = Field(300, description="How long a client may be silent (RFC 5321 4.5.3.2).")
    message_timeout_seconds: Seconds = Field(3600, description="How long one message may take to arrive.")
    _context: ServerContext | None = PrivateAttr(None)

    @property
    def context(self) -> ServerContext | None:
        """The certificate and its key, loaded."""
        return self._context

    @model_validator(mode="after")
    def _load_certificate(self) -> "_Smtp":
        if (self.certificate is None) != (self.key is None):
            given, missing = ("certificate", "key") if self.key is None else ("key", "certificate")
            raise _wrong(f"{given} is given, but {missing} is not", "STARTTLS needs both", at=given)
        if self.certificate and self.key:
            try:
                self._context = ServerContext.load(self.certificate, self.key)
            except BadCertificate as error:
                raise _wrong(str(error), at="certificate") from None
        return self


class _Queue(_Table):
    """Keeping mail, and trying again."""

    directory: Annotated[Path, PlainValidator(_path)] | None = Field(
        None,
        description="Where the queue lives. Unset: `$XDG_STATE_HOME/letterlock`, else `~/.local/state/letterlock`.",
    )
    retry_first_seconds: Seconds = Field(300, description="Wait before the second attempt; it grows from there.")
    retry_max_seconds: Seconds = Field(4000, description="Longest wait between two attempts.")
    lifetime_seconds: Seconds = Field(5 * 86400, description="After this, what could not be delivered goes back.")


class _NegativeAnchor(_Table):
    """A signed zone to be taken for unsigned for a while (RFC 7646), because its operator broke it."""

    reason: str = Field(min_length=1, max_length=500, description="Why; it is shown wherever the zone is met.")
    until: Annotated[float, PlainValidator(_moment)] = Field(
        description="When this ends: a date or a time, such as `2027-01-31`."
    )


class _Resolver(_Table):
    """Validated DNS."""

    upstream: list[Annotated[Upstream, PlainValidator(_upstream)]] = Field(
        [],
        max_length=16,
        description="Resolvers to ask: `ADDRESS` or `ADDRESS:PORT`. Unset: those of /etc/resolv.conf.",
    )
    anchors: list[Annotated[tuple[TrustAnchor, ...], PlainValidator(_anchors)]] = Field(
        [],
        max_length=16,
        description="Files of DS or DNSKEY records to trust. Unset: the root's keys of 2017 and 2024.",
    )
    timeout_seconds: Annotated[float, Field(ge=0.1, le=60)] = Field(10, description="How long one query may take.")
    sha1: bool = Field(
        True, description="Accept signatures with SHA-1 (algorithms 5 and 7). Off: such zones are insecure."
    )
    negative: dict[Annotated[str, PlainValidator(_domain_name)], _NegativeAnchor] = Field({}, max_length=1000)


class _Delivery(_Table):
    """Sending mail."""

    port: int = Field(25, ge=1, le=65535, description="Port of the MX hosts; TLSA records are asked for this port.")
    max_concurrent: int = Field(50, ge=1, le=10_000, description="Most deliveries at once.")
    max_concurrent_per_destination: int = Field(10, ge=1, le=10_000, description="Most deliveries at once to a domain.")
    connect_timeout_seconds: Seconds = Field(30, description="How long a connection may take to be made.")
    mta_sts: bool = Field(True, description="Honour the MTA-STS policies of domains (RFC 8461).")


class _Exception(_Table):
    """What you let pass for a while though more is demanded: the only thing that lowers what a standard demands."""

    reason: str = Field(min_length=1, max_length=200, description="Why; shown wherever the exception is used.")
    until: Annotated[float, PlainValidator(_moment)] = Field(description="The date at which it ends, UTC.")
    allow: Literal["encrypted", "clear"] = Field(
        "encrypted", description="`encrypted`: TLS with any certificate. `clear`: cleartext too, where TLS fails."
    )


class _Rule(_Table):
    """What you demand for mail to a domain, beyond what the standards demand by themselves."""

    tls: Annotated[TlsRule, PlainValidator(_tls_rule)] = Field(
        description="`may`: DANE where it applies, else opportunistic. `require-tls`: encryption, any certificate. "
        "`verify`: a certificate that PKIX verifies. `dane-only`: DANE or nothing."
    )
    names: list[Annotated[str, PlainValidator(_domain_name)]] = Field(
        [], max_length=100, description="With `verify`: names to accept in the certificate instead of the MX host's."
    )
    trust: Annotated[TrustRoots, PlainValidator(_roots)] | None = Field(
        None, description='With `verify`: `"system"` (the default), or a PEM file with your own CA.'
    )
    fingerprints: list[Annotated[bytes, PlainValidator(_fingerprint)]] = Field(
        [], max_length=20, description="With `verify`: SHA-256 of the certificate or its key, instead of any CA."
    )
    minimum_version: Annotated[str, PlainValidator(_tls_version)] | None = Field(
        None, description='The oldest TLS version that will do, `"1.2"` or `"1.3"`; with any rule but `may`.'
    )
    mode: Literal["enforce", "audit"] = Field(
        "enforce",
        description="`audit`: look at what the rule demands and tell what would have been held; hold nothing.",
    )
    exception: _Exception | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "_Rule":
        for key in ("names", "trust", "fingerprints"):
            if getattr(self, key) and self.tls is not TlsRule.VERIFY:
                raise _wrong(
                    f'{key} means something only beside tls = "verify"', f"remove {key}, or change tls", at=key
                )
        if self.minimum_version and self.tls is TlsRule.MAY:
            hint = "cleartext would still pass: demand TLS first, by require-tls, verify or dane-only"
            raise _wrong('minimum_version means nothing beside tls = "may"', hint, at="minimum_version")
        return self


class _SenderRule(_Rule):
    """The same for mail from a domain, wherever it goes. Of two rules for a message the stricter one holds."""

    @model_validator(mode="after")
    def _no_exception(self) -> "_SenderRule":
        if self.exception is not None:
            raise _wrong("exceptions are for next hops", 'write it under [domain."..."]', at="exception")
        return self


class _File(_Table):
    """The top of the file."""

    hostname: Annotated[str, PlainValidator(_domain_name)] | None = Field(
        None, description="The name this server goes by: greeting, EHLO, Received, DSNs. Unset: the system's."
    )
    user: Annotated[str, PlainValidator(_user)] | None = Field(
        None, description="Started as root, become this user once the sockets are bound and the keys are read."
    )
    smtp: _Smtp = Field(default_factory=lambda: _Smtp.model_validate({}))
    queue: _Queue = Field(default_factory=lambda: _Queue.model_validate({}))
    resolver: _Resolver = Field(default_factory=lambda: _Resolver.model_validate({}))
    delivery: _Delivery = Field(default_factory=lambda: _Delivery.model_validate({}))
    domain: dict[Annotated[str, PlainValidator(_rule_domain)], _Rule] = Field({}, max_length=100_000)
    sender: dict[Annotated[str, PlainValidator(_rule_domain)], _SenderRule] = Field({}, max_length=100_000)


TABLES: dict[str, type[BaseModel]] = {
    "": _File,
    "smtp": _Smtp,
    "queue": _Queue,
    "resolver": _Resolver,
    "resolver.negative": _NegativeAnchor,
    "delivery": _Delivery,
    "domain": _Rule,
    "sender": _SenderRule,
}


# --- mistakes, placed ------------------------------------------------------------------------------------------------


def locate(text: str) -> dict[tuple[str, ...], int]:
    """The line (from 1) on which each key and table of a TOML text is first named."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = _key_path(stripped + "\n") or table
            path = table
        else:
            path = table + _key_path(stripped.partition("=")[0] + "= 0") if "=" in stripped else ()
        for depth in range(1, len(path) + 1):
            lines.setdefault(path[:depth], number)
    return lines


def _key_path(line: str) -> tuple[str, ...]:
    """The dotted key that a line of TOML names, by asking the TOML parser itself; () when it names none."""
    try:
        value: object = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while value and isinstance(value, dict | list):
        value = value[0] if isinstance(value, list) else next(iter(value.items()))
        if isinstance(value, tuple):
            path.append(value[0])
            value = value[1]
    return tuple(path)


def _mistake(details: ErrorDetails, lines: Mapping[tuple[str, ...], int]) -> Mistake:
    context = details.get("ctx", {})
    place = details["loc"] + ((context["at"],) if context.get("at") else ())
    place = tuple(part for part in place if part != "[key]")
    names = tuple(part for part in place if isinstance(part, str))
    message, hint = _words(details, names)
    line = next((lines[names[:depth]] for depth in range(len(names), 0, -1) if names[:depth] in lines), None)
    return Mistake(key=_dotted(place), message=message, hint=hint or None, line=line)


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _dotted(place: tuple[str | int, ...]) -> str:
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else f'"{part}"')
    return text


def _words(details: ErrorDetails, names: tuple[str, ...]) -> tuple[str, str]:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "letterlock":
        return str(context["message"]), str(context["hint"])
    if kind == "extra_forbidden":
        known = _known_keys(names[:-1])
        return "unknown key", _guess(names[-1], known) or f"known here: {', '.join(known)}"
    if kind == "missing":
        return "is missing", ""
    return details["msg"].removeprefix("Input should be ").strip(), f"it is {details['input']!r} here"


def _known_keys(table: tuple[str, ...]) -> list[str]:
    name = "resolver.negative" if len(table) == 3 else table[0] if table else ""
    return list(TABLES[name].model_fields)


def _guess(text: str, known: list[str]) -> str:
    close = difflib.get_close_matches(text, known, n=1)
    return f'did you mean "{close[0]}"?' if close else ""


# --- options, built --------------------------------------------------------------------------------------------------


def default_state_directory() -> Path:
    """Where the queue lives when nobody said: `$XDG_STATE_HOME/letterlock`, else `~/.local/state/letterlock`."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "letterlock"


def _system_hostname() -> str:
    try:
        return normalise(socket.gethostname())
    except InvalidName:
        return "localhost"


def _options(file: _File, source: str, lines: Mapping[tuple[str, ...], int]) -> Options:
    hostname = file.hostname or _system_hostname()
    smtp, queue, delivery = file.smtp, file.queue, file.delivery
    return Options(
        source=source,
        hostname=hostname,
        user=file.user,
        listen=tuple(smtp.listen),
        server_context=smtp.context,
        receive=ReceiveOptions(
            hostname=hostname,
            relay_networks=tuple(smtp.relay_networks),
            max_message_octets=smtp.max_message_octets,
            max_recipients=smtp.max_recipients,
            max_connections=smtp.max_connections,
            max_connections_per_client=smtp.max_connections_per_client,
            command_timeout_seconds=smtp.command_timeout_seconds,
            message_timeout_seconds=smtp.message_timeout_seconds,
            expire_seconds=queue.lifetime_seconds,
        ),
        queue_directory=queue.directory or default_state_directory(),
        schedule=RetrySchedule(first_seconds=queue.retry_first_seconds, maximum_seconds=queue.retry_max_seconds),
        resolver=ResolverOptions(
            upstreams=tuple(file.resolver.upstream),
            anchors=tuple(anchor for anchors in file.resolver.anchors for anchor in anchors),
            timeout_seconds=file.resolver.timeout_seconds,
            negative_anchors=tuple(
                NegativeAnchor(zone=dns.name.from_text(zone), reason=each.reason, until=each.until)
                for zone, each in file.resolver.negative.items()
            ),
            algorithms=ALGORITHMS if file.resolver.sha1 else ALGORITHMS - SHA1_ALGORITHMS,
        ),
        deliver=DeliverOptions(
            hostname=hostname,
            port=delivery.port,
            max_concurrent=delivery.max_concurrent,
            max_concurrent_per_destination=delivery.max_concurrent_per_destination,
            timeouts=Timeouts(connect=delivery.connect_timeout_seconds),
        ),
        rules=Rules(
            {domain: _rule("domain", domain, rule, source, lines) for domain, rule in file.domain.items()},
            {domain: _rule("sender", domain, rule, source, lines) for domain, rule in file.sender.items()},
        ),
        mta_sts=delivery.mta_sts,
    )


def _rule(table: str, domain: str, rule: _Rule, source: str, lines: Mapping[tuple[str, ...], int]) -> DestinationRule:
    line = lines.get((table, domain))
    exception = rule.exception
    return DestinationRule(
        domain=domain,
        tls=rule.tls,
        source=f"{source}:{line}" if line else source,
        names=tuple(rule.names),
        trust=rule.trust or (system_roots() if rule.tls is TlsRule.VERIFY else None),
        fingerprints=tuple(rule.fingerprints),
        minimum_version=rule.minimum_version,
        audit=rule.mode == "audit",
        exception=RuleException(allow_clear=exception.allow == "clear", why=exception.reason, until=exception.until)
        if exception
        else None,
    )
