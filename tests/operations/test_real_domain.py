"""docs/guides/real-domain.md is a transcript: its commands are run in their order, and print what it shows.

What needs the internet is done beforehand: `apt-get`, `git clone` and `tools/setup` (make test itself begins with the
last; fresh_debian.py does the same in a Debian made by debootstrap).
"""

import re

from tests.operations.machine import DOCS, run

PAGE = (DOCS / "guides/real-domain.md").read_text()
_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_VARIABLE = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{21}\b|\d+(?:\.\d+)?")
_STAMP = re.compile(r"^[A-Z][a-z]{2} [ \d]\d [\d:]{8} \S+ ", re.MULTILINE)
MARK = "::command"


def transcript() -> list[tuple[str, list[str]]]:
    """Each command, and the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for language, block in _BLOCK.findall(PAGE):
        lines = block.splitlines() if not language and block.startswith("# ") else []
        for line in lines:
            if line.startswith("# "):
                found.append((line.removeprefix("# "), []))
            elif line.startswith("  "):
                found[-1][1][-1] += line.removeprefix(" ")
            else:
                found[-1][1].append(line)
    return found


def configuration() -> str:
    """The file that the reader writes: the longest block of TOML."""
    return max((str(block) for language, block in _BLOCK.findall(PAGE) if language == "toml"), key=len)


def alike(text: str) -> str:
    """Text without what differs from run to run: times, processes, ids, sizes."""
    return _VARIABLE.sub("N", _STAMP.sub("", text)).strip()


def script_of(commands: list[tuple[str, list[str]]]) -> str:
    """The commands with a mark before each, and what the reader has or types."""
    steps = "\n".join(f"echo '{MARK}'\n{command}" for command, _ in commands)
    return f"""
cat >/root/letterlock.toml <<'TOML'
{configuration()}TOML
printf '#!/bin/sh\\ncp /root/letterlock.toml $1\\n' >/usr/local/sbin/editor
mkdir -p /opt/letterlock/tools /usr/local/share/ca-certificates
[ -e /opt/letterlock/tools/setup ] || printf '#!/bin/sh\\n' >/opt/letterlock/tools/setup
chmod +x /usr/local/sbin/editor /opt/letterlock/tools/setup
awk '/BEGIN/ {{ n++ }} n == 1' /etc/ssl/certs/ca-certificates.crt >/usr/local/share/ca-certificates/corp-ca.crt
{steps}
"""


def missing_lines(out: str) -> list[str]:
    """The lines that the guide shows and no command printed, each with its command."""
    printed, missing = out.split(f"{MARK}\n")[1:], []
    for (command, lines), output in zip(transcript(), printed, strict=True):
        shown = {alike(line) for line in output.splitlines()}
        missing += [f"{command}: {line}" for line in lines if line != "…" and alike(line) not in shown]
    return missing


def test_the_guide_is_a_transcript() -> None:
    done = run(script_of(transcript()))
    assert not done.failed, done.out
    assert not missing_lines(done.out), done.out
