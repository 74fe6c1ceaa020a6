"""Hashes of passwords, as the databases of mail servers keep them.

    {ARGON2ID}$argon2id$v=19$...   {SCRAM-SHA-256}4096,SALT,KEY,KEY   {BLF-CRYPT}$2y$...   {SHA512-CRYPT}$6$...

Dovecot's names of schemes in braces may be left out. What crypt(3) knows, the system's library checks, as it does for
Dovecot. Not supported are hashes that are quick to guess (MD5-CRYPT, SSHA, SSHA512, SHA, PLAIN and the like): change
them, or let Dovecot answer the logins.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from letterlock.accounts.system_crypt import crypted
from letterlock.sasl.scram import MIN_ITERATIONS, BadCredential, ScramCredential

MAX_HASHES = 8  # of one user: one for each kind, and room
MAX_HASH_OCTETS = 512  # of each: the longest that are known have 200
MAX_CRYPT_ROUNDS = 1_000_000  # of SHA-crypt: half a second; the default is 5000
_MAX_ARGON2 = (1 << 20, 10, 8)  # 1 GiB, passes, lanes: a user with more would stop the server
_MIN_SALT_OCTETS = 8  # RFC 9106 section 3.1; nothing shorter is computed
_MIN_KIB_PER_LANE = 8  # as above
_SCHEME = re.compile(r"\{([A-Za-z0-9.-]{1,30})\}(.*)")
_ARGON2 = re.compile(r"\$argon2id\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,2}),p=([0-9])\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_SHA_CRYPT = re.compile(r"\$[56]\$(?:rounds=([0-9]{1,9})\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{43,86}")
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-4])\$[./0-9A-Za-z]{53}")  # a cost of 14 takes a second
_YESCRYPT = re.compile(r"\$y\$j[5-9A-D]T\$[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{43}")  # D takes 256 MiB and a second
_DOVECOT_SCRAM = re.compile(r"([0-9]{4,7}),([A-Za-z0-9+/=]+),([A-Za-z0-9+/=]+),([A-Za-z0-9+/=]+)")
_ARGON2_SCHEMES = {"ARGON2ID", ""}
_CRYPT_SCHEMES = {"CRYPT", "BLF-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", ""}


class UnusableHash(ValueError):
    """A hash that is not supported, or costs too much. `str()` says why, without the hash."""


@dataclass(frozen=True, slots=True)
class PasswordHashes:
    """What is kept of one user's password: a hash to check passwords against, a SCRAM credential, or both."""

    checked: str | None = field(default=None, repr=False)
    scram: ScramCredential | None = field(default=None, repr=False)

    @property
    def stored(self) -> str:
        """What passwords are checked against, as it is kept."""
        return self.checked or str(self.scram)

    def fit(self, password: str) -> bool:
        """Whether a prepared password is the user's. Takes CPU, mostly outside the interpreter's lock.

        Raises UnusableHash where this system cannot make such a hash: then nobody knows.
        """
        if self.checked is None:
            return self.scram is not None and _fits_scram(self.scram, password)
        if self.checked.startswith("$argon2id$"):
            return fits_argon2(self.checked, password)
        found = crypted(password, self.checked)
        if found is None:
            raise UnusableHash("the crypt(3) of this system does not know such a hash")
        return hmac.compare_digest(found, self.checked)


def parse_hashes(text: str) -> PasswordHashes:
    """What a row has: one hash, or several with blanks between. Raises UnusableHash."""
    words = text.split()
    if not 1 <= len(words) <= MAX_HASHES or any(len(word) > MAX_HASH_OCTETS for word in words):
        raise UnusableHash(
            f"a row has one to {MAX_HASHES} hashes of a password, of at most {MAX_HASH_OCTETS} characters"
        )
    checked: str | None = None
    scram: ScramCredential | None = None
    for word in words:
        read = _read(word)
        if isinstance(read, ScramCredential):
            scram = scram or read
        else:
            checked = checked or read
    return PasswordHashes(checked, scram)


def _read(word: str) -> str | ScramCredential:
    found = _SCHEME.fullmatch(word)
    scheme, value = (found[1].upper(), found[2]) if found else ("", word)
    if scheme == "SCRAM-SHA-256" or value.startswith("SCRAM-SHA-256$"):
        return _scram(value)
    if scheme in _ARGON2_SCHEMES and _ARGON2.fullmatch(value):
        check_argon2(value)
        return value
    if scheme in _CRYPT_SCHEMES and (sha := _SHA_CRYPT.fullmatch(value)):
        if int(sha[1] or 0) > MAX_CRYPT_ROUNDS:
            raise UnusableHash("a SHA-crypt hash that costs too much")
        return value
    if scheme in _CRYPT_SCHEMES and (_BCRYPT.fullmatch(value) or _YESCRYPT.fullmatch(value)):
        return value
    raise UnusableHash(f"the scheme {{{scheme}}} is not supported" if scheme else "no hash that is supported")


def check_argon2(value: str) -> None:
    """See that an argon2id hash, a PHC string, can be computed, and at what cost. Raises UnusableHash."""
    found = _ARGON2.fullmatch(value)
    if found is None:
        raise UnusableHash("no argon2id hash")
    numbers, texts = tuple(map(int, found.groups()[:3])), found.groups()[3:]
    if any(number > most for number, most in zip(numbers, _MAX_ARGON2, strict=True)):
        raise UnusableHash("an argon2id hash that costs too much")
    memory_kib, passes, lanes = numbers
    whole = all(len(text) % 4 != 1 for text in texts) and len(texts[0]) * 6 // 8 >= _MIN_SALT_OCTETS  # base64
    if not (whole and passes and lanes and memory_kib >= _MIN_KIB_PER_LANE * lanes):
        raise UnusableHash("an argon2id hash that cannot be computed")


def _scram(value: str) -> ScramCredential:
    """The form of Dovecot, or that of RFC 5803, in which PostgreSQL keeps it, too."""
    if found := _DOVECOT_SCRAM.fullmatch(value):
        value = f"SCRAM-SHA-256${found[1]}:{found[2]}${found[3]}:{found[4]}"
    try:
        return ScramCredential.parse(value)
    except BadCredential as error:
        raise UnusableHash(str(error)) from None


def fits_argon2(stored: str, password: str) -> bool:
    """Whether a prepared password is the one of an argon2id hash."""
    try:
        Argon2id.verify_phc_encoded(password.encode(), stored)
    except InvalidKey:  # the wrong password
        return False
    return True


def _fits_scram(stored: ScramCredential, password: str) -> bool:
    derived = ScramCredential.of_password(password, stored.salt, stored.iterations)
    return hmac.compare_digest(derived.stored_key, stored.stored_key)


def false_credential(secret: bytes, name: str, like: ScramCredential | None) -> ScramCredential:
    """A credential that no password fits, always the same for a name; in form like those that there are."""
    salt_octets = 16 if like is None else len(like.salt)  # RFC 9106 section 3.1, as in our own file of users
    salt = hashlib.shake_256(hmac.digest(secret, b"salt " + name.encode(), "sha256")).digest(salt_octets)
    key = hmac.digest(secret, b"key " + name.encode(), "sha256")
    return ScramCredential(MIN_ITERATIONS if like is None else like.iterations, salt, key, hashlib.sha256(key).digest())
