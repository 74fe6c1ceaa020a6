"""A Dovecot that answers logins over its auth socket and does nothing else: passwords, SCRAM, OAuth tokens."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from letterlock.sasl.scram import ScramCredential
from tests.interop.programs import Program, need_root, running

ANN = "ann@example.org"
DENIED = "denied@example.org"  # right password, and `nologin`
PASSWORD = "correct horse"
TOKEN_KEY = b"a secret of the token server, 32+"
_CONFIG = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
protocols =
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
ssl = no
auth_mechanisms = plain login scram-sha-256 oauthbearer xoauth2 cram-md5 anonymous
auth_failure_delay = 0
auth_verbose = yes
service auth {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {directory}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
"""
_OAUTH = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={directory}/keys/
username_attribute = email
openid_configuration_url = https://id.example.org/openid
"""


@dataclass(frozen=True, slots=True)
class DovecotAuth:
    """A running Dovecot; `socket` is its auth service's."""

    directory: Path
    socket: Path
    program: Program

    def log(self) -> str:
        """All that it logged."""
        return self.program.text()


def token(user: str, *, key: bytes = TOKEN_KEY, lifetime: float = 3600, extra: str = "") -> str:
    """A JSON Web Token for a user (RFC 7519), signed with HS256."""
    now = int(time.time())
    claims = {"email": user, "sub": user, "iat": now - 10, "nbf": now - 10, "exp": now + int(lifetime), "x": extra}
    parts = [_base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = ".".join(parts).encode()
    return f"{signed.decode()}.{_base64url(hmac.digest(key, signed, 'sha256'))}"


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _scram(password: str) -> str:
    made = ScramCredential.of_password(password, hashlib.sha256(b"salt").digest()[:16])
    salt, stored, server = (base64.b64encode(each).decode() for each in (made.salt, made.stored_key, made.server_key))
    return f"{{SCRAM-SHA-256}}{made.iterations},{salt},{stored},{server}"


@contextmanager
def dovecot_auth(directory: Path) -> Iterator[DovecotAuth]:
    """Start it, in a directory that other users may enter, and end it."""
    need_root("dovecot")
    directory.mkdir(mode=0o755)
    socket = directory / "auth"
    lines = [f"{ANN}:{_scram(PASSWORD)}::::::", f"{DENIED}:{{PLAIN}}{PASSWORD}::::::nologin=y"]
    (directory / "users").write_text("\n".join(lines) + "\n")
    keys = directory / "keys/default/HS256"
    keys.mkdir(parents=True)
    (keys / "default").write_text(base64.b64encode(TOKEN_KEY).decode())
    (directory / "oauth2.conf").write_text(_OAUTH.format(directory=directory))
    config = directory / "dovecot.conf"
    config.write_text(_CONFIG.format(directory=directory, socket=socket))
    command: list[str | Path] = ["dovecot", "-F", "-c", config]
    log = directory / "dovecot.log"
    with running("dovecot-auth", command, log=log, ready=socket.is_socket, separate_log=True) as program:
        yield DovecotAuth(directory, socket, program)
