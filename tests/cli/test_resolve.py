"""`letterlock resolve`: what it prints and how it ends, against the lab's DNS."""

from pathlib import Path

from letterlock.lab.box import running_box
from letterlock.lab.scenarios import Attack
from tests.cli.running import asking, letterlock


async def test_a_secure_answer_is_shown_with_its_chain() -> None:
    async with running_box(Attack.NONE) as box:
        ran = await letterlock("resolve", "dane-ee.test", "MX", *asking(box))
    assert ran.status == 0
    first, *_ = lines = ran.out.splitlines()
    assert first.split() == ["dane-ee.test.", "MX", "secure"]
    assert "  dane-ee.test. MX 10 mx.dane-ee.test." in lines
    zones = [line.split()[0] for line in lines if line.startswith("  ") and "[RFC" in line and line[2] != " "]
    assert zones == [".", "test.", "dane-ee.test."]
    assert "\x1b" not in ran.out


async def test_json_has_records_state_and_proof() -> None:
    async with running_box(Attack.NONE) as box:
        tlsa = f"_{box.berths.port}._tcp.mx.dane-ta.example"
        ran = await letterlock("resolve", tlsa, "TLSA", "--json", *asking(box))
    assert ran.data["security"] == "secure"
    assert ran.data["rcode"] == "NOERROR"
    assert ran.data["records"][0].startswith("2 0 1 ")
    assert [(link["type"], link["security"]) for link in ran.data["aliases"]] == [("CNAME", "secure")]
    assert {step["what"] for step in ran.data["proof"]} >= {"anchor", "ds", "dnskey", "signature"}
    assert all(step["section"] for step in ran.data["proof"])


async def test_a_proven_absence_is_an_answer() -> None:
    async with running_box(Attack.NONE) as box:
        gone = await letterlock("resolve", "nobody.example", "MX", "--json", *asking(box))
        empty = await letterlock("resolve", "mx.dane-ee.test", "AAAA", *asking(box))
    assert (gone.status, gone.data["rcode"], gone.data["absence"]) == (0, "NXDOMAIN", "nxdomain")
    assert empty.status == 0
    assert "exists, but has no AAAA (NODATA)" in empty.out


async def test_an_unsigned_domain_is_proven_insecure() -> None:
    async with running_box(Attack.NONE) as box:
        ran = await letterlock("resolve", "none.test", "MX", *asking(box))
    assert ran.status == 0
    assert "insecure" in ran.out.splitlines()[0]
    assert "no DS in test., proven by" in ran.out


async def test_a_forgery_is_bogus_with_the_broken_link_and_the_extended_error() -> None:
    async with running_box(Attack.MX_FORGED) as box:
        ran = await letterlock("resolve", "dane-ee.test", "MX", *asking(box))
        data = (await letterlock("resolve", "dane-ee.test", "MX", "--json", *asking(box))).data
    assert ran.status == 1
    assert "bogus" in ran.out.splitlines()[0]
    assert "the signature over dane-ee.test. MX by the ECDSAP256SHA256 key" in ran.out
    assert "extended DNS error 6 (DNSSEC bogus)" in ran.out
    assert (data["security"], data["failure"]["kind"], data["records"]) == ("bogus", "bogus", [])


async def test_now_moves_the_clock() -> None:
    async with running_box(Attack.NONE) as box:
        early = await letterlock("resolve", "test", "DS", "--now", "2001-01-01", *asking(box))
        late = await letterlock("resolve", "test", "DS", "--now", "2040-01-01T00:00:00Z", *asking(box))
    assert (early.status, late.status) == (1, 1)
    assert "signature not yet valid" in early.out
    assert "signature expired" in late.out


async def test_another_anchor_makes_everything_bogus() -> None:
    async with running_box(Attack.NONE) as box:
        ran = await letterlock("resolve", "test", "DS", "--upstream", box.resolver)
    assert ran.status == 1
    assert "should have key 20326, 38696" in ran.out


async def test_nobody_to_ask_is_not_an_absence(tmp_path: Path) -> None:
    ran = await letterlock("resolve", "example.org", "MX", "--upstream", "127.0.0.1:1", "--json")
    assert ran.status == 3
    assert ran.data["failure"]["kind"] == "no-upstream"
    assert ran.data["security"] == "indeterminate"


async def test_usage_is_told_with_status_2(tmp_path: Path) -> None:
    (tmp_path / "bad.ds").write_text("example. IN DS 1 2\n")
    for arguments, told in (
        (("a..b", "MX"), "label is empty"),
        (("example.org", "NOPE"), "not a DNS type"),
        (("example.org", "ANY", "--upstream", "127.0.0.1:1"), "cannot be asked for"),
        (("example.org", "MX", "--upstream", "here"), "not the IP address of a resolver"),
        (("example.org", "MX", "--anchor", str(tmp_path / "absent")), "No such file"),
        (("example.org", "MX", "--anchor", str(tmp_path / "bad.ds")), "bad.ds:1"),
        (("example.org", "MX", "--now", "tomorrow"), "neither Unix seconds nor ISO 8601"),
    ):
        ran = await letterlock("resolve", *arguments)
        assert ran.status == 2, arguments
        assert told in ran.err
