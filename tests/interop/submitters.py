"""Programs that hand mail in: command lines, libraries, and other mail servers, each in every way that it can.

Each is told the server, how to be secure, the mechanism and a subject; its message goes to bob@example.net, from ann.
Mail servers are started once and choose the way by the recipient's domain.
"""

import asyncio
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib

from tests.interop import postfix
from tests.interop.nameservers import Place
from tests.interop.programs import find
from tests.interop.unpacked import FIRST_ID, boxed, own, unpacked

USER, PASSWORD = "ann@example.org", "correct-horse"
RECIPIENT = "bob@example.net"
CLIENT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """The server: where it takes mail of this machine, and where users log in by STARTTLS and by implicit TLS."""

    relay: Place
    submission: Place
    submissions: Place
    directory: Path  # with ca.pem

    @property
    def authority(self) -> Path:
        """The certificate that proves the server's."""
        return self.directory / "ca.pem"

    def place(self, way: "Way") -> Place:
        """Where a client goes."""
        if way.tls == "implicit":
            return self.submissions
        return self.submission if way.mechanism else self.relay


@dataclass(frozen=True, slots=True)
class Way:
    """How a client sends: `clear`, `starttls` or `implicit`, and the mechanism, if it logs in."""

    tls: str
    mechanism: str = ""

    def __str__(self) -> str:
        return f"{self.tls}-{self.mechanism.lower()}" if self.mechanism else self.tls


Submit = Callable[[Target, Way, str], None]


def _message(subject: str) -> bytes:
    return f"From: {USER}\r\nTo: {RECIPIENT}\r\nSubject: {subject}\r\n\r\n.one\r\n..two\r\n".encode()


def _command(*arguments: str | Path, given: bytes = b"") -> None:
    done = subprocess.run(
        [find(str(arguments[0])), *map(str, arguments[1:])],
        input=given,
        capture_output=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def swaks(target: Target, way: Way, subject: str) -> None:
    """Its own SMTP client, in Perl."""
    place = target.place(way)
    options = ["--server", place.address, "--port", str(place.port), "--from", USER, "--to", RECIPIENT]
    options += {"clear": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[way.tls]
    if way.tls != "clear":
        options += ["--tls-verify", "--tls-ca-path", str(target.authority)]
    if way.mechanism:
        options += ["--auth", way.mechanism, "--auth-user", USER, "--auth-password", PASSWORD]
    _command("swaks", *options, "--data", _message(subject).decode())


def msmtp(target: Target, way: Way, subject: str) -> None:
    """GnuTLS and GNU SASL."""
    place, settings = target.place(way), target.directory / f"msmtp-{subject.replace(' ', '-')}"
    settings.write_text(
        f"account default\nhost localhost\nfrom {USER}\nuser {USER}\npassword {PASSWORD}\n"
        f"port {place.port}\ntls_trust_file {target.authority}\n"
        f"auth {way.mechanism.lower() or 'off'}\ntls {'off' if way.tls == 'clear' else 'on'}\n"
        f"tls_starttls {'off' if way.tls == 'implicit' else 'on'}\n"
    )
    settings.chmod(0o600)
    _command("msmtp", "-C", settings, "--", RECIPIENT, given=_message(subject).replace(b"\r\n", b"\n"))


def curl(target: Target, way: Way, subject: str) -> None:
    """Its own SMTP client, with OpenSSL."""
    place = target.place(way)
    options: list[str | Path] = ["-sS", "--url"]
    options.append(f"smtp{'s' if way.tls == 'implicit' else ''}://localhost:{place.port}/client.example")
    options += ["--mail-from", USER, "--mail-rcpt", RECIPIENT, "-T", "-", "--cacert", target.authority]
    options += ["--ssl-reqd"] if way.tls == "starttls" else []
    options += ["-u", f"{USER}:{PASSWORD}", "--login-options", f"AUTH={way.mechanism}"] if way.mechanism else []
    _command("curl", *options, given=_message(subject))


def gsasl(target: Target, way: Way, _subject: str) -> None:
    """GNU SASL itself, which logs in and sends no mail.

    Without -PLUS it must be told to leave out channel binding, or it refuses to begin.
    """
    options = [] if way.mechanism.endswith("PLUS") else ["--no-cb"]
    options += ["--smtp", f"--connect=localhost:{target.place(way).port}", f"--x509-ca-file={target.authority}"]
    _command("gsasl", *options, "-m", way.mechanism, "-a", USER, "-p", PASSWORD)


def python_smtplib(target: Target, way: Way, subject: str) -> None:
    """The standard library's; it chooses the mechanism, so we call the one."""
    place, context = target.place(way), ssl.create_default_context(cafile=target.authority)
    if way.tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", place.port, context=context)
    else:
        client = smtplib.SMTP("localhost", place.port)
    with client:
        if way.tls == "starttls":
            client.starttls(context=context)
        client.ehlo()
        if way.mechanism:
            client.user, client.password = USER, PASSWORD
            client.auth(way.mechanism, getattr(client, f"auth_{way.mechanism.lower()}"))
        client.sendmail(USER, [RECIPIENT], _message(subject))


def python_aiosmtplib(target: Target, way: Way, subject: str) -> None:
    """From PyPI."""

    async def send() -> None:
        client = aiosmtplib.SMTP(
            hostname="localhost",
            port=target.place(way).port,
            use_tls=way.tls == "implicit",
            start_tls=way.tls == "starttls",
            tls_context=ssl.create_default_context(cafile=target.authority),
        )
        async with client:
            if way.mechanism:
                await client.ehlo()
                await getattr(client, f"auth_{way.mechanism.lower()}")(USER, PASSWORD)
            await client.sendmail(USER, [RECIPIENT], _message(subject))

    asyncio.run(send())


# --- mail servers ---


@dataclass(frozen=True, slots=True)
class Relaying:
    """A mail server that sends what it gets at `place` to ours, in the way that the recipient's domain names."""

    place: Place
    ways: Mapping[str, Way] = field(default_factory=dict)

    def submit(self, way: Way, subject: str) -> None:
        """Hand a message to it."""
        [domain] = [name for name, one in self.ways.items() if one == way]
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = USER, f"bob@{domain}", subject
        message.set_content("hello\n.dot\n")
        with smtplib.SMTP(self.place.address, self.place.port) as client:
            client.send_message(message)


def domains(ways: tuple[Way, ...]) -> dict[str, Way]:
    """A recipients' domain for each way."""
    return {f"{str(way).replace('-', '').replace('scramsha256', 'scram')}.test": way for way in ways}


@contextmanager
def postfix_sender(directory: Path, target: Target, ways: tuple[Way, ...]) -> Iterator[Relaying]:
    """Postfix, with Cyrus SASL."""
    place, named = Place.free("127.0.0.1"), domains(ways)
    services, routes = "", []
    for domain, way in named.items():
        name, to = domain.removesuffix(".test"), target.place(way)
        level = {"clear": "none", "starttls": "secure", "implicit": "secure"}[way.tls]
        options = {
            "smtp_tls_security_level": level,
            "smtp_tls_wrappermode": "yes" if way.tls == "implicit" else "no",
            "smtp_sasl_auth_enable": "yes" if way.mechanism else "no",
            "smtp_sasl_mechanism_filter": way.mechanism.lower(),
        }
        services += f"{name} unix - - n - - smtp" + "".join(f" -o {key}={value}" for key, value in options.items())
        services += "\n"
        routes.append(f"{{{domain} = {name}:[localhost]:{to.port}}}")
    others = {
        "transport_maps": f"inline:{{{', '.join(routes)}}}",
        "smtp_tls_CAfile": str(target.authority),
        "smtp_tls_secure_cert_match": "hostname",
        "smtp_sasl_password_maps": f"static:{USER}:{PASSWORD}",
        "smtp_sasl_security_options": "noanonymous",
    }
    sending = postfix.sender(
        directory,
        place,
        hostname="client.example",
        relay_host=target.relay,
        tls_level="none",
        services=services,
        **others,
    )
    with sending:
        yield Relaying(place, named)


_EXIM = """\
exim_user = exim
exim_group = exim
primary_hostname = client.example
exim_path = {folder}/usr/sbin/exim4
keep_environment =
spool_directory = {directory}/own
log_file_path = {directory}/own/%slog
pid_file_path = {directory}/own/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin acl
begin routers
{routers}
begin transports
{transports}
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_condition = ${{if eq{{$address_data}}{{PLAIN}}}}
  client_send = ^{user}^{password}
login:
  driver = plaintext
  public_name = LOGIN
  client_condition = ${{if eq{{$address_data}}{{LOGIN}}}}
  client_send = : {user} : {password}
"""
_EXIM_ROUTER = """\
{name}:
  driver = manualroute
  domains = {domain}
  address_data = {mechanism}
  route_list = * localhost byname
  self = send
  transport = {name}
"""
_EXIM_TRANSPORT = """\
{name}:
  driver = smtp
  port = {port}
  hosts_try_dane =
  tls_verify_certificates = {authority}
  {tls}
  {auth}
"""
_EXIM_TLS = {
    "clear": "hosts_avoid_tls = *",
    "starttls": "hosts_require_tls = *\n  tls_verify_hosts = *",
    "implicit": "protocol = smtps\n  tls_verify_hosts = *",
}


@contextmanager
def exim_sender(directory: Path, target: Target, ways: tuple[Way, ...]) -> Iterator[Relaying]:
    """Debian's light Exim."""
    directory.mkdir(mode=0o755)
    folder, place, named = unpacked("exim4-daemon-light", "usr/sbin/exim4"), Place.free("127.0.0.1"), domains(ways)
    own(directory / "own", FIRST_ID)
    routers = transports = ""
    for domain, way in named.items():
        name = domain.removesuffix(".test")
        routers += _EXIM_ROUTER.format(name=name, domain=domain, mechanism=way.mechanism or "none")
        transports += _EXIM_TRANSPORT.format(
            name=name,
            port=target.place(way).port,
            authority=target.authority,
            tls=_EXIM_TLS[way.tls],
            auth="hosts_require_auth = *" if way.mechanism else "hosts_try_auth =",
        )
    config = directory / "exim.conf"
    config.write_text(
        _EXIM.format(
            folder=folder,
            directory=directory,
            port=place.port,
            routers=routers,
            transports=transports,
            user=USER,
            password=PASSWORD,
        )
    )
    users = {"exim": "/", "Debian-exim": "/"}
    command: list[str | Path] = [folder / "usr/sbin/exim4", "-bdf", "-q1m", "-C", config]
    with boxed("exim-client", command, directory, users=users, port=(place.address, place.port)):
        yield Relaying(place, named)


_OPENSMTPD_URL = {"clear": "smtp+notls", "starttls": "smtp+tls", "implicit": "smtps"}


@contextmanager
def opensmtpd_sender(directory: Path, target: Target, ways: tuple[Way, ...]) -> Iterator[Relaying]:
    """Debian's OpenSMTPD; its client can do TLS with OpenSSL 3, its server cannot."""
    directory.mkdir(mode=0o755)
    folder, place, named = unpacked("opensmtpd", "usr/sbin/smtpd"), Place.free("127.0.0.1"), domains(ways)
    (directory / "lib/opensmtpd/empty").mkdir(parents=True)
    (directory / "spool").mkdir()
    (directory / "spool/smtpd").mkdir()
    (directory / "spool/smtpd").chmod(0o711)
    (directory / "secrets").write_text(f"ann {USER}:{PASSWORD}\n")
    (directory / "secrets").chmod(0o640)
    lines = [
        f"table secrets file:{directory}/secrets",
        f"listen on {place.address} port {place.port} hostname c.example",
    ]
    for domain, way in named.items():
        label, login = ("ann@", " auth <secrets>") if way.mechanism else ("", "")
        verify = "" if way.tls == "clear" else " tls no-verify"  # it would take the system's authorities only
        url = f"{_OPENSMTPD_URL[way.tls]}://{label}localhost:{target.place(way).port}"
        lines.append(f'action "{domain}" relay host {url}{login}{verify} helo client.example')
    lines += [f'match from any for domain "{domain}" action "{domain}"' for domain in named]
    config = directory / "smtpd.conf"
    config.write_text("\n".join(lines) + "\n")
    config.chmod(0o600)
    users = {"opensmtpd": "/var/lib/opensmtpd/empty", "opensmtpq": "/var/lib/opensmtpd/empty"}
    command: list[str | Path] = [folder / "usr/sbin/smtpd", "-d", "-f", config]
    programs = {folder / "usr/libexec": "/usr/libexec"}
    with boxed(
        "opensmtpd-client", command, directory, users=users, port=(place.address, place.port), laid_over=programs
    ):
        yield Relaying(place, named)
