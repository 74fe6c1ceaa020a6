"""`letterlock check --mail-auth`: SPF, DMARC and DKIM keys in text, JSON and on the page."""

from pathlib import Path

from letterlock.lab.box import running_box
from letterlock.lab.scenarios import Attack
from tests.cli.running import asking, letterlock


async def test_the_records_are_shown_on_demand_in_every_form(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    async with running_box(Attack.NONE) as box:
        port = ("--port", str(box.berths.port), *asking(box))
        text = await letterlock("check", "dane-ee.test", "--selector", "s1", "--html", page, *port)
        data = (await letterlock("check", "dane-ee.test", "--mail-auth", "--json", *port)).data
        quiet = (await letterlock("check", "dane-ee.test", "--json", *port)).data
    assert [line.split() for line in text.out.splitlines() if line.startswith(("  SPF", "  DMARC", "  DKIM"))] == [
        ["SPF", "none", "[secure]"],
        ["DMARC", "none", "[secure]"],
        ["DKIM", "s1", "none", "[secure]"],
    ]
    assert "<dt>DKIM s1</dt>" in page.read_text()
    found = {"state": "absent", "detail": "", "security": "secure"}
    [domain] = data["domains"]
    assert domain["mail_authentication"] == [{"method": "SPF", **found}, {"method": "DMARC", **found}]
    assert quiet["domains"][0]["mail_authentication"] == []
