"""`letterlock check` with routes in the configuration: the lab's domains, reached by way of one another."""

from pathlib import Path

from letterlock.lab.box import Box, running_box
from letterlock.lab.scenarios import Attack
from letterlock.lab.subject import write_config
from tests.cli.running import letterlock


def config_with(box: Box, tables: str) -> tuple[Path, int]:
    """The lab's configuration with more tables; and the line at which these begin."""
    config = write_config(box, "127.0.0.1:0")
    text = config.read_text()
    config.write_text(text + tables)
    return config, text.count("\n") + 1


async def test_a_relay_host_with_dane_protects_mail_to_a_domain_without() -> None:
    async with running_box(Attack.NONE) as box:
        config, line = config_with(box, '[route."none.test"]\nnext_hop = "[mx.dane-ee.test]"\n')
        ran = await letterlock("check", "--config", config, "none.test")
        data = (await letterlock("check", "--config", config, "--json", "none.test")).data["domains"][0]
    assert ran.status == 0, ran
    assert ran.out.splitlines()[0] == "none.test   PROTECTED"
    assert f"rule-route, {config}:{line}" in ran.out
    assert "relay host  mx.dane-ee.test" in ran.out
    assert (data["domain"], data["next_hop"]) == ("none.test", f"[mx.dane-ee.test]:{box.berths.port}")
    [reason] = data["reasons"]
    assert (reason["code"], reason["subject"]) == ("rule-route", "none.test")
    assert f"{config}:{line}" in reason["sentence"]


async def test_a_relay_host_without_protection_gives_that_of_a_dane_domain_away() -> None:
    async with running_box(Attack.NONE) as box:
        config, _ = config_with(box, '[route."*"]\nnext_hop = "none.test"\n')
        ran = await letterlock("check", "--config", config, "dane-ee.test")
    assert ran.status == 1
    assert ran.out.splitlines()[0] == "dane-ee.test   NOT PROTECTED"
    assert "your route    none.test" in ran.out


async def test_a_rule_on_the_route_is_enforced_against_an_attacker_on_the_path() -> None:
    async with running_box(Attack.STARTTLS_STRIPPED) as box:
        config, _ = config_with(box, '[route."*"]\nnext_hop = "[mx.none.test]"\ntls = "require-tls"\n')
        ran = await letterlock("check", "--config", config, "anybody.test")
    assert ran.status == 1
    assert "STARTTLS was not offered" in ran.out
    assert "held   no TLS" in ran.out
