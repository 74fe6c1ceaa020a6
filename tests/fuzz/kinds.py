"""What the fuzzers of several kinds of cases share: a run by seed, a command line, and damage to octets."""

import argparse
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

Case = Callable[[random.Random], str]  # one case by chance; how it ended, in a word
_INTERESTING = (b"\0", b"\xff", b"\r\n", b"\n", b"\r", b"=", b",", b" ", b"<", b">", b'"', b"\\", b"\xc3\xa4", b"%")


def run(kinds: Mapping[str, tuple[int, Case]], cases: int, seed: int) -> Counter[str]:
    """Play so many cases, each kind by its weight; the endings. What is raised carries the case's own seed."""
    chance, ended = random.Random(seed), Counter[str]()
    names, weights = list(kinds), [weight for weight, _ in kinds.values()]
    for kind in chance.choices(names, weights, k=cases):
        own = chance.getrandbits(64)
        try:
            ended[f"{kind}: {kinds[kind][1](random.Random(own))}"] += 1
        except Exception as fault:
            fault.add_note(f"the case: {kind}, seed {own}")
            raise
    return ended


def command(document: str | None, kinds: Mapping[str, tuple[int, Case]]) -> None:
    """`--cases N --seed S`, or one case again: `--kind K --own SEED`."""
    parser = argparse.ArgumentParser(description=document)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=list(kinds), help="play one case of this kind again")
    parser.add_argument("--own", type=int, default=0, help="the seed that a fault gave for it")
    given = parser.parse_args()
    if given.kind is not None:
        print(kinds[given.kind][1](random.Random(given.own)))
        return
    for ending, count in sorted(run(kinds, given.cases, given.seed).items()):
        print(f"{count:9}  {ending}")
    print(f"{given.cases} cases, no fault")


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The octets with something cut, put in, doubled or changed."""
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.randrange(4))
    match chance.randrange(4):
        case 0:
            return data[:at] + data[end:]
        case 1:
            return data[:at] + chance.choice(_INTERESTING) + data[end:]
        case 2:
            return data[:at] + data[at:end] * 2 + data[end:]
        case _:
            return data[:at] + chance.randbytes(end - at) + data[end:]


def joined(words: Sequence[str], chance: random.Random, most: int) -> str:
    """Up to so many words, side by side."""
    return "".join(chance.choices(words, k=chance.randrange(most + 1)))


def require_words(error: Exception) -> str:
    """An exception's text, which is for people: some words, in one line."""
    words = str(error)
    assert words.strip()
    assert words.isprintable(), repr(words)
    return words
