"""What standards ask, rule by rule, and the tests that hold each rule.

TLS for mail: RFC 7672, 7671, 6698, 8461, 8689, 3207. What mail may hold: RFC 3030, 6152, 6531, 6533. Receiving and
submission: RFC 5321, 6409, 8314, 3461, 7505, 9422, and logins: RFC 4954, 5802, 7677, 9266.

The rules are in our own words. `tests/test_checklist.py` sees to it that every test named here exists; the page
`docs/reference/rfc-index.md` shows the table. A rule without a test says why it has none.
"""

from tests.checklist.dane import RFC6698, RFC7671
from tests.checklist.dane_smtp import RFC7672
from tests.checklist.mail import RFC3030, RFC6152, RFC6531, RFC6533
from tests.checklist.others import RFC3207, RFC8461, RFC8689
from tests.checklist.rule import Rule
from tests.checklist.submission import (
    RFC3461,
    RFC4954,
    RFC5321,
    RFC5802,
    RFC6409,
    RFC7505,
    RFC7677,
    RFC8314,
    RFC9266,
    RFC9422,
)

__all__ = ["CHECKLIST", "Rule"]

CHECKLIST: dict[str, tuple[Rule, ...]] = {
    "RFC 7672": RFC7672,
    "RFC 7671": RFC7671,
    "RFC 6698": RFC6698,
    "RFC 8461": RFC8461,
    "RFC 8689": RFC8689,
    "RFC 3207": RFC3207,
    "RFC 3030": RFC3030,
    "RFC 6152": RFC6152,
    "RFC 6531": RFC6531,
    "RFC 6533": RFC6533,
    "RFC 5321": RFC5321,
    "RFC 6409": RFC6409,
    "RFC 8314": RFC8314,
    "RFC 3461": RFC3461,
    "RFC 4954": RFC4954,
    "RFC 5802": RFC5802,
    "RFC 7677": RFC7677,
    "RFC 9266": RFC9266,
    "RFC 7505": RFC7505,
    "RFC 9422": RFC9422,
}
