"""docs/reference/mail-authentication.md has every reason and the limits as they are in the code."""

from letterlock.mailauth.arc.sets import MAX_SETS
from letterlock.mailauth.dkim.public_keys import MAX_RSA_BITS, MAX_RSA_EXPONENT_BITS, MIN_RSA_BITS
from letterlock.mailauth.dkim.reasons import EXPLANATIONS
from letterlock.mailauth.dkim.signature import MAX_SIGNED_NAMES
from letterlock.mailauth.dkim.tags import MAX_LIST_OCTETS, MAX_TAGS
from letterlock.mailauth.dkim.verify import MAX_SIGNATURES
from letterlock.mailauth.message import MAX_FIELDS, MAX_HEADER_OCTETS
from tests.mailauth.vectors import ROOT

PAGE = (ROOT / "docs" / "reference" / "mail-authentication.md").read_text()


def test_every_reason_is_on_the_page() -> None:
    for reason, explanation in EXPLANATIONS.items():
        row = f"| `{reason}` | {explanation.result} | {explanation.sentence} | {explanation.section} |"
        assert row in PAGE, row


def test_the_limits_are_on_the_page() -> None:
    for row in (
        f"| header section, fields in it | {MAX_HEADER_OCTETS >> 20} MiB, {MAX_FIELDS:,} (`OversizedHeader`) |",
        f"| signatures checked | the first {MAX_SIGNATURES} |",
        f"| tags, bytes of a signature or key record | {MAX_TAGS}, {MAX_LIST_OCTETS >> 10} KiB |",
        f"| names in `h=` | {MAX_SIGNED_NAMES} |",
        f"| RSA keys | {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, exponents up to {MAX_RSA_EXPONENT_BITS} bits |",
        f"| ARC sets | {MAX_SETS} |",
    ):
        assert row in PAGE, row
