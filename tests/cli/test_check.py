"""`letterlock check`: what it says of the lab's domains, healthy and attacked, and how it ends."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from letterlock.cli.check.values import _requirement
from letterlock.lab.box import running_box
from letterlock.lab.scenarios import Attack
from letterlock.lab.subject import write_config
from letterlock.policy.decision import Encryption, PkixAuthentication, Requirement
from tests.cli.running import asking, letterlock


@pytest.mark.parametrize(
    ("domain", "by", "record"), [("dane-ee.test", "dane-ee", "3 1 1"), ("dane-ta.example", "dane-ta", "2 0 1")]
)
async def test_a_dane_domain_is_protected_and_says_why(domain: str, by: str, record: str) -> None:
    async with running_box(Attack.NONE) as box:
        config = write_config(box, "127.0.0.1:0")
        ran = await letterlock("check", "--config", config, domain)
        data = (await letterlock("check", "--config", config, "--json", domain)).data["domains"][0]
    assert ran.status == 0
    assert ran.out.splitlines()[0] == f"{domain}   PROTECTED"
    assert f"authenticated by {by} ({record}" in ran.out
    assert "RFC 7672 section 2.2" in ran.out
    assert data["protected"] is True
    [session] = data["hosts"][0]["sessions"]
    assert (session["level"], session["by"]) == ("authenticated", by)
    assert {each["who_can_read"] for each in data["hosts"][0]["attackers"]} == {"nobody"}


async def test_an_unsigned_domain_is_not_protected_and_the_danger_is_one_sentence() -> None:
    async with running_box(Attack.NONE) as box:
        ran = await letterlock("check", "--config", write_config(box, "127.0.0.1:0"), "none.test")
    assert ran.status == 1
    assert ran.out.splitlines()[:2] == [
        "none.test   NOT PROTECTED",
        "  an attacker on the path can remove STARTTLS and read everything",
    ]


async def test_a_verified_certificate_for_an_unsigned_name_is_never_called_authenticated() -> None:
    async with running_box(Attack.NONE) as box:
        config = write_config(box, "127.0.0.1:0")
        data = (await letterlock("check", "--config", config, "--json", "verify.test")).data["domains"][0]
    assert data["protection"] == "unprotected"
    [session] = data["hosts"][0]["sessions"]
    assert (session["level"], session["by"]) == ("encrypted", "pkix-unsigned-name")


async def test_an_attacker_with_his_own_certificate_is_seen_and_nothing_would_be_sent() -> None:
    async with running_box(Attack.SELF_SIGNED) as box:
        ran = await letterlock("check", "--config", write_config(box, "127.0.0.1:0"), "dane-ee.test")
    assert ran.status == 1
    assert ran.out.splitlines()[0] == "dane-ee.test   HELD"
    assert "nobody can read the mail, and nothing is sent" in ran.out


async def test_a_lookup_that_fails_is_not_an_absence() -> None:
    async with running_box(Attack.TLSA_LOOKUP_FAILED) as box:
        ran = await letterlock("check", "--config", write_config(box, "127.0.0.1:0"), "dane-ee.test")
    assert ran.status == 3
    assert ran.out.splitlines()[0] == "dane-ee.test   COULD NOT FIND OUT"


async def test_a_removed_tlsa_record_is_bogus() -> None:
    async with running_box(Attack.TLSA_REMOVED) as box:
        ran = await letterlock("check", "--config", write_config(box, "127.0.0.1:0"), "dane-ee.test")
    assert ran.status == 3
    assert "bogus" in ran.out


async def test_of_several_domains_the_worst_counts() -> None:
    async with running_box(Attack.NONE) as box:
        config = write_config(box, "127.0.0.1:0")
        ran = await letterlock("check", "--config", config, "--json", "dane-ee.test", "none.test", "nobody.test")
    assert ran.status == 1
    assert [each["protection"] for each in ran.data["domains"]] == ["protected", "unprotected", "no-mail"]
    assert ran.data["domains"][2]["deliverable"] is False


async def test_nobody_to_ask_ends_with_3() -> None:
    ran = await letterlock("check", "--upstream", "127.0.0.1:1", "example.org")
    assert ran.status == 3
    assert "could not find out" in ran.out


async def test_usage_ends_with_2_and_a_bad_configuration_with_78(tmp_path: Path) -> None:
    assert (await letterlock("check")).status == 2
    assert (await letterlock("check", "no..domain")).status == 2
    config = tmp_path / "letterlock.toml"
    config.write_text("nonsense = 1\n")
    ran = await letterlock("check", "--config", config, "example.org")
    assert ran.status == 78
    assert "unknown key" in ran.err


async def test_rfc8461_a_policy_in_force_protects_once_it_is_known() -> None:
    async with running_box(Attack.NONE) as box:
        config = write_config(box, "127.0.0.1:0")
        ran = await letterlock("check", "--config", config, "sts.example")
        data = (await letterlock("check", "--config", config, "--json", "sts.example")).data["domains"][0]
    assert ran.status == 0
    assert ran.out.splitlines()[0] == "sts.example   PROTECTED ONCE KNOWN"
    assert "hiding MTA-STS at first contact   the attacker" in ran.out
    assert "MTA-STS       enforce, id 20261123, holds until" in ran.out
    assert data["mta_sts"]["mode"] == "enforce"
    assert data["hosts"][0]["sessions"][0]["by"] == "mta-sts"
    readers = {each["attacker"]: each["who_can_read"] for each in data["hosts"][0]["attackers"]}
    assert readers["first-contact"] == readers["bought-certificate"] == "attacker"
    assert readers["on-path-removing-starttls"] == readers["forging-dns"] == "nobody"


async def test_rfc8461_5_a_certificate_that_the_policy_does_not_let_pass_is_advised_on() -> None:
    async with running_box(Attack.SELF_SIGNED) as box:
        ran = await letterlock("check", "--config", write_config(box, "127.0.0.1:0"), "--json", "sts.example")
    assert ran.status == 1
    assert ran.data["domains"][0]["protection"] == "held"
    assert ran.data["domains"][0]["advice"][0]["kind"] == "fix-certificate"


@pytest.mark.parametrize("domain", ["nobody.test", "test"])
async def test_rfc5321_5_1_a_domain_that_takes_no_mail_is_no_fault(domain: str) -> None:
    """`nobody.test` does not exist; `test` is signed, and has neither MX nor address."""
    async with running_box(Attack.NONE) as box:
        config = write_config(box, "127.0.0.1:0")
        ran = await letterlock("check", "--config", config, domain)
        data = await letterlock("check", "--config", config, "--json", domain)
    [found] = data.data["domains"]
    assert (ran.status, data.status) == (0, 0)
    assert ran.out.splitlines()[0] == f"{domain}   NO MAIL"
    assert (found["verdict"], found["protection"], found["deliverable"]) == ("NO MAIL", "no-mail", False)
    assert found["summary"] in ran.out


async def test_a_host_on_this_machine_is_looked_at_like_any_other() -> None:
    """Whoever runs `check` on the mail server itself asks how others see it; a server would refuse the loop."""
    async with running_box(Attack.NONE) as box:
        ran = await letterlock("check", *asking(box), "--port", str(box.berths.port), "dane-ee.test")
    assert ran.out.splitlines()[0] == "dane-ee.test   PROTECTED"


def test_what_a_certificate_must_prove_beside_dane_is_part_of_the_data() -> None:
    pkix = PkixAuthentication(references=("mx.example.org",), roots=Mock(), names_secure=True)
    wanted = Requirement(
        encryption=Encryption.MANDATORY, authentication=None, also=pkix, sni=None, fallback=None, reasons=()
    )
    assert _requirement(wanted)["also"] == ["mx.example.org"]
    assert _requirement(replace(wanted, also=None))["also"] is None
