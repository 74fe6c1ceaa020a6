"""A Dovecot of our own that takes mail by LMTP (RFC 2033), through a UNIX socket and over TCP, into Maildirs."""

import email
import email.message
import email.policy
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.nameservers import Place
from tests.interop.programs import Program, greets, need_root, running

NOBODY = 65534
FULL = "full"  # the user whose quota takes no message
_CONFIG = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
protocols = lmtp{more_protocols}
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
hostname = {hostname}
postmaster_address = postmaster@{hostname}
ssl = {ssl}
ssl_cert = <{certificate}
ssl_key = <{key}
mail_location = maildir:{directory}/mail/%Ln
mail_plugins = quota
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_status_success = DUNNO
}}
service lmtp {{
  unix_listener {socket} {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = {place.address}
    port = {place.port}
  }}
{implicit}}}
{imap}service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
passdb {{
  driver = passwd-file
  args = username_format=%Ln {directory}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%Ln {directory}/users
}}
"""


_IMPLICIT = """\
  inet_listener lmtps {{
    address = {place.address}
    port = {place.port}
    ssl = yes
  }}
"""
_IMAP = """\
service imap-login {{
  inet_listener imap {{
    address = {place.address}
    port = {place.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""
IMAP_PASSWORD = "of every user"


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running Dovecot; `socket` and `place` are where it speaks LMTP."""

    directory: Path
    socket: Path
    place: Place
    program: Program

    def log(self) -> str:
        """All that it logged."""
        return self.program.text()

    def mail(self, user: str) -> list[email.message.EmailMessage]:
        """What a user got."""
        files = sorted(self.directory.glob(f"mail/{user}/new/*"))
        return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]

    def find(self, user: str, subject: str) -> list[email.message.EmailMessage]:
        """A user's messages with a subject."""
        return [message for message in self.mail(user) if message["Subject"] == subject]


@contextmanager
def dovecot(
    directory: Path,
    place: Place,
    *,
    hostname: str,
    users: Sequence[str],
    certificate: Path,
    key: Path,
    tls: bool,
    implicit: Place | None = None,
    imap: Place | None = None,
) -> Iterator[Dovecot]:
    """A Dovecot for some users; mail for FULL, if it is one, does not fit.

    With `tls` it offers STARTTLS; at `implicit` it speaks TLS from the first octet. At `imap` users read their mail,
    with IMAP_PASSWORD.
    """
    need_root("dovecot")
    directory.mkdir(mode=0o755)
    mail = directory / "mail"
    mail.mkdir()
    shutil.chown(mail, NOBODY, NOBODY)
    socket = directory / "lmtp"
    lines = (
        f"{user}:{{PLAIN}}{IMAP_PASSWORD}:{NOBODY}:{NOBODY}::{mail}/{user}::"
        + ("userdb_quota_rule=*:bytes=1" if user == FULL else "")
        for user in users
    )
    (directory / "users").write_text("\n".join(lines) + "\n")
    config = directory / "dovecot.conf"
    config.write_text(
        _CONFIG.format(
            directory=directory,
            hostname=hostname,
            ssl="yes" if tls else "no",
            certificate=certificate,
            key=key,
            socket=socket,
            place=place,
            implicit="" if implicit is None else _IMPLICIT.format(place=implicit),
            more_protocols="" if imap is None else " imap",
            imap="" if imap is None else _IMAP.format(place=imap),
        )
    )
    log = directory / "dovecot.log"

    def ready() -> bool:
        return socket.exists() and stat.S_ISSOCK(socket.stat().st_mode) and greets(place.address, place.port)

    command: list[str | Path] = ["dovecot", "-F", "-c", config]
    with running(f"dovecot-{directory.name}", command, log=log, ready=ready, separate_log=True) as program:
        yield Dovecot(directory, socket, place, program)
