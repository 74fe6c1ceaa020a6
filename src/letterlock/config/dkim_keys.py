"""`[dkim."example.org"]`: the keys that sign mail, each in a file that only its owner can read."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from letterlock.config.checked_values import FilePath, NamedByDomain
from letterlock.config.declared import Table
from letterlock.config.key_file import is_shared, reads_secrets
from letterlock.config.mistakes import wrong
from letterlock.mailauth.dkim.sign import Signer
from letterlock.mailauth.dkim.signing_key import InvalidKey, SigningKey, read_signing_key
from letterlock.state.key_directory import KeyDirectory, KeyDirectoryFailed

MAX_PEM_OCTETS = 1 << 14  # a key of RSA-4096, the largest that signs, has 3,300
MAX_SELECTORS = 8  # each is a signature in every message; two algorithms during a change of keys are four
GRACE_SECONDS = 7 * 86400  # after the queue's lifetime: until then a receiver may still look at a signature


class DkimTable(Table):
    """The keys of a domain. Mail is signed when its From is in the domain or below and its client may relay."""

    selectors: NamedByDomain[FilePath] = Field(
        {},
        max_length=MAX_SELECTORS,
        description='Selectors with their PEM files: `{ s2026 = "s2026.pem" }`. Each adds a signature: RSA (at least '
        "2048 bits) or Ed25519. The public key is a TXT record at `SELECTOR._domainkey.DOMAIN`.",
    )
    directory: FilePath | None = Field(
        None,
        description="Instead of `selectors`: the directory in which `letterlock dkim rotate DOMAIN` makes and changes "
        "the keys. The server uses those that the rotation says, from the next reload on.",
    )
    _pems: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _read_keys(self, info: ValidationInfo) -> "DkimTable":
        if (self.directory is None) is not bool(self.selectors):
            hint = 'selectors = { s2026 = "s2026.pem" }, or directory = "/var/lib/letterlock/dkim/example.org"'
            raise wrong(
                "needs either selectors with their files, or a directory of keys that rotate", hint, at="selectors"
            )
        if reads_secrets(info):
            files = dict(self.selectors) if self.directory is None else _rotating(self.directory)
            for name, path in files.items():
                at = ("selectors", name) if self.directory is None else ("directory",)
                self._pems[name] = _read_private(path, at)
                try:
                    read_signing_key(self._pems[name], "example.org", name)
                except InvalidKey as error:
                    hint = "it takes an RSA key of at least 2048 bits or an Ed25519 key, in PEM without a passphrase"
                    raise wrong(f"{path} cannot sign: {error}", hint, at) from None
        return self

    def keys(self, domain: str) -> list[SigningKey]:
        """The keys, for the domain whose table this is."""
        return [read_signing_key(pem, domain, selector) for selector, pem in self._pems.items()]


def signer(tables: Mapping[str, DkimTable], lifetime_seconds: float) -> Signer | None:
    """The signer for all domains; None when there are no keys."""
    keys = [key for domain, table in tables.items() for key in table.keys(domain)]
    return Signer(keys, lifetime_seconds=int(lifetime_seconds) + GRACE_SECONDS) if keys else None


def _rotating(directory: Path) -> dict[str, Path]:
    """The keys of a directory that sign now; none before the first is published everywhere."""
    if not directory.is_dir():
        hint = "`letterlock dkim rotate DOMAIN` makes it, and its first keys"
        raise wrong(f"{directory} does not exist, or cannot be looked at", hint, at="directory")
    try:
        return KeyDirectory(directory).signing()
    except KeyDirectoryFailed as error:
        raise wrong(str(error), "it must be readable by the server; never edit it by hand", at="directory") from None


def _read_private(path: Path, at: tuple[str, ...]) -> bytes:
    try:
        with path.open("rb") as file:
            pem, shared = file.read(MAX_PEM_OCTETS + 1), is_shared(file.fileno())
    except OSError as error:
        raise wrong(f"{path} cannot be read: {error.strerror}", at=at) from None
    if len(pem) > MAX_PEM_OCTETS:
        raise wrong(f"{path} is larger than {MAX_PEM_OCTETS} bytes", at=at)
    if shared:
        raise wrong(f"{path} is a secret that others can read", f"chmod 600 {path}", at)
    return pem
