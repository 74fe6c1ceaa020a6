"""Compare DMARC with OpenDMARC's library: `python -m tests.mailauth.opendmarc_agreement --cases 2000 --seed 1`.

libopendmarc judges by RFC 7489: it is handed the record, and finds the organizational domain by a list of public
suffixes. So each world has one record, at the author's domain or at the organizational domain above it; the suffixes
are `org` and `net`. A difference must have one of the explanations below, or the run stops with the case.
"""

import argparse
import ctypes
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from letterlock.mailauth.dmarc.evaluate import AuthMechanism, Evidence, Identifier, MechanismOutcome, evaluate
from tests.mailauth.dmarc_agreement import NAMES, ORGANIZATION, OTHERS, POLICIES, Unexplained, ours
from tests.mailauth.dns_world import World

LIBRARY = "libopendmarc.so.2"
# From its dmarc.h.
_PATH_OCTETS, _MAX_SERVERS, _SOCKADDR_OCTETS = 4096, 3, 16
_SUFFIXES_BY_MOZILLA, _IPV4, _OKAY, _MAIL_FROM = 1, 4, 0, 1
_RESULTS = {MechanismOutcome.PASS: 1, MechanismOutcome.FAIL: 2, MechanismOutcome.UNKNOWN: 3}
_POLICIES = {14: "invalid", 15: "pass none", 16: "fail reject", 17: "fail quarantine", 18: "fail none"}


class _Settings(ctypes.Structure):
    _fields_ = (
        ("tld_type", ctypes.c_int),
        ("tld_source_file", ctypes.c_char * _PATH_OCTETS),
        ("nscount", ctypes.c_int),
        ("nsaddr_list", ctypes.c_char * (_MAX_SERVERS * _SOCKADDR_OCTETS)),
    )


class OpenDmarc:
    """The library, set up with our public suffixes."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.opendmarc_policy_connect_init.restype = ctypes.c_void_p

    def judged(self, record: str, author: str, identifiers: tuple[Identifier, ...]) -> str:
        """Its result and policy in two words, or `invalid`."""
        library = self._library
        context = ctypes.c_void_p(library.opendmarc_policy_connect_init(b"192.0.2.7", _IPV4))
        try:
            library.opendmarc_policy_store_from_domain(context, author.encode())
            for each in identifiers:
                outcome = _RESULTS[each.outcome]
                if each.mechanism is AuthMechanism.SPF:
                    library.opendmarc_policy_store_spf(context, each.domain.encode(), outcome, _MAIL_FROM, b"")
                else:
                    library.opendmarc_policy_store_dkim(context, each.domain.encode(), b"s", outcome, b"")
            stored = library.opendmarc_policy_store_dmarc(
                context, record.encode(), author.encode(), ORGANIZATION.encode() if author != ORGANIZATION else None
            )
            if stored != _OKAY:
                return "invalid"
            return _POLICIES[library.opendmarc_get_policy_to_enforce(context)]
        finally:
            library.opendmarc_policy_connect_shutdown(context)


@contextmanager
def opendmarc() -> Iterator[OpenDmarc]:
    """The library, loaded."""
    library = ctypes.CDLL(LIBRARY)
    with tempfile.TemporaryDirectory() as folder:
        suffixes = Path(folder) / "suffixes"
        suffixes.write_text("org\nnet\n")
        settings = _Settings(tld_type=_SUFFIXES_BY_MOZILLA, tld_source_file=str(suffixes).encode())
        if library.opendmarc_policy_library_init(ctypes.byref(settings)) != _OKAY:
            raise OSError(f"{LIBRARY} cannot be set up")
        try:
            yield OpenDmarc(library)
        finally:
            library.opendmarc_policy_library_shutdown(ctypes.byref(settings))


def explanation(record: str, author: str, identifiers: tuple[Identifier, ...], mine: str, other: str) -> str | None:
    """Why the two may differ; None: nobody knows."""
    parts = [part.strip() for part in record.split(";") if part.strip()]
    names = [part.partition("=")[0].strip().lower() for part in parts if "=" in part]
    if len(names) != len(set(names)):
        return "a tag twice makes the record invalid (RFC 6376 3.2), OpenDMARC takes the last"
    if any("=" not in part for part in parts):
        return "a text without a value is ignored (RFC 9989 4.7), OpenDMARC refuses the record"
    values = {name: part.partition("=")[2].strip().lower() for name, part in zip(names, parts, strict=True)}
    if values.get("p", "x") == "x" or values.get("sp") == "x":
        return "p or sp is missing or invalid: rua decides (RFC 9989 4.10.1), OpenDMARC refuses the record"
    if values.get("aspf") == "x":
        return "an unknown value counts as the default (RFC 9989 4.7), OpenDMARC refuses the record"
    if values.get("t") == "y" and _is_one_below(mine, other):
        return "t=y weakens the policy (RFC 9989 4.7), OpenDMARC does not know it"
    strict = {mechanism for mechanism in AuthMechanism if values.get(f"a{mechanism.value}") == "s"}
    others = {
        each.mechanism
        for each in identifiers
        if each.outcome is MechanismOutcome.PASS
        and each.domain != author
        and f".{each.domain}".endswith(f".{ORGANIZATION}")
    }
    if strict & others and other == "pass none":
        return "strict alignment is equality (RFC 9989 4.4), OpenDMARC lets other domains of the organization pass, too"
    signatures = [each for each in identifiers if each.mechanism is AuthMechanism.DKIM]
    if len(signatures) > 1 and mine == "pass none" and MechanismOutcome.PASS in [each.outcome for each in signatures]:
        return "any aligned signature is enough (RFC 9989 5.3.5), OpenDMARC remembers one and lets others replace it"
    if any(each.outcome is MechanismOutcome.UNKNOWN for each in identifiers) and mine.startswith("temperror"):
        return "an aligned identifier that could not be checked is temperror (RFC 9989 5.3.6), for OpenDMARC a fail"
    return None


def _is_one_below(mine: str, other: str) -> bool:
    return (other, mine) in {("fail reject", "fail quarantine"), ("fail quarantine", "fail none")}


def run(cases: int, seed: int) -> Counter[str]:
    """Compare; how often the two agreed, and each explanation. Raises Unexplained."""
    chance = random.Random(seed)
    ended: Counter[str] = Counter()
    outcomes = (MechanismOutcome.PASS, MechanismOutcome.FAIL, MechanismOutcome.UNKNOWN)
    with opendmarc() as theirs:
        for number in range(cases):
            tags = [chance.choice(POLICIES), *(chance.choice(each) for each in chance.sample(OTHERS, 3))]
            record = "; ".join(("v=DMARC1", *filter(None, tags)))
            author = chance.choice(NAMES[:3])
            identifiers = tuple(
                Identifier(mechanism, chance.choice(NAMES), chance.choice(outcomes))
                for mechanism in (AuthMechanism.SPF, *chance.choices((AuthMechanism.DKIM,), k=chance.randrange(3)))
            )
            world = World().add(f"_dmarc.{ORGANIZATION}", "TXT", record).add(author, "A", "192.0.2.1")
            mine = ours(world.run(evaluate(Evidence(authors=(author,), identifiers=identifiers))))
            other = theirs.judged(record, author, identifiers)
            why = f"agree: {mine}" if mine == other else explanation(record, author, identifiers, mine, other)
            if why is None:
                shown = [f"{each} {each.outcome.value}" for each in identifiers]
                raise Unexplained(f"case {number}: {record!r} {author} {shown}: {mine}, OpenDMARC: {other}")
            ended[why] += 1
    return ended


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for word, count in run(arguments.cases, arguments.seed).most_common():
        print(f"{count:6}  {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
