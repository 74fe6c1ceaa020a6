"""`letterlock check` for many domains: files, standard input, tables, data and pages."""

import asyncio
import json
import os
import signal
import sys
from html.parser import HTMLParser
from pathlib import Path

from letterlock.lab.box import running_box
from letterlock.lab.scenarios import Attack
from letterlock.lab.subject import write_config
from tests.cli.running import letterlock

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
    assert first["mta_sts"] == {"state": "absent", "detail": None}
    assert first["tls_reports"] == {"state": "absent", "detail": None}
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


async def test_an_interrupt_shows_what_was_found_until_then(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    async with running_box(Attack.NONE) as box:
        config = write_config(box, "127.0.0.1:0")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "letterlock", "check", "--jsonl", "--jobs", "1", "--html", str(page)),
            *("--config", str(config), "--file", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        many = "".join(f"{name}\n" for name in ["dane-ee.test", *(f"d{number}.none.test" for number in range(4_000))])
        process.stdin.write(many.encode())
        process.stdin.close()
        async with asyncio.timeout(60):
            first = await process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, told = await process.communicate()
    assert json.loads(first)["domain"] == "dane-ee.test"
    assert process.returncode == 130
    assert "interrupted: " in told.decode()
    assert "Traceback" not in told.decode()
    assert "dane-ee.test" in page.read_text()
