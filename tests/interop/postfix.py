"""Postfix instances of our own: one that receives and keeps the mail, one that sends through a relay host."""

import email
import email.message
import email.policy
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.nameservers import Place
from tests.interop.programs import Program, accepts, greets, need_root, run, running, wait_until

NOBODY = 65534
_SERVICES = """\
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix."""

    directory: Path
    place: Place
    program: Program

    def log(self) -> str:
        """All that it logged."""
        return self.program.text()

    def mail(self) -> list[email.message.EmailMessage]:
        """The messages that it received and keeps, in the order of arrival."""
        files = sorted(self.directory.glob("mail/inbox/new/*"), key=lambda path: path.stat().st_mtime_ns)
        return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]

    def find(self, subject: str) -> list[email.message.EmailMessage]:
        """The messages with a subject."""
        return [message for message in self.mail() if message["Subject"] == subject]

    def reload(self) -> None:
        """Make it read its certificate again, and wait until it has."""
        before = self.log().count("reload --")
        run("postfix", "-c", self.directory / "etc", "reload")
        wait_until(lambda: self.log().count("reload --") > before, what="postfix to reload")
        wait_until(lambda: greets(self.place.address, self.place.port), what="postfix to greet after reload")

    def show_certificate(self, certificate: Path, key: Path) -> None:
        """Exchange the certificate and the key that it shows."""
        (self.directory / "chain.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
        self.reload()


@contextmanager
def receiver(
    directory: Path,
    place: Place,
    *,
    hostname: str,
    domains: tuple[str, ...],
    certificate: Path,
    key: Path,
    parameters: Mapping[str, str] | None = None,
) -> Iterator[Postfix]:
    """A Postfix that offers STARTTLS and keeps all mail to `domains` in one Maildir; `parameters` are further ones."""
    directory.mkdir(mode=0o755)
    mail = directory / "mail"
    mail.mkdir()
    (directory / "chain.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
    settings = {
        "virtual_mailbox_domains": ", ".join(domains),
        "virtual_mailbox_base": str(mail),
        "virtual_mailbox_maps": "static:inbox/",
        "virtual_uid_maps": f"static:{NOBODY}",
        "virtual_gid_maps": f"static:{NOBODY}",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_chain_files": str(directory / "chain.pem"),
        "smtpd_tls_loglevel": "1",
        "smtpd_tls_received_header": "yes",
        "mynetworks": "",
        **(parameters or {}),
    }
    need_root("postfix")
    shutil.chown(mail, NOBODY, NOBODY)
    with _postfix(directory, place, hostname, settings) as postfix:
        yield postfix


@contextmanager
def sender(
    directory: Path,
    place: Place,
    *,
    hostname: str,
    relay_host: Place,
    tls_level: str,
    services: str = "",
    **others: str,
) -> Iterator[Postfix]:
    """A Postfix that sends everything through a relay host; `services`, `others`: more lines and parameters."""
    directory.mkdir(mode=0o755)
    parameters = {
        "relayhost": f"[{relay_host.address}]:{relay_host.port}",
        "smtp_tls_security_level": tls_level,
        "smtp_tls_loglevel": "1",
        "smtp_dns_support_level": "disabled",
        "smtp_host_lookup": "native",
        "mynetworks": "127.0.0.0/8",
        "smtp_bind_address": "127.0.0.1",
        **others,
    }
    with _postfix(directory, place, hostname, parameters, services=services) as postfix:
        yield postfix


@contextmanager
def companion_sender(
    directory: Path, place: Place, *, resolver: str, parameters: Mapping[str, str]
) -> Iterator[Postfix]:
    """A Postfix that sends by MX, whose chrooted smtp(8) asks one resolver at port 53, as after `companion enable`."""
    directory.mkdir(mode=0o755)
    settings = {
        "smtp_tls_security_level": "dane",
        "smtp_dns_support_level": "dnssec",
        "smtp_tls_dane_insecure_mx_policy": "dane",
        "smtp_host_lookup": "dns",
        "smtp_tls_loglevel": "1",
        "mynetworks": "127.0.0.0/8",
        "smtp_connect_timeout": "10s",
        **parameters,
    }
    with _postfix(directory, place, "sender.lab.test", settings, f"nameserver {resolver}\n") as postfix:
        yield postfix


@contextmanager
def _postfix(
    directory: Path,
    place: Place,
    hostname: str,
    parameters: Mapping[str, str],
    resolv_conf: str | None = None,
    *,
    services: str = "",
) -> Iterator[Postfix]:
    need_root("postfix")
    log = directory / "postfix.log"
    etc = _configure(directory, place, hostname, parameters, log)
    if resolv_conf is not None:
        _chroot_smtp(directory, resolv_conf)
    if services:
        with (etc / "master.cf").open("a") as file:
            file.write(services)

    def ready() -> bool:
        wrapped = parameters.get("smtpd_tls_wrappermode") == "yes"
        return (accepts if wrapped else greets)(place.address, place.port)

    run("postfix", "-c", etc, "check")
    command: list[str | Path] = [Path(run("postconf", "-hd", "daemon_directory").strip()) / "master", "-c", etc, "-s"]
    with running(f"postfix-{directory.name}", command, log=log, ready=ready, separate_log=True) as program:
        yield Postfix(directory, place, program)


def _chroot_smtp(directory: Path, resolv_conf: str) -> None:
    """Let smtp(8) run in the queue directory, as Debian has it, with a resolv.conf of its own."""
    master = directory / "etc" / "master.cf"
    master.write_text(master.read_text().replace("smtp unix - - n - - smtp", "smtp unix - - y - - smtp"))
    (directory / "queue" / "etc").mkdir()
    (directory / "queue" / "etc" / "resolv.conf").write_text(resolv_conf)


def _configure(directory: Path, place: Place, hostname: str, parameters: Mapping[str, str], log: Path) -> Path:
    etc, data = directory / "etc", directory / "data"
    for each in (etc, data, directory / "queue"):
        each.mkdir()
    shutil.chown(data, "postfix")
    common = {
        "compatibility_level": "3.6",
        "queue_directory": str(directory / "queue"),
        "data_directory": str(data),
        "maillog_file": str(log),
        "maillog_file_prefixes": str(directory),
        "myhostname": hostname,
        "mydestination": "",
        "alias_maps": "",
        "alias_database": "",
        "inet_interfaces": "127.0.0.1",  # it must be an interface's address; master.cf says where it listens
        "inet_protocols": "ipv4",
        "smtpd_peername_lookup": "no",
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
        "smtpd_client_connection_count_limit": "0",
        "minimal_backoff_time": "5s",
        "queue_run_delay": "5s",
    }
    main = "".join(f"{key} = {value}\n" for key, value in {**common, **parameters}.items())
    (etc / "main.cf").write_text(main)
    (etc / "master.cf").write_text(f"{place.address}:{place.port} inet n - n - - smtpd\n{_SERVICES}")
    return etc
