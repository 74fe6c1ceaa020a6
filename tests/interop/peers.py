"""Foreign servers that keep what they get: Exim, OpenSMTPD, aiosmtpd, Postfix, each at a port for each of its faces."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop import postfix
from tests.interop.nameservers import Place
from tests.interop.programs import accepts, greets, running
from tests.interop.unpacked import FIRST_ID, boxed, own, unpacked

NOBODY = 65534
HOSTNAME = "mx.example.org"
DOMAIN = "example.org"
_EXIM = """\
exim_user = exim
exim_group = exim
primary_hostname = {hostname}
exim_path = {folder}/usr/sbin/exim4
keep_environment =
spool_directory = {directory}/own
log_file_path = {directory}/own/%slog
pid_file_path = {directory}/own/pid
local_interfaces = {address}
daemon_smtp_ports = {full} : {bare} : {implicit}
tls_on_connect_ports = {implicit}
tls_certificate = {certificate}
tls_privatekey = {key}
tls_advertise_hosts = *
pipelining_advertise_hosts = ${{if eq{{$received_port}}{{{bare}}}{{:}}{{*}}}}
chunking_advertise_hosts = ${{if eq{{$received_port}}{{{bare}}}{{:}}{{*}}}}
host_lookup =
rfc1413_query_timeout = 0s
message_size_limit = 10M
acl_smtp_rcpt = wanted
acl_smtp_data = accept
begin acl
wanted:
  accept domains = {domain}
  deny message = not here
begin routers
all:
  driver = accept
  transport = keep
begin transports
keep:
  driver = appendfile
  directory = {directory}/mail
  maildir_format
  create_directory
  user = exim
  group = exim
"""
_OPENSMTPD = """\
table everybody {{ "@" = "nobody" }}
listen on {place.address} port {place.port} hostname {hostname}
action "keep" mda "{directory}/keep" virtual <everybody>
match from any for any action "keep"
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server: where it offers all that it can, STARTTLS included (`full`), where neither PIPELINING nor
    CHUNKING (`bare`), and where it speaks TLS from the first octet (`implicit`); None where it cannot.
    """

    name: str
    mail: tuple[Path, ...]
    full: Place
    bare: Place | None = None
    implicit: Place | None = None

    def kept(self, subject: str) -> list[bytes]:
        """The messages with a subject, as they lie there; not those that are being written."""
        found = ((folder, file) for folder in self.mail for file in folder.glob("**/*"))
        files = (file for folder, file in found if "tmp" not in file.relative_to(folder).parts and file.is_file())
        messages = [file.read_bytes() for file in files]
        return [message for message in messages if f"\nSubject: {subject}\n".encode() in message]


@contextmanager
def exim(directory: Path, address: str, *, certificate: Path, key: Path) -> Iterator[Peer]:
    """Debian's light Exim."""
    directory.mkdir(mode=0o755)
    folder = unpacked("exim4-daemon-light", "usr/sbin/exim4")
    mail = own(directory / "mail", FIRST_ID)
    own(directory / "own", FIRST_ID)
    full, bare, implicit = (Place.free(address) for _ in range(3))
    config = directory / "exim.conf"
    config.write_text(
        _EXIM.format(
            folder=folder,
            directory=directory,
            hostname=HOSTNAME,
            domain=DOMAIN,
            address=address,
            full=full.port,
            bare=bare.port,
            implicit=implicit.port,
            certificate=certificate,
            key=key,
        )
    )
    users = {"exim": "/", "Debian-exim": "/"}
    command: list[str | Path] = [folder / "usr/sbin/exim4", "-bdf", "-C", config]
    with boxed("exim", command, directory, users=users, port=(address, full.port)):
        yield Peer("exim", (mail,), full, bare, implicit)


@contextmanager
def opensmtpd(directory: Path, address: str) -> Iterator[Peer]:
    """Debian's OpenSMTPD; in cleartext only, for its TLS server fails with OpenSSL 3 (its issue 1171). Offers neither
    PIPELINING nor CHUNKING."""
    directory.mkdir(mode=0o755)
    folder = unpacked("opensmtpd", "usr/sbin/smtpd")
    mail, place = own(directory / "mail", NOBODY), Place.free(address)
    unfinished = own(mail / "tmp", NOBODY)
    keep = directory / "keep"
    keep.write_text(f"#!/bin/sh\ncat > {unfinished}/$$ && mv {unfinished}/$$ {mail}/$(date +%s%N)-$$\n")
    keep.chmod(0o755)
    (directory / "lib/opensmtpd/empty").mkdir(parents=True)
    (directory / "spool").mkdir()
    (directory / "spool/smtpd").mkdir()
    (directory / "spool/smtpd").chmod(0o711)
    config = directory / "smtpd.conf"
    config.write_text(_OPENSMTPD.format(directory=directory, hostname=HOSTNAME, place=place))
    config.chmod(0o600)
    users = {"opensmtpd": "/var/lib/opensmtpd/empty", "opensmtpq": "/var/lib/opensmtpd/empty"}
    command: list[str | Path] = [folder / "usr/sbin/smtpd", "-d", "-f", config]
    programs = {folder / "usr/libexec": "/usr/libexec"}  # its path to them is compiled in
    with boxed("opensmtpd", command, directory, users=users, port=(address, place.port), laid_over=programs):
        yield Peer("opensmtpd", (mail,), place)


@contextmanager
def aiosmtpd(directory: Path, address: str, *, certificate: Path, key: Path) -> Iterator[Peer]:
    """aiosmtpd, twice: with STARTTLS, and with TLS from the first octet. Offers neither PIPELINING nor CHUNKING."""
    directory.mkdir(mode=0o755)
    faces = {"tls": Place.free(address), "smtps": Place.free(address)}
    with ExitStack() as stack:
        for kind, place in faces.items():
            command: list[str | Path] = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"{address}:{place.port}"]
            command += [f"--{kind}cert", certificate, f"--{kind}key", key, "--no-requiretls", "--smtputf8"]
            command += ["-c", "aiosmtpd.handlers.Mailbox", directory / kind]

            def ready(place: Place = place, kind: str = kind) -> bool:
                return greets(place.address, place.port) if kind == "tls" else _listens(place)

            log = directory / f"{kind}.log"
            stack.enter_context(running(f"aiosmtpd-{kind}", command, log=log, ready=ready))
        yield Peer("aiosmtpd", tuple(directory / kind for kind in faces), faces["tls"], implicit=faces["smtps"])


def _listens(place: Place) -> bool:
    return accepts(place.address, place.port)


@contextmanager
def postfixes(directory: Path, address: str, *, certificate: Path, key: Path) -> Iterator[Peer]:
    """Postfix: one offers all, one neither PIPELINING nor CHUNKING, one speaks TLS from the first octet."""
    directory.mkdir(mode=0o755)
    full, bare, implicit = (Place.free(address) for _ in range(3))
    less: Mapping[str, str] = {"smtpd_discard_ehlo_keywords": "pipelining, chunking, silent-discard"}
    with ExitStack() as stack:
        mail = []
        wrapped = {"smtpd_tls_wrappermode": "yes"}
        for name, place, parameters in (("full", full, {}), ("bare", bare, less), ("implicit", implicit, wrapped)):
            running_one = postfix.receiver(
                directory / name,
                place,
                hostname=HOSTNAME,
                domains=(DOMAIN,),
                certificate=certificate,
                key=key,
                parameters=parameters,
            )
            mail.append(stack.enter_context(running_one).directory / "mail")
        yield Peer("postfix", tuple(mail), full, bare, implicit)
