"""`[[listener]]` as pydantic reads it."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from letterlock.config.checked_values import ClientNetwork, FilePath, ListenEndpoint
from letterlock.config.declared import Table, filled_row, rows_of
from letterlock.config.key_file import reads_secrets
from letterlock.config.mistakes import wrong
from letterlock.net.tls import BadCertificate, ServerContext
from letterlock.receive.profiles import Profile, Role

if TYPE_CHECKING:  # a model that is made when the program runs: to the type checker it is a table
    ListenerKeys = Table
else:
    ListenerKeys = rows_of("listener", [Profile])


class CertificatePair(Table):
    """A certificate and its key."""

    certificate: FilePath = Field(description="PEM file of the certificate and its intermediates.")
    key: FilePath = Field(description="PEM file of the private key.")
    _context: ServerContext | None = PrivateAttr(None)

    @property
    def context(self) -> ServerContext | None:
        """Both, loaded, where secrets are read."""
        return self._context

    @model_validator(mode="after")
    def _load(self, info: ValidationInfo) -> "CertificatePair":
        self._context = load_context(self.certificate, self.key, info)
        return self


class ListenerTable(ListenerKeys):
    """One listener; repeat `[[listener]]` for each. Keys that are left out are inherited from `[smtp]`."""

    listen: list[ListenEndpoint] = Field(
        min_length=1,
        max_length=100,
        description="Addresses and ports to listen on, as in `[smtp] listen`. The usual ports: 25 for `relay` and "
        "`mx`, 587 for `submission`, 465 for `submissions`.",
    )
    domain_tables: list[str] = Field(
        [],
        max_length=20,
        description="For `mx`: names of `[table]`s with more domains whose mail is accepted from anybody, asked for "
        "the domain of each recipient. One more needs no reload; `[hosted]` says who their recipients are and where "
        "their mail goes. While a table is away, recipients are put off with 451.",
    )
    milters: list[str] = Field(
        [],
        max_length=20,
        description="Names of `[milter]` tables: filters that decide on this listener's mail, in order.",
    )
    policy_services: list[str] = Field(
        [], max_length=20, description="Names of `[policy_service]` tables, which are asked about each recipient."
    )
    relay_networks: list[ClientNetwork] | None = Field(
        None,
        max_length=1000,
        description="Clients that may send to anybody through this listener. Unset: for `relay` those of `[smtp]`, for "
        "`mx`, `submission` and `submissions` nobody.",
    )
    authenticate_mail: bool | None = Field(
        None,
        description="Check DKIM, SPF, DMARC and ARC of mail from clients that may not relay, add "
        "Authentication-Results, and do what `[mail_authentication]` says. Unset: an `mx` does, no other listener.",
    )
    certificate: FilePath | None = Field(
        None, description="PEM file of this listener's certificate and its intermediates. Unset: that of `[smtp]`."
    )
    key: FilePath | None = Field(None, description="PEM file of the private key.")
    certificates: list[CertificatePair] = Field(
        [],
        max_length=100,
        description="More certificates, each `{ certificate = ..., key = ... }`, for clients that ask for one of their "
        "names (SNI). Others get `certificate`.",
    )
    _context: ServerContext | None = PrivateAttr(None)

    @property
    def context(self) -> ServerContext | None:
        """The listener's own certificate and its key, loaded."""
        return self._context

    @property
    def keys(self) -> Profile:
        """The keys that are declared beside the fields of a profile."""
        return filled_row(Profile, "listener", self)

    @property
    def authenticates(self) -> bool:
        """Whether mail from elsewhere is checked."""
        return self.keys.role is Role.MX if self.authenticate_mail is None else self.authenticate_mail

    @model_validator(mode="after")
    def _load_certificate(self, info: ValidationInfo) -> "ListenerTable":
        self._context = load_context(self.certificate, self.key, info)
        return self

    @model_validator(mode="after")
    def _somebody_may_send(self) -> "ListenerTable":
        keys = self.keys
        given = "domains" if keys.domains else "domain_tables"
        if keys.role is not Role.MX and (keys.domains or self.domain_tables):
            raise wrong("only an mx has domains", 'write role = "mx"', at=given)
        if keys.seals_as is not None and not self.authenticates:
            raise wrong("nothing is checked here that a seal could state", "add authenticate_mail = true", at="seal_as")
        return self


def load_context(certificate: Path | None, key: Path | None, info: ValidationInfo) -> ServerContext | None:
    """A certificate with its key, where secrets are read at all; both or none must be given."""
    if (certificate is None) != (key is None):
        given, missing = ("certificate", "key") if key is None else ("key", "certificate")
        raise wrong(f"{given} is given, but {missing} is not", "TLS needs both", at=given)
    if certificate is None or key is None or not reads_secrets(info):
        return None
    try:
        return ServerContext.load(certificate, key)
    except BadCertificate as error:
        hint = "certificate is a PEM file with the certificate and its intermediates, key one with the private key"
        raise wrong(str(error), hint, at="certificate") from None
