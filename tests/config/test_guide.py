"""What the guide to rules and routes shows is what the server takes, and means what the guide says."""

import re
from pathlib import Path

import pytest

from letterlock.config import parse
from letterlock.routing.routes import NextHop

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "rules-and-routes.md"
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_taken(example: str) -> None:
    parse(example, "letterlock.toml")


def test_the_routes_of_the_guide_lead_where_it_says() -> None:
    rules = parse(next(each for each in EXAMPLES if "[route." in each), "letterlock.toml").rules
    wanted = {
        "any.example": NextHop("relay.example.net", 587, is_host=True),
        "example.org": NextHop("example.org"),
        "old.example": NextHop("new.example"),
        "a.lab.example": NextHop("[192.0.2.25]"),
    }
    for domain, next_hop in wanted.items():
        relay = rules.relay_for(domain)
        assert relay is not None
        assert relay.next_hop(25) == next_hop
