"""Every key is declared once: with type, default, text, limit, what workers make of it, and who uses it."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest
from pydantic import ValidationError, create_model

from letterlock.config import TABLES, parse
from letterlock.config.checked_values import Endpoint
from letterlock.config.declared import Table, filled, filled_row, keys_of, rows_of, value_of
from letterlock.config.options import CONSUMERS
from letterlock.config.tables import FileTable
from letterlock.deliver.route_settings import RouteSettings
from letterlock.keys import Declared, Key, RowKey, declared, row_declared
from letterlock.mail.names import DomainText
from letterlock.queue.settle import RetrySchedule
from letterlock.receive.profiles import Profile
from letterlock.routing.destination_rule import DestinationRule
from letterlock.shared_defaults import SENDMAIL_KEYS
from letterlock.shares import DIVIDED, EACH, share

KEYS = {each.key.path: each for consumer in CONSUMERS for each in declared(consumer).values()}
NO_AMOUNTS = {"workers", "delivery.port", "delivery.mta_sts_port"}  # numbers, but nothing that could be shared
UNLIMITED_LISTS = {"smtp.listen", "smtp.relay_networks", "smtp.tls_required_no_networks"}
"""What an operator writes by hand; a client has no say in how long they are."""


def _plain(kind: object) -> set[object]:
    """The types that a declared type is made of."""
    inner = get_args(kind)[:1] if hasattr(kind, "__metadata__") else get_args(kind)
    return {kind} | {found for each in inner for found in _plain(each)}


@pytest.mark.parametrize("each", KEYS.values(), ids=list(KEYS))
def test_a_declaration_is_whole(each: Declared) -> None:
    key, kinds = each.key, _plain(each.kind)
    assert not each.is_required, "everything has a safe default"
    assert key.text.endswith((".", ")"))
    assert key.table in TABLES
    limits = (key.least, key.most, key.above)
    if kinds & {int, float} and not hasattr(each.kind, "__metadata__") and key.path != "workers":
        assert key.most is not None
        assert key.least is not None or key.above is not None
    elif get_origin(each.kind) is tuple and key.path not in UNLIMITED_LISTS:
        assert key.most is not None
    else:
        assert limits[1:] == (None, None)
    if int in kinds and bool not in kinds and key.path not in NO_AMOUNTS:
        assert each.share in (DIVIDED, EACH)


def test_every_key_of_the_file_is_declared_or_a_table_of_its_own() -> None:
    by_name = {"domain", "domain.exception", "sender", "route", "resolver.negative", "listener", "dkim", "rule"} | {
        "rule.match",
        "table",
        "database",
        "local",
        "hosted",
        "forwarding",
        "milter",
        "policy_service",
        "limit",
        "dns_list",
        "sender_route",
    }
    for table, model in TABLES.items():
        for name in model.model_fields:
            path = f"{table}.{name}" if table else name
            if table not in by_name:
                assert path in KEYS or path in TABLES, path
            else:
                assert model.model_fields[name].description or name == "exception", path


def test_nothing_is_declared_twice() -> None:
    paths = [each.key.path for consumer in CONSUMERS for each in declared(consumer).values()]
    assert len(paths) == len(set(paths))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOptions:
    """What a room needs that has a key of its own."""

    hostname: str
    max_things: Annotated[int, DIVIDED, Key("delivery.max_things", "Most things at once.", least=1, most=10)] = 4
    networks: Annotated[
        tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], Key("delivery.networks", "Where things are.", most=2)
    ] = ()


def test_a_new_key_is_its_declaration_and_its_use() -> None:
    table = keys_of("delivery", [NewOptions])
    file_of = create_model("File", __base__=Table, delivery=(table, ...))

    def read(values: Mapping[str, object]) -> NewOptions:
        return filled(NewOptions, file_of.model_validate({"delivery": values}), hostname="h")

    assert read({}) == NewOptions(hostname="h", max_things=4, networks=())
    read_networks = read({"max_things": 7, "networks": ["10.0.0.0/8"]}).networks
    assert read_networks == (ipaddress.ip_network("10.0.0.0/8"),)
    assert [share(read({}), 2, number).max_things for number in (0, 1)] == [2, 2]
    mistakes: list[Mapping[str, object]] = [
        {"max_things": 11},
        {"max_things": "4"},
        {"networks": ["x"]},
        {"max_thing": 4},
    ]
    for wrong in mistakes:
        with pytest.raises(ValidationError):
            read(wrong)
    assert table.model_fields["max_things"].description == "Most things at once."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRow:
    """What each listener of a room has."""

    marks: Annotated[bool, RowKey("listener.mark", "Mark mail from outside.")] = False
    names: Annotated[frozenset[DomainText], RowKey("listener.names", "Whose mail.", most=2)] = frozenset()
    pause: Annotated[
        float,
        Key("smtp.pause", "How long.", above=0, most=9),
        RowKey("listener.pause", "The same.", most=9, inherits=True),
    ] = 3.0


def test_a_new_key_of_each_listener_is_its_declaration_and_its_use() -> None:
    table = rows_of("listener", [NewRow])

    def read(values: Mapping[str, object]) -> NewRow:
        return filled_row(NewRow, "listener", table.model_validate(values), NewRow(pause=5.0))

    assert list(declared(NewRow)) == ["pause"], "what is for each row is no key of the table that all share"
    assert read({}) == NewRow(pause=5.0)
    assert read({"mark": True, "names": ["A.example"], "pause": 7.0}) == NewRow(
        marks=True, names=frozenset({"a.example"}), pause=7.0
    )
    mistakes: list[Mapping[str, object]] = [
        {"names": ["a", "b", "c"]},
        {"names": ["a b"]},
        {"pause": 10.0},
        {"marks": True},
    ]
    for wrong in mistakes:
        with pytest.raises(ValidationError):
            read(wrong)


ROWS = [
    (consumer, table, each)
    for consumer, table in (
        (Profile, "listener"),
        (DestinationRule, "domain"),
        (RetrySchedule, "route"),
        (RouteSettings, "route"),
    )
    for each in row_declared(consumer, table).values()
]


@pytest.mark.parametrize(("consumer", "table", "each"), ROWS, ids=[each.key.path for _, _, each in ROWS])
def test_a_key_of_a_row_is_in_its_table_and_is_limited(consumer: type, table: str, each: Declared) -> None:
    field = TABLES[table].model_fields[each.key.name]
    assert field.description == each.key.text
    assert each.key.text.endswith((".", ")"))
    if {int, float} & _plain(each.kind) or get_origin(each.kind) in (tuple, frozenset):
        usual = declared(consumer).get(each.field.name)
        assert each.key.most is not None or each.kind == frozenset[str], "EHLO keywords have their own limit"
        assert usual is None or (usual.key.most, usual.key.above) == (each.key.most, each.key.above)


def test_two_declarations_of_one_key_are_a_bug() -> None:
    with pytest.raises(TypeError, match="declared twice"):
        keys_of("delivery", [NewOptions, NewOptions])


@pytest.mark.parametrize("path", SENDMAIL_KEYS)
def test_sendmail_has_the_servers_defaults(path: str) -> None:
    file = FileTable.model_validate({}, context={"base": Path()})
    said = value_of(file, KEYS[path].key)
    shown = tuple(str(each) for each in said) if isinstance(said, list) else said
    assert shown == SENDMAIL_KEYS[path]


def test_lists_of_the_file_cannot_be_changed_any_more() -> None:
    options = parse('[smtp]\nlisten = ["127.0.0.1:25"]\nown_addresses = ["192.0.2.1"]', "t.toml")
    assert options.listen == (Endpoint("127.0.0.1", 25),)
    assert options.own_addresses == ("192.0.2.1",)
