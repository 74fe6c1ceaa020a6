"""The file of users: one a line, with what is kept of the password and the addresses that the user may send as.

    ann@example.org $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH SCRAM-SHA-256$4096:SALT$KEY:KEY ann@example.org,@a.test

PLAIN and LOGIN are checked against the first hash, SCRAM against the second. `@a.test` is every address of the
domain. The line `#secret KEY` makes the false SCRAM salts of users that do not exist: they stay the same over workers
and restarts, as true ones do. `letterlock users` writes the file; the server reads it again when it has changed.
"""

import base64
import hashlib
import hmac
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from letterlock.accounts.password_hashes import UnusableHash, check_argon2, fits_argon2
from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.names import InvalidName, normalise
from letterlock.sasl.prepare import Unprepared, prepare
from letterlock.sasl.scram import MIN_ITERATIONS, BadCredential, ScramCredential

MAX_FILE_OCTETS = 16 << 20  # 50,000 users
SALT_OCTETS = 16  # RFC 9106 section 3.1
# RFC 9106 section 4 asks for gigabytes or 64 MiB; a server that checks many logins takes OWASP's minimum for argon2id.
ARGON2_MEMORY_KIB = 19_456
ARGON2_PASSES = 2
SECRET_OCTETS = 32  # as the hash that it is used with
_SECRET_LINE = "#secret "  # noqa: S105  # the beginning of a line
_NAME = re.compile(r"[^\s:,]{1,320}")


class BadUsers(ValueError):
    """The file, a name, a password or an address cannot be used. `str()` says why, never with a secret."""


@dataclass(frozen=True, slots=True)
class User:
    """A user. `addresses` are mailboxes, or `@domain` for all of a domain."""

    name: str
    argon2: str = field(repr=False)
    scram: ScramCredential = field(repr=False)
    addresses: tuple[str, ...]

    def may_send_as(self, mailbox: Mailbox) -> bool:
        """Whether an address is the user's; a mailbox's local part in any case of letters."""
        whole = f"{mailbox.local_part.lower()}@{mailbox.domain}"
        return whole in self.addresses or f"@{mailbox.domain}" in self.addresses

    def line(self) -> str:
        """The user's line in the file."""
        return " ".join((self.name, self.argon2, str(self.scram), ",".join(self.addresses)))


def make_user(name: str, password: str, addresses: tuple[str, ...]) -> User:
    """A user with a new password. Raises BadUsers."""
    try:
        name, password = prepare(name.encode()), prepare(password.encode())
    except Unprepared as error:
        raise BadUsers(f"the name or the password cannot be used: {error}") from None
    if not _NAME.fullmatch(name) or name.startswith("#"):
        raise BadUsers("a user's name has no blanks, commas and colons, and no # in front")
    scram = ScramCredential.of_password(password, os.urandom(SALT_OCTETS))
    return User(name, hash_password(password), scram, tuple(map(sender_address, addresses)))


def hash_password(password: str) -> str:
    """The argon2id hash of a prepared password, as a PHC string."""
    return _argon2(os.urandom(SALT_OCTETS)).derive_phc_encoded(password.encode())


def _argon2(salt: bytes) -> Argon2id:
    return Argon2id(salt=salt, length=32, iterations=ARGON2_PASSES, lanes=1, memory_cost=ARGON2_MEMORY_KIB)


def sender_address(text: str) -> str:
    """An address or `@domain` in the form in which it is compared. Raises BadUsers."""
    try:
        if text.startswith("@"):
            return "@" + normalise(text[1:])
        mailbox = parse_mailbox(text)
    except (InvalidName, InvalidAddress) as error:
        raise BadUsers(f"{text!r} is neither an address nor @domain: {error}") from None
    if "," in mailbox.local_part or " " in mailbox.local_part:
        raise BadUsers(f"{text!r}: an address with blanks or commas cannot be written here")
    return f"{mailbox.local_part.lower()}@{mailbox.domain}"


@dataclass(frozen=True, slots=True)
class UsersFile:
    """What a file has."""

    secret: bytes = field(repr=False)
    users: dict[str, User]


def new_file() -> UsersFile:
    """A file without users."""
    return UsersFile(os.urandom(SECRET_OCTETS), {})


def parse_users(text: str) -> UsersFile:
    """Read the lines. Raises BadUsers with the line's number."""
    found = new_file()
    users, secret = found.users, found.secret
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.startswith(_SECRET_LINE):
                secret = base64.b64decode(line.removeprefix(_SECRET_LINE), validate=True)
            if not line.strip() or line.startswith("#"):
                continue
            user = _user(line)
        except (ValueError, BadCredential) as error:
            raise BadUsers(f"line {number}: {error}") from None
        if user.name in users:
            raise BadUsers(f"line {number}: {user.name} is there twice")
        users[user.name] = user
    return UsersFile(secret, users)


def _user(line: str) -> User:
    fields = line.split()
    if len(fields) != 4:
        raise BadUsers("a line has name, argon2id hash, SCRAM credential and addresses")
    name, argon2, scram, addresses = fields
    try:
        check_argon2(argon2)
    except UnusableHash as error:
        raise BadUsers(str(error)) from None
    return User(name, argon2, ScramCredential.parse(scram), tuple(map(sender_address, addresses.split(","))))


def read_users(path: Path) -> UsersFile:
    """The users in a file. Raises BadUsers."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_OCTETS + 1)
        text = raw.decode()
    except OSError as error:
        raise BadUsers(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadUsers(f"{path} is not UTF-8 text") from None
    if len(raw) > MAX_FILE_OCTETS:
        raise BadUsers(f"{path} is larger than {MAX_FILE_OCTETS} bytes")
    try:
        return parse_users(text)
    except BadUsers as error:
        raise BadUsers(f"{path}: {error}") from None


def write_users(path: Path, content: UsersFile, owner: int | None = None) -> None:
    """Replace the file as a whole: nobody sees half of it, and a kill leaves the old one.

    It keeps its mode and owner; a new one is for its owner only, who is `owner` if that is given. Raises OSError.
    """
    lines = [
        _SECRET_LINE + base64.b64encode(content.secret).decode(),
        *(user.line() for user in content.users.values()),
    ]
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    made = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            if path.exists():
                status = path.stat()
                os.fchmod(descriptor, status.st_mode & 0o7777)
                os.fchown(descriptor, status.st_uid, status.st_gid)
            elif owner is not None:
                os.fchown(descriptor, owner, -1)
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(descriptor)
        made.replace(path)
    except BaseException:
        made.unlink()
        raise


class Users:
    """The users as the server sees them: what it asks costs the same for a user that does not exist."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises BadUsers."""
        self._path = path
        self._seen = self._state()
        self._file = read_users(path)
        self._nobody = hash_password("nobody")

    def refresh(self) -> None:
        """Read the file again if it has changed. Raises BadUsers, and goes on with the users that were known."""
        state = self._state()
        if state != self._seen:
            self._seen = state  # first: a file with mistakes is not read again for every login
            self._file = read_users(self._path)

    def _state(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:  # a file that is gone is another state, too: the reader says what is wrong
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def get(self, name: str) -> User | None:
        """A user by prepared name."""
        return self._file.users.get(name)

    def password_fits(self, name: str, password: str) -> bool:
        """Whether a prepared password is the user's. Takes about 20 ms of CPU, outside the interpreter's lock."""
        user = self._file.users.get(name)
        fits = fits_argon2(self._nobody if user is None else user.argon2, password)
        return fits and user is not None

    def credential(self, name: str) -> ScramCredential:
        """The user's SCRAM credential, or one that no password fits, always the same for a name."""
        user = self._file.users.get(name)
        if user is not None:
            return user.scram
        salt = hmac.digest(self._file.secret, b"salt " + name.encode(), "sha256")[:SALT_OCTETS]
        key = hmac.digest(self._file.secret, b"key " + name.encode(), "sha256")
        return ScramCredential(MIN_ITERATIONS, salt, key, hashlib.sha256(key).digest())
