"""`[dkim."example.org"]`: the keys that sign mail, each in a file that only its owner can read."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from letterlock.config.checked_values import DomainName, FilePath
from letterlock.config.declared import Table
from letterlock.config.key_file import is_shared, reads_secrets
from letterlock.config.mistakes import wrong
from letterlock.mailauth.dkim.sign import Signer
from letterlock.mailauth.dkim.signing_key import InvalidKey, SigningKey, read_signing_key

MAX_PEM_OCTETS = 1 << 14  # a key of RSA-4096, the largest that signs, has 3,300
MAX_SELECTORS = 8  # each is a signature in every message; two algorithms during a change of keys are four
GRACE_SECONDS = 7 * 86400  # after the queue's lifetime: until then a receiver may still look at a signature


class DkimTable(Table):
    """The keys of a domain. Mail is signed when its From is in the domain or below and its client may relay."""

    selectors: dict[DomainName, FilePath] = Field(
        min_length=1,
        max_length=MAX_SELECTORS,
        description='Selectors with their PEM files: `{ s2026 = "s2026.pem" }`. Each adds a signature: RSA (at least '
        "2048 bits) or Ed25519. The public key is a TXT record at `SELECTOR._domainkey.DOMAIN`.",
    )
    _pems: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _read_keys(self, info: ValidationInfo) -> "DkimTable":
        if reads_secrets(info):
            self._pems = {name: _read_private(path, name) for name, path in self.selectors.items()}
            for name, pem in self._pems.items():
                try:
                    read_signing_key(pem, "example.org", name)
                except InvalidKey as error:
                    hint = "it takes an RSA key of at least 2048 bits or an Ed25519 key, in PEM without a passphrase"
                    raise wrong(f"{self.selectors[name]} cannot sign: {error}", hint, ("selectors", name)) from None
        return self

    def keys(self, domain: str) -> list[SigningKey]:
        """The keys, for the domain whose table this is."""
        return [read_signing_key(pem, domain, selector) for selector, pem in self._pems.items()]


def signer(tables: Mapping[str, DkimTable], lifetime_seconds: float) -> Signer | None:
    """The signer for all domains; None when there are no keys."""
    keys = [key for domain, table in tables.items() for key in table.keys(domain)]
    return Signer(keys, lifetime_seconds=int(lifetime_seconds) + GRACE_SECONDS) if keys else None


def _read_private(path: Path, selector: str) -> bytes:
    try:
        with path.open("rb") as file:
            pem, shared = file.read(MAX_PEM_OCTETS + 1), is_shared(file.fileno())
    except OSError as error:
        raise wrong(f"{path} cannot be read: {error.strerror}", at=("selectors", selector)) from None
    if len(pem) > MAX_PEM_OCTETS:
        raise wrong(f"{path} is larger than {MAX_PEM_OCTETS} bytes", at=("selectors", selector))
    if shared:
        raise wrong(f"{path} is a secret that others can read", f"chmod 600 {path}", ("selectors", selector))
    return pem
