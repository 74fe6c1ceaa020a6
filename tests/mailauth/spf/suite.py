"""The two SPF suites among the vectors, as cases: a world, a request, and the results that are right."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from letterlock.mailauth.spf.request import Request, helo_request, mail_from_request
from letterlock.resolver.answer import FailureKind
from tests.mailauth.dns_world import World
from tests.mailauth.vectors import vectors

RECEIVER = "receiver.example"
DEFAULT = "DEFAULT"  # the suite's word for "no explanation of the domain's own"


@dataclass(frozen=True)
class Case:
    """`helo`: this identity is checked first, and decides where it has a fail."""

    name: str
    world: World
    request: Request
    helo: Request | None
    results: tuple[str, ...]
    explanation: str | None


def openspf() -> Iterator[Case]:
    """The suite of openspf.org."""
    text = (vectors("spf") / "rfc7208-cases.yml").read_text()
    for scenario in yaml.load_all(text, Loader=yaml.BaseLoader):  # texts only, the safest of all
        world = _openspf_world(scenario["zonedata"])
        for name, test in scenario["tests"].items():
            result = test["result"]
            yield Case(
                name,
                world,
                mail_from_request(test["host"], test["mailfrom"], test["helo"], receiver=RECEIVER),
                None,
                tuple(result) if isinstance(result, list) else (result,),
                test.get("explanation"),
            )


def _openspf_world(zone: dict[str, list[object]]) -> World:
    world = World()
    for owner, entries in zone.items():
        if not all(0 < len(label) < 64 for label in owner.rstrip(".").split(".")):
            continue  # no query can have that name, so nobody can see what is there
        has_txt = any(isinstance(entry, dict) and "TXT" in entry for entry in entries)
        for entry in entries:
            if entry == "TIMEOUT":
                world.fail(owner)
                continue
            assert isinstance(entry, dict)
            [(kind, value)] = entry.items()
            if kind == "SPF":
                if has_txt:
                    continue
                kind = "TXT"
            if value == "TIMEOUT":
                world.fail(owner)
            elif value != "NONE":
                world.add(owner, kind, value)
    return world


def mail_auth() -> Iterator[Case]:
    """The suite of stalwartlabs/mail-auth: a file is a series of documents, each with records and tests."""
    for path in sorted((vectors("spf") / "mail-auth").glob("*.yml")):
        for number, document in enumerate(re.split(r"(?m)^---\s*$", path.read_text())):
            if document.strip():
                yield from _mail_auth_document(document, f"{path.stem}-{number}")


def _mail_auth_document(document: str, name: str) -> Iterator[Case]:
    """Repeated keys carry meaning there (several `spf:`, several `ip:`), so lines are read and not YAML."""
    facts: dict[str, str] = {}
    records: list[tuple[str, str]] = []
    shared, section, extra = len(records), "", 0
    for line in document.splitlines():
        field = re.fullmatch(r"(\s*)(-\s+)?(\w+):\s*(.*?)\s*", line)
        if field is None or line.lstrip().startswith("#"):
            continue
        _, item, key, value = field.groups()
        if not line[0].isspace() and not item:
            section = key
            continue
        if section == "records":
            records.append((key, value))
            shared = len(records)
            continue
        if item and key == "name":
            del records[shared:]
        if key in _RECORD_KEYS:
            records.append((key, value))
        else:
            facts[key] = value
        if key == "expect":
            extra += 1
            yield _mail_auth_case(f"{name}-{extra}", records, facts)


_RECORD_KEYS = frozenset({"spf", "exp", "mx", "a", "aaaa", "ptr"})


def _mail_auth_case(name: str, records: list[tuple[str, str]], facts: dict[str, str]) -> Case:
    world = World()
    for key, value in records:
        _add(world, key, value)
    for failing in ("_dns_error.test.org", "_dns_error.org"):
        world.fail(failing, FailureKind.SERVFAIL)
    result, _, explanation = facts["expect"].partition(" ")
    sender = facts.get("sender") or f"postmaster@{facts['domain']}"
    helo = facts.get("domain", sender.rpartition("@")[2])
    request = mail_from_request(facts["ip"], sender, helo)
    first = helo_request(facts["ip"], helo) if helo != request.domain else None
    return Case(name, world, request, first, (result,), explanation or None)


def _add(world: World, key: str, value: str) -> None:
    owner, _, rest = value.partition(" ")
    try:
        match key:
            case "spf" | "exp":
                world.add(owner, "TXT", rest.strip("\"'"))
            case "a" | "aaaa":
                for address in rest.split(","):
                    world.add(owner, "AAAA" if ":" in address else "A", address.strip())
            case "ptr":
                world.add(mail_from_request(owner, "", "x.y").client.reverse_pointer, "PTR", rest.strip())
            case "mx":
                for number, address in enumerate(rest.split(",")):
                    host = f"mx{number}.{owner}"
                    world.add(owner, "MX", (10 + number, host))
                    world.add(host, "AAAA" if ":" in address else "A", address.strip())
    except AssertionError:
        return  # a name that no query can have
