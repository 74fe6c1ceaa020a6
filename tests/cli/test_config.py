"""`letterlock config`: what is in effect and why, the schema, and what `serve` would stumble over."""

import importlib
import json
import socket
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from letterlock.app import checking, surroundings
from letterlock.app.checking import check_all
from letterlock.cli.config import config
from letterlock.cli.main import main
from letterlock.config import load, parse
from letterlock.config.dangers import dangers
from letterlock.config.reload_effects import values
from letterlock.config.showing import BY_NAME, json_schema
from letterlock.config.tables import TABLES, FileTable
from letterlock.routing.destination_rule import TlsRule
from letterlock.shared_defaults import ENVIRONMENT
from letterlock.store.sqlite.opening import FILE
from tests.certificates import self_signed

jsonschema: Any = importlib.import_module("jsonschema")  # it has no type stubs
ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(config, arguments)


@pytest.fixture(name="path")
def path_fixture(tmp_path: Path) -> Path:
    self_signed("mx.example").write(tmp_path)
    (tmp_path / "server.key").chmod(0o600)
    path = tmp_path / "letterlock.toml"
    path.write_text(
        'hostname = "mx.example.org"\n[smtp]\nlisten = ["127.0.0.1:0"]\n'
        'certificate = "server.pem"\nkey = "server.key"\n'
        '[queue]\ndirectory = "q"\nkey_file = "queue.key"\n[domain."*.example.net"]\ntls = "verify"\n'
    )
    (tmp_path / "queue.key").write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n")
    (tmp_path / "queue.key").chmod(0o600)
    return path


def test_show_names_the_line_or_the_default_and_no_secret(path: Path) -> None:
    done = run("show", "--config", str(path))
    lines = done.stdout.splitlines()
    assert f'hostname = "mx.example.org"  # {path}:1' in lines
    assert f'queue.key_file = "queue.key"  # {path}:8' in lines
    assert "smtp.max_recipients = 1000  # default" in lines
    assert f'domain."*.example.net" = {{ tls = "verify" }}  # {path}:9' in lines
    assert "AAAA" not in done.stdout
    assert "QUFB" not in done.stdout


def test_show_finds_the_values_that_the_server_finds(path: Path) -> None:
    values = {each["key"]: each for each in json.loads(run("show", "--json", "--config", str(path)).stdout)["keys"]}
    assert values["queue.drop_directory"]["value"] == f"{path.parent}/q-drop"
    assert values["queue.min_free_octets"] == {"key": "queue.min_free_octets", "value": 39321600, "from": "default"}


def test_a_file_with_mistakes_is_reported_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("a = 1\nb = 2\n")
    for verb in ("show", "check"):
        done = run(verb, "--config", str(path))
        assert done.exit_code == 78
        assert "2 mistakes" in done.stderr


def toml_examples() -> Iterator[tuple[str, str]]:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for number, block in enumerate(page.read_text().split("```toml\n")[1:]):
            yield f"{page.stem}-{number}", block.partition("```")[0]


def test_the_schema_knows_every_tls_rule() -> None:
    words = json_schema()["$defs"]["RuleTable"]["properties"]["tls"]["enum"]
    assert words == [rule.value for rule in TlsRule]


def jsonable(data: dict[str, Any]) -> Any:
    return json.loads(json.dumps(data, default=str))


def validator() -> Any:
    schema = json.loads(run("schema").stdout)
    assert schema == json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_takes_every_example_of_the_documentation() -> None:
    valid = validator()
    for name, text in toml_examples():
        errors = [error.message for error in valid.iter_errors(jsonable(tomllib.loads(text)))]
        assert not errors, (name, errors)


@pytest.mark.parametrize(
    "text",
    [
        "hostnme = 'x'",
        "workers = 'many'",
        "[smtp]\nmax_recipients = 'x'",
        "[smtp]\nmax_recipients = 5",
        "[smtp]\nlisten = '127.0.0.1:25'",
        "[domain.x]\nmode = 'audit'",
        "[domain.x]\ntls = 'verfy'",
        "[route.x]\ntls = 'may'",
    ],
)
def test_the_schema_refuses_what_the_server_refuses(text: str) -> None:
    assert list(validator().iter_errors(jsonable(tomllib.loads(text))))


def test_check_says_what_is_well_and_what_is_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_upstreams", lambda _: iter(()))
    monkeypatch.setattr(surroundings, "_reverse_names", lambda _: iter(()))
    monkeypatch.setattr(surroundings, "clock_is_synchronised", lambda: True)
    done = run("check", "--config", str(path))
    assert done.exit_code == 0, done.output
    assert "can listen on 127.0.0.1:0" in done.output
    monkeypatch.setattr(surroundings, "clock_is_synchronised", lambda: False)
    (path.parent / "server.key").chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path.write_text(path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"))
        done = run("check", "--config", str(path))
    assert done.exit_code == 1
    assert "error    cannot listen on 127.0.0.1" in done.output
    assert "warning  the clock is not synchronised" in done.output
    assert f"can be read by others: chmod 600 {path.parent}/server.key" in done.output


def test_a_queue_that_is_no_queue_is_an_error_and_stays_as_it_is(path: Path) -> None:
    (path.parent / "q").mkdir()
    file = path.parent / "q" / FILE
    file.write_bytes(b"this is no database" * 100)
    found = list(checking._queue(load(path)))
    assert [each.level for each in found] == ["error"]
    assert file.read_bytes() == b"this is no database" * 100


def test_an_upstream_that_does_not_answer_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    options = parse('[resolver]\nupstream = ["127.0.0.1:9"]\ntimeout_seconds = 0.1', "t.toml")
    (found,) = checking._upstreams(options)
    assert found.level == "warning"
    assert "127.0.0.1:9" in found.text


def test_all_of_it_begins_with_the_file(path: Path) -> None:
    first = next(check_all(load(path), path))
    assert (first.level, first.text) == ("ok", f"{path}: no mistakes")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('hostname = "mx"', "the host name mx has no dot"),
        ('[smtp]\nrelay_networks = ["0.0.0.0/0"]', "relay_networks has 0.0.0.0/0, which is public"),
        ('[smtp]\nrelay_networks = ["203.0.113.0/24", "9.9.0.0/16"]', "relay_networks has 9.9.0.0/16"),
        (
            '[domain."x.example".exception]\nreason = "r"\nuntil = 2020-01-01\n[domain."x.example"]\ntls = "verify"',
            "the exception for x.example ended on 2020-01-01",
        ),
        (
            '[resolver.negative."x.example"]\nreason = "r"\nuntil = 2020-01-01',
            "the negative trust anchor for x.example. ended on 2020-01-01",
        ),
    ],
)
def test_dangerous_settings_are_warned_of(text: str, words: str) -> None:
    warnings = list(dangers(parse(text if "hostname" in text else f'hostname = "a.b"\n{text}', "t.toml"), time.time()))
    assert len(warnings) == 1
    assert words in warnings[0]


def test_private_networks_and_running_exceptions_are_fine() -> None:
    text = (
        'hostname = "a.b"\n[smtp]\nrelay_networks = ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8", "::1/128"]\n'
        '[domain."x.example"]\ntls = "verify"\n[domain."x.example".exception]\nreason = "r"\nuntil = 9999-01-01\n'
    )
    assert not list(dangers(parse(text, "t.toml"), time.time()))


def test_with_v_it_says_which_configuration_was_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(path))
    done = run("show", "-v")
    assert f"configuration: {path}" in done.stderr


def verbs(command: click.Command, names: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every verb, with its names."""
    if not isinstance(command, click.Group):
        yield " ".join(names), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from verbs(inner, (*names, name))


NEED_NONE = {
    *("check-mail", "explain", "resolve", "log trace", "lab up"),  # they work without a server's configuration
    *("config from-opensmtpd", "config from-postfix", "config schema", "setup", "companion disable"),  # they make one
    *("dkim check", "dkim key", "dkim record", "sts policy", "sts serve"),  # they work on what the command line names
}


def test_every_verb_takes_a_configuration_and_says_which_it_read() -> None:
    without = set()
    for name, verb in verbs(main):
        options = {each for parameter in verb.params for each in parameter.opts}
        if "--config" not in options:
            without.add(name)
        else:
            assert {"-v", "--verbose"} <= options, name
    assert without == NEED_NONE


def test_a_file_with_mistakes_starts_changes_or_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("hostname = \n")
    for words, ending in ((["reload"], "changed"), (["queue", "list"], "done"), (["serve"], "started")):
        done = CliRunner().invoke(main, [*words, "--config", str(path)])
        assert done.exit_code == 78
        assert done.stderr.endswith(f"1 mistake. Nothing was {ending}.\n")


def test_the_doors_addresses_are_tried_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_upstreams", lambda _: iter(()))
    monkeypatch.setattr(surroundings, "_reverse_names", lambda _: iter(()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        path = tmp_path / "letterlock.toml"
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        path.write_text(f'[smtp]\nlisten = ["127.0.0.1:0"]\n[resolver]\nlisten = ["{at}"]\n[queue]\ndirectory = "q"\n')
        done = CliRunner().invoke(config, ["check", "--config", str(path)])
    assert done.exit_code == 1
    assert f"cannot listen on {at}" in done.output


LISTED = {"listen": "", "type": "Stream", "unit": "letterlock.socket", "activates": "letterlock.service"}


@pytest.mark.parametrize(
    ("listed", "exit_code", "said"),
    [
        (LISTED, 0, "ok       systemd holds 127.0.0.1:{port} for letterlock.service, by letterlock.socket"),
        (LISTED | {"activates": "dovecot.service"}, 1, "hint: systemd holds 127.0.0.1:{port} for dovecot.service"),
        (LISTED | {"listen": "0.0.0.0:{port}"}, 1, "write ListenStream=127.0.0.1:{port} there"),
        (LISTED | {"type": "Datagram"}, 1, "another program has this port"),
        ({}, 1, "another program has this port"),
    ],
)
def test_a_port_that_systemd_holds_for_the_server_is_not_taken(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: dict[str, str], exit_code: int, said: str
) -> None:
    monkeypatch.setattr(checking, "_upstreams", lambda _: iter(()))
    monkeypatch.setattr(checking, "surroundings", lambda _: iter(()))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        at = {"listen": (listed.get("listen") or "127.0.0.1:{port}").replace("{port}", str(port))}
        (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho '{json.dumps([listed | at] if listed else [])}'\n")
        (tmp_path / "systemctl").chmod(0o755)
        path.write_text(path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        done = run("check", "--config", str(path))
    assert said.format(port=port) in done.output
    assert done.exit_code == exit_code, done.output


def test_mistakes_are_json_too(tmp_path: Path) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text('hostname = "mx.example.org"\n[smtp]\nlistn = []\n')
    done = run("check", "--json", "--config", str(path))
    assert (done.exit_code, done.stderr) == (78, "")
    [found] = json.loads(done.stdout)["found"]
    assert found == {
        "level": "error",
        "text": f'{path}:3: smtp.listn: unknown key; hint: did you mean "listen"?',
        "file": str(path),
        "line": 3,
        "key": "smtp.listn",
        "message": "unknown key",
        "hint": 'did you mean "listen"?',
    }


def test_every_table_of_the_file_is_shown(tmp_path: Path) -> None:
    shown = {each.key.table.partition(".")[0] for each, _ in values(parse("", "x"))} | {*BY_NAME, "forwarding"}
    whole = {name for name in FileTable.model_fields if name in TABLES}
    assert whole <= shown
    path = tmp_path / "letterlock.toml"
    path.write_text(
        '[table.aliases]\nfile = "/etc/aliases"\n[local."example.org"]\naliases = ["aliases"]\n'
        '[sender_route."a.example"]\nnext_hop = "relay.example.net"\n[forwarding]\nsrs_domain = "example.org"\n'
        'srs_secret_file = "s"\n'
    )
    (tmp_path / "s").write_text("0123456789abcdef\n")
    (tmp_path / "s").chmod(0o600)
    lines = run("show", "--config", str(path)).stdout.splitlines()
    assert f'table."aliases" = {{ file = "/etc/aliases" }}  # {path}:1' in lines
    assert f'sender_route."a.example" = {{ next_hop = "relay.example.net" }}  # {path}:5' in lines
    assert f'forwarding.srs_domain = "example.org"  # {path}:8' in lines
