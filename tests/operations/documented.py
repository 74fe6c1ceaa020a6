"""The commands that docs/guides and docs/operations show, and who runs them (documented.toml)."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.operations.machine import DOCS

TABLE = Path(__file__).with_suffix(".toml")
PAGES = tuple(
    sorted(str(each.relative_to(DOCS)) for kind in ("guides", "operations") for each in DOCS.glob(f"{kind}/*.md"))
)
_PROGRAMS = (
    "apt|apt-get|buildah|cd|chmod|chown|cp|df|docker|du|echo|git|install|journalctl|kill|letterlock|letterlock-mailq|"
    "letterlock-sendmail|ln|mailq|make|man|mkdir|newaliases|nft|openssl|pip|pipx|podman|postconf|postqueue|printf|"
    "python|python3|q|sed|sendmail|sh|systemctl|tar|timedatectl|tools/[a-z-]+|update-alternatives|useradd|uv"
)
_IS_COMMAND = re.compile(rf"(?:{_PROGRAMS})(?: [^(]|$)")
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_COMMENT = re.compile(r"\s{2,}# .*$")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows: commands set apart, and those inside sentences and tables."""

    apart: Sequence[str]
    inline: Sequence[str]


def shown(page: str) -> Shown:
    """The commands of a page, in their order; each once."""
    text = (DOCS / page).read_text()
    rest = _FENCED.sub("", text)
    apart = [command for _, kind, block in _FENCED.findall(text) for command in _of_block(kind, block)]
    apart += [command for line in _INDENTED.findall(rest) if _IS_COMMAND.match(command := _bare(line))]
    inline = [" ".join(each.split()) for each in _INLINE.findall(_INDENTED.sub("", rest))]
    inside = [each for each in inline if " " in each and _IS_COMMAND.match(each)]
    return Shown([*dict.fromkeys(apart)], [each for each in dict.fromkeys(inside) if each not in apart])


def _of_block(kind: str, block: str) -> Iterator[str]:
    lines = [line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    if kind == "sh":
        yield from map(_bare, lines)
    elif kind in ("", "console"):
        typed = [line[2:] for line in lines if line.startswith(("# ", "$ "))]
        yield from map(_bare, typed or (line for line in lines if _IS_COMMAND.match(line)))


def _bare(line: str) -> str:
    return " ".join(_COMMENT.sub("", line).split("\n")).strip()


def is_mention(command: str) -> bool:
    """Whether a command inside a sentence only names a verb: `letterlock queue list`."""
    return (
        command.startswith(("letterlock ", "q "))
        and re.fullmatch(r"[a-z -]+", command) is not None
        and "--" not in command
    )


def table() -> Mapping[str, Any]:
    """Who runs what."""
    return tomllib.loads(TABLE.read_text())
