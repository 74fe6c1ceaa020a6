"""Routes for single addresses."""

import pytest

from letterlock.mail.addresses import Mailbox, parse_mailbox
from letterlock.routing.address_routes import AddressRoutes
from letterlock.routing.local_targets import Maildir
from letterlock.routing.routes import RelayHost

INFO = RelayHost(domain="maildir:/m", source="t:1", is_host=True, final=Maildir("/m"))
ROUTES = AddressRoutes(
    {"info@example.org": INFO, "info@minus.example": INFO, "info@none.example": INFO},
    {
        "minus.example": "-",
        "none.example": "",
    },
)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("info@example.org", True),
        ("Info@example.org", True),
        ("info+x@example.org", True),
        ("info-x@example.org", False),
        ("information@example.org", False),
        ("info@example.net", False),
        ("info-x@minus.example", True),
        ("info+x@minus.example", False),
        ("info+x@none.example", False),
        ("info@none.example", True),
    ],
)
def test_an_address_its_case_and_what_its_owner_adds(address: str, found: bool) -> None:
    assert (ROUTES.find(parse_mailbox(address)) is INFO) is found


def test_recipients_that_go_apart() -> None:
    info, ann, more = (Mailbox(name, "example.org") for name in ("info", "ann", "info+x"))
    assert ROUTES.apart((info, ann, more)) == {INFO: (info, more)}
    assert not AddressRoutes()
    assert ROUTES
