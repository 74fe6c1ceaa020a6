"""Foreign servers that send by MX into a lab box: Postfix, Exim and OpenSMTPD, each as well set up as its manual says.

Each asks one resolver at port 53: Unbound, which validates. What a rule of Letterlock demands for a domain, each gets
in the words of its own configuration.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from letterlock.lab.box import Box
from letterlock.lab.scenarios import SiteProtection
from tests.interop.companion_box import MODERN_TLS, operators_map, postfix_with_authorities
from tests.interop.nameservers import Place
from tests.interop.programs import Program, run
from tests.interop.unpacked import FIRST_ID, boxed, own, unpacked

HOSTNAME = "sender.lab.test"
MAX_RETRY_DAYS = 4  # as in Exim's own example; nothing here waits for it


class Decided(StrEnum):
    """What a server's log says became of a recipient."""

    OPEN = "open"
    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True)
class SendingPeer:
    """A running server: where it takes mail, and its log."""

    place: Place
    program: Program
    patterns: tuple[tuple[Decided, str], ...]  # regular expressions with {recipient}
    log: Callable[[], str]

    def has_ended(self) -> bool:
        """Whether the server is gone; what it had not delivered is in its queue."""
        return self.program.process.poll() is not None

    def decided(self, recipient: str) -> Decided:
        """The first thing that the log says of a recipient."""
        text = self.log()
        found = [
            (at.start(), decided)
            for decided, pattern in self.patterns
            if (at := re.search(pattern.replace("{recipient}", re.escape(recipient)), text))
        ]
        return min(found)[1] if found else Decided.OPEN


def _domain(box: Box, protection: SiteProtection) -> str:
    return box.world.sites[protection].domain


# --- Postfix ---------------------------------------------------------------------------------------------------------

_POSTFIX_LOG = tuple(
    (decided, rf"to=<{{recipient}}>.* status={status} ")
    for decided, status in ((Decided.SENT, "sent"), (Decided.DEFERRED, "deferred"), (Decided.BOUNCED, "bounced"))
)


@contextmanager
def postfix_alone(box: Box, directory: Path, resolver: str) -> Iterator[SendingPeer]:
    """Postfix with DANE, and a policy map for what the operator demands (TLS_README, smtp_tls_policy_maps)."""
    parameters = {
        "smtp_tcp_port": str(box.berths.port),
        "smtp_tls_CAfile": str(box.authority_file),
        "smtp_tls_mandatory_protocols": MODERN_TLS,
        "smtp_tls_policy_maps": operators_map(box, directory.with_suffix(".policy")),
    }
    with postfix_with_authorities(box, directory, resolver, parameters) as postfix:
        yield SendingPeer(postfix.place, postfix.program, _POSTFIX_LOG, postfix.log)


# --- Exim ------------------------------------------------------------------------------------------------------------

_EXIM = """\
exim_user = exim
exim_group = exim
primary_hostname = {hostname}
exim_path = {folder}/usr/sbin/exim4
keep_environment =
spool_directory = {directory}/own
log_file_path = {directory}/own/%slog
pid_file_path = {directory}/own/pid
local_interfaces = {place.address}
daemon_smtp_ports = {place.port}
host_lookup =
rfc1413_query_timeout = 0s
dns_dnssec_ok = 1
disable_ipv6
acl_smtp_rcpt = anything
acl_smtp_data = anything
log_selector = +tls_cipher +tls_certificate_verified +dnssec
begin acl
anything:
  accept
begin routers
require:
  driver = dnslookup
  domains = {require}
  transport = require
  self = send
  dnssec_request_domains = *
verify:
  driver = dnslookup
  domains = {verify}
  transport = verify
  self = send
  dnssec_request_domains = *
own_ca:
  driver = dnslookup
  domains = {own_ca}
  transport = own_ca
  self = send
  dnssec_request_domains = *
others:
  driver = dnslookup
  transport = dane
  self = send
  dnssec_request_domains = *
begin transports
dane:
  driver = smtp
  port = {port}
  allow_localhost
  dnssec_request_domains = *
  hosts_try_dane = *
  tls_verify_certificates = {public}
require:
  driver = smtp
  port = {port}
  allow_localhost
  dnssec_request_domains = *
  hosts_try_dane = *
  hosts_require_tls = *
  tls_require_ciphers = NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2
  tls_verify_certificates = {public}
verify:
  driver = smtp
  port = {port}
  allow_localhost
  dnssec_request_domains = *
  hosts_try_dane = *
  hosts_require_tls = *
  tls_require_ciphers = NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2
  tls_verify_certificates = {public}
  tls_verify_hosts = *
  tls_verify_cert_hostnames = *
own_ca:
  driver = smtp
  port = {port}
  allow_localhost
  dnssec_request_domains = *
  hosts_try_dane = *
  hosts_require_tls = *
  tls_require_ciphers = NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2
  tls_verify_certificates = {private}
  tls_verify_hosts = *
  tls_verify_cert_hostnames = *
begin retry
* * F,{days}d,1s
"""
_EXIM_LOG = (
    (Decided.SENT, r" (=>|->) {recipient} "),
    (Decided.DEFERRED, r" == {recipient} "),
    (Decided.BOUNCED, r" \*\* {recipient} "),
)


def _resolv_conf(directory: Path, resolver: str) -> Path:
    path = directory / "resolv.conf"
    path.write_text(f"nameserver {resolver}\noptions edns0 trust-ad\n")
    return path


@contextmanager
def exim_alone(box: Box, directory: Path, resolver: str) -> Iterator[SendingPeer]:
    """Exim with DANE tried at every host, and a transport for each rule (the specification, chapter 43)."""
    directory.mkdir(mode=0o755)
    folder = unpacked("exim4-daemon-light", "usr/sbin/exim4")
    own(directory / "own", FIRST_ID)
    place = Place.free("127.0.0.1")
    config = directory / "lib/exim4/config.autogenerated"  # compiled in; with any other file it gives up root too early
    config.parent.mkdir(parents=True)
    config.write_text(
        _EXIM.format(
            folder=folder,
            directory=directory,
            hostname=HOSTNAME,
            place=place,
            port=box.berths.port,
            require=_domain(box, SiteProtection.REQUIRE_TLS),
            verify=_domain(box, SiteProtection.VERIFY),
            own_ca=_domain(box, SiteProtection.OWN_CA),
            public=_readable(box.authority_file, directory),
            private=_readable(box.private_authority_file, directory),
            days=MAX_RETRY_DAYS,
        )
    )
    users = {"exim": "/", "Debian-exim": "/"}
    command: list[str | Path] = [folder / "usr/sbin/exim4", "-bdf"]
    laid_over = {_resolv_conf(directory, resolver): "/etc/resolv.conf"}
    log = directory / "own" / "mainlog"
    with boxed(
        "exim", command, directory, users=users, port=(place.address, place.port), laid_over=laid_over
    ) as program:
        yield SendingPeer(place, program, _EXIM_LOG, lambda: log.read_text(errors="replace") if log.exists() else "")


def _readable(path: Path, directory: Path) -> Path:
    """A copy of a certificate where a program that gave up root can read it."""
    copy = directory / path.name
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o644)
    return copy


# --- OpenSMTPD -------------------------------------------------------------------------------------------------------

_OPENSMTPD = """\
mta limit max-conn-per-host 50
mta limit conn-delay-route 0
mta limit conn-delay-relay 0
mta limit reconn-delay-route 0
listen on {place.address} port {place.port} hostname {hostname}
action "plain" relay helo {hostname}
action "require" relay helo {hostname} tls no-verify
action "verify" relay helo {hostname} tls
match from any for domain "{require}" action "require"
match from any for domain "{verify}" action "verify"
match from any for domain "{own_ca}" action "verify"
match from any for any action "plain"
"""
_OPENSMTPD_LOG = tuple(
    (decided, rf"to=<{{recipient}}>.* result=\"?{result}")
    for decided, result in ((Decided.SENT, "Ok"), (Decided.DEFERRED, "TempFail"), (Decided.BOUNCED, "PermFail"))
)


@contextmanager
def opensmtpd_alone(box: Box, directory: Path, resolver: str) -> Iterator[SendingPeer]:
    """OpenSMTPD, whose relays verify against the authorities of the system: those of the lab are put in their place."""
    directory.mkdir(mode=0o755)
    folder = unpacked("opensmtpd", "usr/sbin/smtpd")
    (directory / "lib/opensmtpd/empty").mkdir(parents=True)
    (directory / "spool").mkdir()
    (directory / "spool/smtpd").mkdir()
    (directory / "spool/smtpd").chmod(0o711)
    place = Place.free("127.0.0.1")
    config = directory / "smtpd.conf"
    config.write_text(
        _OPENSMTPD.format(
            hostname=HOSTNAME,
            place=place,
            require=_domain(box, SiteProtection.REQUIRE_TLS),
            verify=_domain(box, SiteProtection.VERIFY),
            own_ca=_domain(box, SiteProtection.OWN_CA),
        )
    )
    config.chmod(0o600)
    roots = directory / "roots.pem"
    roots.write_bytes(box.authority_file.read_bytes() + box.private_authority_file.read_bytes())
    users = {"opensmtpd": "/var/lib/opensmtpd/empty", "opensmtpq": "/var/lib/opensmtpd/empty"}
    command: list[str | Path] = [folder / "usr/sbin/smtpd", "-d", "-f", config]
    laid_over = {
        folder / "usr/libexec": "/usr/libexec",  # its path to them is compiled in
        _resolv_conf(directory, resolver): "/etc/resolv.conf",
        roots: "/etc/ssl/certs/ca-certificates.crt",  # and so is this one
    }
    port = (place.address, place.port)
    with boxed("opensmtpd", command, directory, users=users, port=port, laid_over=laid_over) as program:
        yield SendingPeer(place, program, _OPENSMTPD_LOG, program.text)


def versions() -> dict[str, str]:
    """What was measured."""
    exim = unpacked("exim4-daemon-light", "usr/sbin/exim4")
    control = {name: exim.parent / name for name in ("exim4-daemon-light", "opensmtpd")}
    found = {"Postfix": run("postconf", "-hd", "mail_version").strip(), "Unbound": run("unbound", "-V").split()[1]}
    for title, package in (("Exim", "exim4-daemon-light"), ("OpenSMTPD", "opensmtpd")):
        changes = run("sh", "-c", f"zcat {control[package]}/usr/share/doc/{package}/changelog.Debian*.gz | head -1")
        found[title] = changes.split("(")[1].split(")")[0] if "(" in changes else "of Debian"
    return found
