"""`letterlock check` for many domains: files, standard input, tables, data and pages."""

import asyncio
import importlib
import json
import os
import re
import signal
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from letterlock.inspect.survey import Survey
from letterlock.lab.box import running_box
from letterlock.lab.scenarios import Attack
from letterlock.lab.subject import write_config
from tests.cli.running import letterlock

check_module = importlib.import_module("letterlock.cli.check.command")
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "check.md"
DOMAINS = ("dane-ee.test", "none.test", "verify.test", "nobody.test")


class Seen(HTMLParser):
    """What a browser would fetch or run, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag in ("script", "img", "link", "iframe", "object", "embed") or "src" in names:
            self.loads.append(tag)
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_from_four_domains_on_there_is_a_line_for_each_and_a_count() -> None:
    async with running_box(Attack.NONE) as box:
        ran = await letterlock("check", "--config", write_config(box, "127.0.0.1:0"), *DOMAINS)
    lines = ran.out.splitlines()
    assert lines[0].split() == ["DOMAIN", "PROTECTION", "BY", "HOSTS", "WORTH", "DOING", "NEXT"]
    assert [line.split()[0] for line in lines[1:5]] == list(DOMAINS)
    assert lines[1].split()[1:4] == ["PROTECTED", "DANE", "1/1"]
    assert "NO MAIL" in lines[4]
    assert lines[-1].startswith("4 domains in ")
    assert lines[-1].endswith("1 protected, 2 not protected, 1 without mail")
    assert ran.status == 1


async def test_blocks_and_lines_can_be_asked_for() -> None:
    async with running_box(Attack.NONE) as box:
        config = write_config(box, "127.0.0.1:0")
        full = await letterlock("check", "--full", "--config", config, *DOMAINS)
        brief = await letterlock("check", "--brief", "--config", config, "none.test")
    assert full.out.count("Worth doing next") == 3
    assert full.out.count("Who could read this mail?") == 3
    assert brief.out.splitlines()[1].startswith("none.test")


async def test_a_file_of_domains_with_comments_addresses_and_repetitions(tmp_path: Path) -> None:
    listed = tmp_path / "domains"
    listed.write_text("# ours\nDANE-EE.test\n\nann@none.test  # hers\ndane-ee.test.\n")
    async with running_box(Attack.NONE) as box:
        config = write_config(box, "127.0.0.1:0")
        ran = await letterlock("check", "--jsonl", "--config", config, "--file", listed)
    assert [json.loads(line)["domain"] for line in ran.out.splitlines()] == ["dane-ee.test", "none.test"]


async def test_mistakes_in_the_file_are_told_with_their_lines_and_nothing_is_checked(tmp_path: Path) -> None:
    listed = tmp_path / "domains"
    listed.write_bytes(b"example.org\nno..domain\n\xff\xfe\n" + b"a" * 5_000 + b"\n")
    ran = await letterlock("check", "--upstream", "127.0.0.1:1", "--file", listed)
    assert ran.status == 2
    assert ran.out == ""
    for line in (2, 3, 4):
        assert f"{listed}:{line}: " in ran.err
    assert "nothing was checked" in ran.err
    assert len(ran.err) < 4_000


async def test_an_empty_file_and_one_that_is_not_there_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    assert (await letterlock("check", "--file", tmp_path / "empty")).status == 2
    assert (await letterlock("check", "--file", tmp_path / "missing")).status == 2


async def test_the_json_document_holds_all_and_says_what_to_do() -> None:
    async with running_box(Attack.NONE) as box:
        ran = await letterlock("check", "--json", "--config", write_config(box, "127.0.0.1:0"), *DOMAINS)
    first, second, *_ = ran.data["domains"]
    assert (first["mta_sts"]["state"], first["mta_sts"]["detail"]) == ("absent", None)
    assert first["tls_reports"] == {"state": "absent", "uris": [], "detail": None}
    assert ran.data["complete"] is True
    assert first["mx"]["proof"][0]["zone"] == "."
    assert first["hosts"][0]["sessions"][0]["certificate"]["names"] == ["mx.dane-ee.test"]
    assert [each["kind"] for each in first["advice"]] == ["publish-mta-sts", "ask-for-reports"]
    assert [each["kind"] for each in second["advice"]] == ["sign-domain", "publish-mta-sts", "ask-for-reports"]


async def test_the_page_says_the_same_and_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    async with running_box(Attack.SELF_SIGNED) as box:
        config = write_config(box, "127.0.0.1:0")
        ran = await letterlock("check", "--html", page, "--json", "--config", config, *DOMAINS)
    seen = Seen()
    seen.feed(page.read_text())
    assert seen.open == []
    assert seen.loads == []
    assert "default-src 'none'" in page.read_text()
    for survey in ran.data["domains"]:
        assert survey["domain"] in seen.text
        assert survey["summary"] in seen.text
        for advice in survey["advice"]:
            assert advice["what"] in seen.text
            assert all(line in seen.text for line in advice["publish"])
        for host in survey["hosts"]:
            assert all(reason["sentence"] in seen.text for reason in host["reasons"])
    assert [entry.name for entry in os.scandir(tmp_path)] == [page.name]


async def test_a_page_that_cannot_be_written_is_told_before_anything_is_looked_at(tmp_path: Path) -> None:
    ran = await letterlock("check", "--html", tmp_path / "no" / "page.html", "--upstream", "127.0.0.1:1", "a.test")
    assert ran.status == 2
    assert "cannot write" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("attack", [Attack.NONE, Attack.TLSA_LOOKUP_FAILED, Attack.SELF_SIGNED])
async def test_every_object_has_all_its_keys_in_every_state_and_the_guide_lists_them(attack: Attack) -> None:
    async with running_box(attack) as box:
        config = write_config(box, "127.0.0.1:0")
        ran = await letterlock("check", "--json", "--config", config, *DOMAINS, "sts.example", "test")
        dead = await letterlock("check", "--json", "--upstream", "127.0.0.1:1", "a.test")
    shapes: dict[str, set[tuple[str, ...]]] = {}
    for survey in (*ran.data["domains"], *dead.data["domains"]):
        note_shapes("domain", survey, shapes)
    assert {name: len(kinds) for name, kinds in shapes.items() if len(kinds) != 1} == {}
    documented = set(re.findall(r"`([a-z0-9_]+)`", GUIDE.read_text()))
    assert {key for [keys] in shapes.values() for key in keys} <= documented


def note_shapes(name: str, value: object, shapes: dict[str, set[tuple[str, ...]]]) -> None:
    """The keys of every object, by the name under which it stands; MX and TLSA lookups are kinds of their own."""
    if isinstance(value, dict):
        shapes.setdefault(name, set()).add(tuple(value))
        for key, each in value.items():
            note_shapes(key, each, shapes)
    elif isinstance(value, list):
        for each in value:
            note_shapes(name, each, shapes)


async def test_a_page_is_written_whatever_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    async with running_box(Attack.TLSA_LOOKUP_FAILED) as box:
        config = write_config(box, "127.0.0.1:0")
        ran = await letterlock("check", "--html", page, "--config", config, *DOMAINS)
    assert ran.status == 1
    assert "dane-ee.test" in page.read_text()
    dead = await letterlock("check", "--html", page, "--upstream", "127.0.0.1:1", "a.test", "b.test")
    assert dead.status == 3
    assert "a.test" in page.read_text()


async def test_a_page_that_cannot_be_written_in_the_end_loses_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.symlink_to("/dev/full")
    ran = await letterlock("check", "--html", page, "--upstream", "127.0.0.1:1", "a.test")
    assert ran.status == 74
    assert ran.out.startswith("a.test   COULD NOT FIND OUT")
    assert ran.err.splitlines()[-1] == f"error: cannot write {page}: {os.strerror(28)}"
    assert page.is_symlink()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("form", ["--json", "--jsonl"])
async def test_an_interrupt_shows_what_was_found_until_then(
    tmp_path: Path, number: signal.Signals, status: int, form: str
) -> None:
    page = tmp_path / "page.html"
    async with running_box(Attack.NONE) as box:
        config = write_config(box, "127.0.0.1:0")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "letterlock", "check", form, "--jobs", "1", "--html", str(page)),
            *("--config", str(config), "--file", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        many = "".join(f"{name}\n" for name in ["dane-ee.test", *(f"d{each}.none.test" for each in range(4_000))])
        process.stdin.write(many.encode())
        process.stdin.close()
        async with asyncio.timeout(60):
            first = await process.stdout.readline()
            process.send_signal(number)
            rest, told = await process.communicate()
    out = (first + rest).decode()
    found = json.loads(out)["domains"] if form == "--json" else [json.loads(line) for line in out.splitlines()]
    assert found[0]["domain"] == "dane-ee.test"
    assert len(found) < 4_001
    assert form == "--jsonl" or json.loads(out)["complete"] is False
    assert process.returncode == status
    assert f"interrupted: partial, {len(found)} of 4001 domains" in told.decode()
    assert "Traceback" not in told.decode()
    assert "dane-ee.test" in page.read_text()
    assert "Partial: the check was interrupted" in page.read_text()


def test_a_bug_at_one_domain_is_no_end_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    real = check_module.survey

    async def survey(domain: str, **given: Any) -> Survey:
        if domain == "b.test":
            raise KeyError("an internal text \x1b[2J")
        found: Survey = await real(domain, **given)
        return found

    monkeypatch.setattr(check_module, "survey", survey)
    ran = CliRunner().invoke(check_module.check, ["--json", "--upstream", "127.0.0.1:1", "a.test", "b.test", "c.test"])
    first, second, third = json.loads(ran.stdout)["domains"]
    assert ran.exit_code == 3
    assert (first["domain"], third["domain"]) == ("a.test", "c.test")
    assert second["reasons"][0]["code"] == "internal-error"
    assert "warning: b.test: a bug in Letterlock (KeyError at test_check_many.py:" in ran.stderr
    assert "internal text" not in ran.output
