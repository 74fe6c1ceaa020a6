"""`letterlock check`: SPF, DMARC and DKIM keys in text, JSON and on the page."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.cli.check.selectors import own_selectors
from letterlock.cli.check.text import draw_survey
from letterlock.cli.style import Style
from letterlock.config import load
from letterlock.discover.announced import Announced
from letterlock.inspect.survey import unforeseen
from letterlock.lab.box import running_box
from letterlock.lab.scenarios import Attack
from letterlock.mailauth.dkim.rotation import KeyPhase, RotatedKey
from letterlock.mailauth.dkim.signature import Algorithm
from letterlock.policy.codes import Code
from letterlock.policy.decision import Refuse
from letterlock.policy.reasons import Reason
from letterlock.state.key_directory import KeyDirectory
from tests.cli.running import asking, letterlock

ABSENT = {"state": "absent", "detail": "", "security": "secure"}
SPF, DMARC, DKIM = ({"method": method, **ABSENT} for method in ("SPF", "DMARC", "DKIM s1"))


def shown(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.startswith(("  SPF", "  DMARC", "  DKIM"))]


async def test_the_records_are_shown_in_every_form(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    none = [["SPF", "none", "[secure]"], ["DMARC", "none", "[secure]"]]
    async with running_box(Attack.NONE) as box:
        port = ("--port", str(box.berths.port), *asking(box))
        usual = await letterlock("check", "dane-ee.test", *port)
        keyed = await letterlock("check", "dane-ee.test", "--selector", "s1", "--html", page, *port)
        quiet = await letterlock("check", "dane-ee.test", "--no-mail-auth", *port)
        brief = await letterlock("check", "dane-ee.test", "--brief", *port)
        data = (await letterlock("check", "dane-ee.test", "--selector", "s1", "--json", *port)).data
        less = (await letterlock("check", "dane-ee.test", "--no-mail-auth", "--json", *port)).data
    assert [shown(each.out) for each in (usual, keyed, quiet, brief)] == [
        none,
        [*none, ["DKIM", "s1", "none", "[secure]"]],
        [],
        [],
    ]
    assert "<dt>DKIM s1</dt>" in page.read_text()
    assert data["domains"][0]["mail_authentication"] == [SPF, DMARC, DKIM]
    assert less["domains"][0]["mail_authentication"] == []


def test_the_selectors_of_own_domains_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = KeyDirectory(tmp_path / "keys")
    keys = [
        RotatedKey(selector=f"k{number}", algorithm=Algorithm.ED25519_SHA256, phase=phase, since=0)
        for number, phase in enumerate(KeyPhase)
    ]
    with directory.locked():
        directory.write(tuple(keys))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "rotation.json").write_text("[")
    config = tmp_path / "letterlock.toml"
    config.write_text(
        '[dkim."fixed.test"]\nselectors = { s1 = "s1.pem", s2 = "s2.pem" }\n'
        f'[dkim."rotates.test"]\ndirectory = "{directory.path}"\n'
        f'[dkim."broken.test"]\ndirectory = "{tmp_path}/broken"\n'
    )
    options = load(config, secrets=False)
    found = own_selectors(options, ("fixed.test", "rotates.test", "broken.test", "other.test"))
    assert found == {
        "fixed.test": ("s1", "s2"),
        "rotates.test": tuple(key.selector for key in keys if key.phase is not KeyPhase.RETIRED),
    }
    assert "warning: the DKIM keys of broken.test are not shown: " in capsys.readouterr().err
    assert own_selectors(options, ("other.test",)) == {}


def test_a_domain_without_mail_may_still_be_forged_and_its_records_are_shown() -> None:
    survey = replace(
        unforeseen("parked.test", port=25, at=0),
        routed=Refuse(status="5.1.10", reasons=(Reason(code=Code.RFC7505_3_NULL_MX, subject="parked.test"),)),
        announced=(Announced(method="SPF", state="present", detail="v=spf1 -all", security="secure"),),
    )
    assert "  SPF           v=spf1 -all  [secure]" in draw_survey(survey, Style.of(io.StringIO()))
