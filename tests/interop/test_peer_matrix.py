"""The lab's attacks against other servers: one attack for real, and the page that is made of all."""

import datetime as dt
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from letterlock.lab.scenarios import Attack, SiteProtection
from tests.interop.companion_box import Fate
from tests.interop.peer_page import PAGE, PICTURE, Found, Judged, Measured, Server, judged, page, picture

ROOT = Path(__file__).parents[2]
VERSIONS = {"Postfix": "3.7", "Exim": "4.96"}


@pytest.mark.interop
@pytest.mark.slow
def test_an_attack_against_real_servers_in_namespaces_of_their_own() -> None:
    servers = [word for each in ("letterlock", "exim", "opensmtpd") for word in ("--server", each)]
    command = [sys.executable, "-m", "tests.interop.peer_matrix", "--attack", "starttls-stripped", *servers]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = {tuple(line.split("  ", 1)[1].rsplit(": ", 1)) for line in done.stdout.splitlines() if " / " in line}
    for server in (Server.LETTERLOCK, Server.EXIM):
        assert (f"{server} / dane-ee", "held") in found
        assert (f"{server} / none", "read by the attacker") in found
    assert ("OpenSMTPD / require-tls", "held") in found
    assert ("OpenSMTPD / dane-ee", "read by the attacker") in found


def test_a_cell_is_judged_by_what_theory_allows() -> None:
    dane, none = SiteProtection.DANE_EE, SiteProtection.NONE
    assert judged(Attack.SELF_SIGNED, dane, Fate.READ) is Judged.LOST
    assert judged(Attack.SELF_SIGNED, none, Fate.READ) is Judged.UNAVOIDABLE
    assert judged(Attack.SELF_SIGNED, dane, Fate.HELD) is Judged.AS_GOOD
    assert judged(Attack.SELF_SIGNED, none, Fate.HELD) is Judged.AS_GOOD
    assert judged(Attack.NONE, dane, Fate.HELD) is Judged.KEPT_BACK
    assert judged(Attack.NONE, dane, Fate.RETURNED) is Judged.KEPT_BACK
    assert judged(Attack.NONE, none, Fate.CLEAR) is Judged.AS_GOOD
    assert judged(Attack.NONE, none, Fate.UNDECIDED) is Judged.UNDECIDED


def measured() -> Measured:
    """Two attacks against two servers: one holds everything, one loses everything."""
    found: Measured = {}
    for attack in (Attack.SELF_SIGNED, Attack.NONE):
        row: Found = {}
        for protection in SiteProtection:
            row[Server.LETTERLOCK, protection] = Fate.DELIVERED if attack is Attack.NONE else Fate.HELD
            if protection is not SiteProtection.REQUIRETLS:
                row[Server.EXIM, protection] = Fate.DELIVERED if attack is Attack.NONE else Fate.READ
        found[attack] = row
    return found


def test_the_page_counts_and_names_what_each_server_lost() -> None:
    text = page(measured(), VERSIONS, dt.date(2026, 11, 27))
    assert "Measured on 2026-11-27 in 1 attacks" in text
    assert "Versions: Postfix 3.7, Exim 4.96." in text
    assert f"| Letterlock | {2 * len(SiteProtection)} | 0 | 0 | 0 | 0 | 0 |" in text
    assert "**Letterlock**: nowhere." in text
    assert "- `dane-ee`: lost 1 (self-signed)" in text
    assert "| self-signed | read | read | **read** |" in text
    assert "| `requiretls` | **2** of 2 | – |" in text


def test_the_picture_has_a_square_for_every_message() -> None:
    drawn = ET.fromstring(picture(measured()))  # noqa: S314  # made a moment ago, by ourselves
    squares = [each for each in drawn.iter() if each.tag.endswith("}rect") and len(each)]
    assert len(squares) == 2 * (2 * len(SiteProtection) - 1)


def test_the_page_that_is_shipped_is_made_by_this_version() -> None:
    text = PAGE.read_text()
    assert PICTURE.name in text
    assert all(f"\n## {server}\n" in text for server in Server)
    ET.parse(PICTURE)  # noqa: S314  # our own file
