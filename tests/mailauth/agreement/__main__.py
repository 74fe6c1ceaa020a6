"""The whole comparison: ends with status 1 when a difference is not explained."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.mailauth.agreement.compare import FORMS, KEYS, Tally, changed, compared, signed_by_us, verified
from tests.mailauth.agreement.messages import message
from tests.mailauth.agreement.peers import Dkimpy, OpenDkim
from tests.mailauth.agreement.rspamd import running_rspamd


def run(cases: int, seed: int, folder: Path) -> list[Tally]:
    """All ways with all peers."""
    once = signed_by_us(cases, seed, repeated=False)
    rspamd_folder = folder / "rspamd"
    rspamd_folder.mkdir()
    with running_rspamd(KEYS, rspamd_folder) as rspamd:
        chance = random.Random(seed)
        from_rspamd = [made for _ in range(cases) if (made := rspamd.sign(message(chance, repeated=False)))]
        by_rspamd = [
            compared("signed by us, verified by rspamd", once, rspamd),
            compared("the same after changes, rspamd", changed(once, seed), rspamd),
            verified("signed by rspamd, verified by us", from_rspamd, rspamd),
            compared("signed by rspamd, after changes", changed(from_rspamd, seed), rspamd),
        ]
    dkimpy, opendkim = Dkimpy(KEYS), OpenDkim(KEYS, folder)
    sent = signed_by_us(cases, seed)
    on_way = changed(sent, seed)
    chance = random.Random(seed)
    originals = [message(chance) for _ in range(cases)]
    by_dkimpy = [dkimpy.sign(each, chance.choice(KEYS), chance.choice(FORMS)) for each in originals]
    from_dkimpy = [each for each in by_dkimpy if each]
    by_opendkim = [opendkim.sign(each, chance.choice(KEYS), chance.choice(FORMS)) for each in originals]
    from_opendkim = [each for each in by_opendkim if each]
    return [
        compared("signed by us, verified by dkimpy", sent, dkimpy),
        compared("signed by us, verified by opendkim", sent, opendkim),
        compared("the same after changes, dkimpy", on_way, dkimpy),
        compared("the same after changes, opendkim", on_way, opendkim),
        verified("signed by dkimpy, verified by us", from_dkimpy, dkimpy),
        verified("signed by opendkim, verified by us", from_opendkim, opendkim),
        compared("signed by dkimpy, after changes", changed(from_dkimpy, seed), dkimpy),
        compared("signed by opendkim, after changes", changed(from_opendkim, seed), opendkim),
        *by_rspamd,
    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for messages whose differences are not explained")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tallies = run(options.cases, options.seed, Path(folder))
    for number, tally in enumerate(tallies):
        print(tally)
        for case, content in enumerate(tally.unexplained if options.keep else []):
            (options.keep / f"{number}-{case}.eml").write_bytes(content)
    sys.exit(any(tally.unexplained for tally in tallies))


if __name__ == "__main__":
    main()
