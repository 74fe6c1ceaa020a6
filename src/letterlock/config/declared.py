"""From keys declared beside their fields (`letterlock.keys`) to the tables of the file, and back to the options."""

import ipaddress
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from letterlock.config.checked_values import (
    CertificateFingerprint,
    ClientNetwork,
    DomainName,
    EhloKeywords,
    FilePath,
    ListenerRole,
    MailAddress,
    ModeOfMemory,
    RuleOfTls,
    Service,
    Sources,
    UpstreamAddress,
    VersionOfTls,
)
from letterlock.config.trust_files import Roots
from letterlock.identity.trust import TrustRoots
from letterlock.keys import Declared, Key, RowKey, declared, row_declared
from letterlock.mail.addresses import Mailbox
from letterlock.mail.names import DomainText
from letterlock.net.dns import Upstream
from letterlock.net.service_address import ServiceAddress
from letterlock.net.sources import SourceAddresses
from letterlock.receive.profiles import Role
from letterlock.routing.destination_rule import Fingerprint, MemoryMode, TlsRule, TlsVersion

_T = TypeVar("_T")
_READERS: Mapping[Any, Any] = {
    ipaddress.IPv4Network | ipaddress.IPv6Network: ClientNetwork,
    frozenset[str]: EhloKeywords,
    DomainText: DomainName,
    Fingerprint: CertificateFingerprint,
    Mailbox: MailAddress,
    MemoryMode: ModeOfMemory,
    Path: FilePath,
    Role: ListenerRole,
    ServiceAddress: Service,
    SourceAddresses: Sources,
    TlsRule: RuleOfTls,
    TlsVersion: VersionOfTls,
    TrustRoots: Roots,
    Upstream: UpstreamAddress,
}
"""How a value of a type that TOML does not have is read from the file."""


class Table(BaseModel):
    """A table of the file: unknown keys are mistakes, and nothing is turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True, defer_build=True)


def keys_of(table: str, consumers: Iterable[type]) -> type[Table]:
    """A model of one table, with the keys that consumers declare for it."""
    found = [each for consumer in consumers for each in declared(consumer).values() if each.key.table == table]
    return _model(table, found, Table)


def rows_of(table: str, consumers: Iterable[type], base: type[Table] = Table) -> type[Table]:
    """A model of each row of a table, with the keys that consumers declare for rows, and those of `base`."""
    return _model(table, [each for consumer in consumers for each in row_declared(consumer, table).values()], base)


def _model(table: str, found: Sequence[Declared], base: type[Table]) -> type[Table]:
    names = [each.key.name for each in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"declared twice in [{table}]: {', '.join(sorted(twice))}")
    made: dict[str, Any] = {each.key.name: (_written_type(each), _field(each)) for each in found}
    model: type[Table] = create_model(f"{table.capitalize()}Keys", __base__=base, **made)
    return model


def filled(consumer: type[_T], file: BaseModel, **composed: Any) -> _T:
    """Options with the values of the file for the keys that they declare, and others that were made of several."""
    plain: type = consumer
    values = {name: _as_held(each.kind, value_of(file, each.key)) for name, each in declared(plain).items()}
    return consumer(**values | composed)


def filled_row(consumer: type[_T], table: str, row: BaseModel, based_on: _T | None = None, **composed: Any) -> _T:
    """Options with the values of a row for the keys that they declare; those it leaves out may be of `based_on`."""
    plain: type = consumer
    values = {
        name: getattr(based_on, name)
        if based_on is not None and _is_inherited(each, row)
        else _as_held(each.kind, getattr(row, each.key.name))
        for name, each in row_declared(plain, table).items()
        if based_on is not None or not _is_inherited(each, row)
    }
    return consumer(**values | composed)


def _is_inherited(each: Declared, row: BaseModel) -> bool:
    return isinstance(each.key, RowKey) and each.key.inherits and getattr(row, each.key.name) is None


def value_of(file: BaseModel, key: Key) -> Any:
    """The value of a key in the file, or its default."""
    return getattr(table_in(file, key), key.name)


def is_written(file: BaseModel, key: Key) -> bool:
    """Whether the file sets a key."""
    return key.name in table_in(file, key).model_fields_set


def table_in(file: BaseModel, key: Key) -> BaseModel:
    """The table of the file that holds a key."""
    table: BaseModel = getattr(file, key.table) if key.table else file
    return table


def _written_type(each: Declared) -> Any:
    written = _as_written(each.kind)
    return written | None if isinstance(each.key, RowKey) and each.key.inherits else written


def _as_written(kind: Any) -> Any:
    """The type that pydantic reads for a field's type."""
    if kind in _READERS:
        return _READERS[kind]
    if isinstance(kind, types.UnionType) or (get_origin(kind) is not None and type(None) in get_args(kind)):
        inner: Any = None
        for each in get_args(kind):
            written = None if each is type(None) else _as_written(each)
            inner = written if inner is None and written is not None else inner | written
        return inner
    if get_origin(kind) is frozenset or (get_origin(kind) is tuple and get_args(kind)[1:] == (...,)):
        item = _as_written(get_args(kind)[0])
        return list[item]  # type: ignore[valid-type]  # made when it runs
    return kind


def _as_held(kind: Any, value: Any) -> Any:
    """A list of the file as options hold it: unchangeable."""
    if not isinstance(value, list):
        return value
    return frozenset(value) if frozenset in (kind, get_origin(kind)) else tuple(value)


def _field(each: Declared) -> Any:
    key = each.key
    length = get_origin(each.kind) in (tuple, frozenset)
    bounds = {"min_length" if length else "ge": key.least, "max_length" if length else "le": key.most, "gt": key.above}
    limits: dict[str, Any] = {name: bound for name, bound in bounds.items() if bound is not None}
    if isinstance(key, RowKey) and key.inherits:
        return Field(None, description=key.text, **limits)
    if each.is_required:
        return Field(description=key.text, **limits)
    default = each.default
    return Field(list(default) if isinstance(default, tuple | frozenset) else default, description=key.text, **limits)
