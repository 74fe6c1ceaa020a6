"""Events as JSON objects, and the reference of their names and fields."""

import json
import logging
import re
from pathlib import Path

import letterlock
from letterlock.app.log_text import JsonFormatter, PostfixFormatter, program_of
from letterlock.events import LogEvent

HOME = Path(letterlock.__file__).parent
REFERENCE = (HOME.parents[1] / "docs/reference/logs.md").read_text()


def record(logger: str, message: object, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(logger, logging.INFO, "", 0, message, arguments, None)


def test_an_event_is_an_object_with_its_values_and_its_line() -> None:
    event = LogEvent("queued", "%(id)s: size=%(size)d", id="4F2A1", size=7, more=["x"])
    shown = json.loads(JsonFormatter().format(record("letterlock.receive.qmgr", event)))
    assert shown.pop("time") > 0
    assert shown.pop("process") > 0
    assert shown == {
        "level": "info",
        "program": "postfix/qmgr",
        "event": "queued",
        "id": "4F2A1",
        "size": 7,
        "more": ["x"],
        "message": "4F2A1: size=7",
    }


def test_other_lines_are_messages() -> None:
    shown = json.loads(JsonFormatter().format(record("letterlock.store", "%d messages", 3)))
    assert (shown["program"], shown["event"], shown["message"]) == ("letterlock", "message", "3 messages")


def test_a_percent_sign_from_outside_is_text() -> None:
    line = PostfixFormatter("mx").format(record("letterlock.receive", LogEvent("x", "%(text)s", text="100%s %(id)s")))
    assert line.endswith("]: 100%s %(id)s")


def test_programs_are_those_of_postfix_for_each_room() -> None:
    assert program_of("letterlock.receive") == "postfix/smtpd"
    assert program_of("letterlock.receive.tests") == "postfix/smtpd"
    assert program_of("letterlock.deliver.local.lmtp") == "postfix/lmtp"
    assert program_of("letterlock.admin") == "letterlock"
    assert program_of("letterlock.receiver") == "letterlock"


def test_the_reference_has_every_event() -> None:
    sources = "\n".join(path.read_text() for path in sorted(HOME.rglob("*.py")))
    names = set(re.findall(r'(?:Log|Line)Event\(\s*"([a-z-]+)"', sources))
    documented = set(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", REFERENCE, re.MULTILINE))))
    assert len(names) > 15
    assert names <= documented
