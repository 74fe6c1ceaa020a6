"""Makes the files of a new mail server: keys, certificate, users, configuration. What exists is kept."""

import datetime as dt
import hashlib
import os
import pwd
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from letterlock import dkim
from letterlock.accounts.user_file import make_user, new_file, read_users, write_users
from letterlock.cli.setup.server_plan import (
    ALIASES,
    CERTIFICATE,
    CERTIFICATE_KEY,
    CONFIGURATION,
    MAILBOXES,
    SELECTORS,
    USERS,
    ServerPlan,
    aliases,
    configuration,
    mailboxes,
)

LIFETIME = dt.timedelta(days=3650)  # of a certificate that TLSA vouches for, and no authority: DANE ignores its dates
BACKDATED = dt.timedelta(days=1)  # for clients whose clock is behind
PASSWORD_OCTETS = 15  # 120 bits: nobody guesses it, and it has 20 characters
SECRET, READABLE = 0o600, 0o644
ALGORITHMS = {"rsa": dkim.Algorithm.RSA_SHA256, "ed25519": dkim.Algorithm.ED25519_SHA256}


@dataclass(slots=True)
class MadeFiles:
    """What was made, what was there already, and the passwords of new users, which are written nowhere."""

    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)


def make_files(plan: ServerPlan, owner: str | None) -> MadeFiles:
    """Make what is missing; files belong to the user `owner`. Raises OSError, BadUsers."""
    found = MadeFiles()
    plan.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    for algorithm in SELECTORS:
        _make(found, plan.dkim_file(algorithm), owner, partial(dkim.generate_key, ALGORITHMS[algorithm]))
    key = plan.directory / CERTIFICATE_KEY
    _make(found, key, owner, _new_key)
    _make(found, plan.directory / CERTIFICATE, owner, lambda: _self_signed(plan.hostname, key.read_bytes()), READABLE)
    _make(found, plan.directory / ALIASES, owner, lambda: aliases(plan).encode(), READABLE)
    _add_mailboxes(found, plan, owner)
    _make(found, plan.directory / CONFIGURATION, owner, lambda: configuration(plan).encode(), READABLE)
    _make_maildirs(found, plan, owner)
    _make_users(found, plan, owner)  # last: a password is only shown when there is a server for it
    return found


def _add_mailboxes(found: MadeFiles, plan: ServerPlan, owner: str | None) -> None:
    path = plan.directory / MAILBOXES
    present = path.read_text() if path.exists() else ""
    if path.exists() and set(plan.users) <= set(present.splitlines()):
        found.kept.append(path)
        return
    _write(path, owner, mailboxes(plan, present).encode(), READABLE)
    found.made.append(path)


def _make(found: MadeFiles, path: Path, owner: str | None, content: Callable[[], bytes], mode: int = SECRET) -> None:
    """A new file, whole and on the disk; one that exists is never touched."""
    if path.exists():
        found.kept.append(path)
        return
    _write(path, owner, content(), mode)
    found.made.append(path)


def _write(path: Path, owner: str | None, content: bytes, mode: int) -> None:
    """Replace a file as a whole: a kill leaves the old one."""
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)
    with open(part, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        _give(file.fileno(), owner)
        os.fsync(file.fileno())
    part.rename(path)


def _give(file: int | Path, owner: str | None) -> None:
    if owner is not None and os.geteuid() == 0:
        entry = pwd.getpwnam(owner)
        os.chown(file, entry.pw_uid, entry.pw_gid)


def _make_users(found: MadeFiles, plan: ServerPlan, owner: str | None) -> None:
    path = plan.directory / USERS
    content = read_users(path) if path.exists() else new_file()
    for name in plan.users:
        address = f"{name}@{plan.domain}"
        if address not in content.users:
            found.passwords[address] = secrets.token_urlsafe(PASSWORD_OCTETS)
            content.users[address] = make_user(address, found.passwords[address], (address,))
    if path.exists() and not found.passwords:
        found.kept.append(path)
        return
    uid = pwd.getpwnam(owner).pw_uid if owner is not None and os.geteuid() == 0 else None
    write_users(path, content, uid)
    found.made.append(path)


def _make_maildirs(found: MadeFiles, plan: ServerPlan, owner: str | None) -> None:
    """The part of the path before its first placeholder: the server makes the rest."""
    kind, _, path = plan.next_hop.partition(":")
    base = Path(path.partition("{")[0])
    if kind == "maildir" and not base.exists():
        base.mkdir(mode=0o700, parents=True)
        _give(base, owner)
        found.made.append(base)


def _new_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _self_signed(hostname: str, pem: bytes) -> bytes:
    """A certificate of a key, as PEM. Raises ValueError."""
    key = load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError(f"the key in {CERTIFICATE_KEY} is of a kind that TLS clients do not know")  # noqa: TRY004  # a file's
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])  # ub-common-name, RFC 5280 appendix A
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - BACKDATED).not_valid_after(now + LIFETIME)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def dkim_records(plan: ServerPlan) -> dict[str, str]:
    """The TXT data of the keys that sign, by selector. Raises OSError, InvalidKey."""
    return {
        selector: dkim.read_signing_key(plan.dkim_file(algorithm).read_bytes(), plan.domain, selector).record
        for algorithm, selector in SELECTORS.items()
    }


def tlsa_data(plan: ServerPlan) -> str:
    """`3 1 1` of the certificate's key (RFC 7671 section 5.1). Raises OSError, ValueError."""
    certificate = x509.load_pem_x509_certificate((plan.directory / CERTIFICATE).read_bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"3 1 1 {hashlib.sha256(key).hexdigest()}"
