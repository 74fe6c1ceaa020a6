"""A memory as text: what the store keeps, and what `letterlock memory --json` prints."""

import json
from dataclasses import asdict

from letterlock.memory.remembered import Difference, DomainMemory, HostMemory, NotedChange
from letterlock.memory.traces import Trace


class DamagedRecord(Exception):
    """The text is no memory. `str()` says why."""


def to_json(memory: DomainMemory) -> str:
    """One line. What is not there is left out, to save room."""
    return json.dumps(_trimmed(asdict(memory)), separators=(",", ":"))


def from_json(domain: str, text: str) -> DomainMemory:
    """The memory of a domain. Raises DamagedRecord."""
    try:
        memory = _domain(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedRecord(f"{type(error).__name__}: {error}") from None
    if memory.domain != domain:
        raise DamagedRecord("it is about another domain")
    return memory


def _trimmed(value: object) -> object:
    if isinstance(value, dict):
        return {key: _trimmed(each) for key, each in value.items() if each not in (None, "", (), [])}
    if isinstance(value, list | tuple):
        return [_trimmed(each) for each in value]
    return value


def _domain(found: object) -> DomainMemory:
    values = _object(found)
    return DomainMemory(
        domain=_text(values["domain"]),
        tls=_trace(values.get("tls")),
        mta_sts=_trace(values.get("mta_sts")),
        signed=_trace(values.get("signed")),
        hosts=tuple(_host(each) for each in _list(values.get("hosts", []))),
        changes=tuple(_change(each) for each in _list(values.get("changes", []))),
    )


def _host(found: object) -> HostMemory:
    values = _object(found)
    return HostMemory(
        name=_text(values["name"]),
        seen=_trace(values.get("seen")),
        tls=_trace(values.get("tls")),
        certificate=_trace(values.get("certificate")),
        dane=_trace(values.get("dane")),
        clear=_trace(values.get("clear")),
        issuer=_text(values.get("issuer", "")),
        keys=tuple(_text(each) for each in _list(values.get("keys", []))),
    )


def _change(found: object) -> NotedChange:
    values = _object(found)
    return NotedChange(
        what=Difference(_text(values["what"])),
        host=_text(values.get("host", "")),
        since=_number(values["since"]),
        last=_number(values["last"]),
        count=int(_number(values["count"])),
        held=values.get("held") is True,
    )


def _trace(values: object) -> Trace | None:
    match values:
        case None:
            return None
        case {"days": days, "first": first, "last": last}:
            return Trace(int(_number(days)), _number(first), _number(last))
    raise TypeError("a trace has days, first and last")


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("an object is missing")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text is missing")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise TypeError("a number is missing")
    return value
