"""A machine of its own to operate: a copy of this one's files that nothing outside sees, with networks of its own.

Its root is an overlay over this machine's, in name spaces of its own; all changes are lost at its end. Commands of the
documentation run in it unchanged, as root. `systemctl` and its like are systemctl.py's; the internet is world.py.
"""

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.interop.programs import find

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SECONDS = 120.0  # a guard against hanging, not a measure
SPACES = ("--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private")
PREFIXES = frozenset((sys.prefix, sys.base_prefix, str(ROOT)))  # the folders that commands of this checkout need
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HIDDEN = ("apt-get", "apt", "git", "nft", "timedatectl")
"""Programs that a machine without the internet, and a test, must not really start: they are noted and succeed."""
CONFIGURATION = """\
hostname = "relay.example.org"
workers = 1

[smtp]
listen = ["127.0.0.1:2525"]

[queue]
directory = "/var/lib/letterlock"

[resolver]
upstream = ["127.0.0.1"]
"""


_MODULES = {
    "letterlock": "cli.main",
    "letterlock-sendmail": "sendmail.command",
    "letterlock-mailq": "sendmail.mailq",
    "newaliases": "sendmail.command",
}


@dataclass(frozen=True, slots=True)
class Done:
    """What commands printed; `failed` are those that had another status than 0, in their order."""

    out: str
    failed: Mapping[str, int]
    seconds: float

    def says(self, *words: str) -> None:
        """See that something was printed."""
        for each in words:
            assert re.search(each, self.out, re.MULTILINE), f"{each!r} is not in:\n{self.out}"


def blocks(page: str) -> list[str]:
    """The commands of a page of the documentation: its blocks of shell, in their order."""
    text = (DOCS / page).read_text()
    return [
        "\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in _BLOCK.findall(text)
    ]


def prepared() -> str:
    """Commands that bring a machine up to where the pages of docs/operations begin: installed, with a service."""
    return f"""
useradd --system --home-dir /var/lib/letterlock --shell /usr/sbin/nologin letterlock
cp /opt/letterlock/packaging/letterlock.service /etc/systemd/system/
install -d /etc/letterlock
cat >/etc/letterlock/letterlock.toml <<'TOML'
{CONFIGURATION}TOML
systemctl enable --now letterlock
{blocks("operations/README.md")[0]}
"""


def run(script: str, words: Mapping[str, str] | None = None, *, seconds: float = SECONDS) -> Done:
    """Run commands on a new machine. `words` are replaced in them: what a reader of the page replaces too."""
    for name, value in (words or {}).items():
        assert name in script, f"{name!r} is not in the commands"
        script = script.replace(name, value)
    begun = time.monotonic()
    done = subprocess.run(
        [find("unshare"), *SPACES, "bash", "-c", files() + _SMALL + _ENTER],
        input=inside(script),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return parse_output(done.stdout, time.monotonic() - begun)


def parse_output(text: str, seconds: float) -> Done:
    """What the commands printed, without the list of those that failed."""
    out, _, failed = text.partition("\n::failed\n")
    return Done(out, dict(_failures(failed)), seconds)


def _failures(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        status, _, command = line.partition(" ")
        yield command.removeprefix("/opt/letterlock/.venv/bin/"), int(status)


def files() -> str:
    """Commands that make the machine's files and network, in `$root`; what they read is its script."""
    mounts = "\n".join(f"mounted {shlex.quote(each)}" for each in sorted(PREFIXES))
    parents = {str(parent) for each in PREFIXES for parent in Path(each).parents} - {"/"}
    opened = "\n".join(f'chmod o+x "$root{each}"' for each in sorted(parents))
    wrappers = "\n".join(_wrapper(name) for name in _MODULES)
    hidden = "\n".join(
        f"printf '#!/bin/sh\\necho \"$0 $*\" >>/var/log/hidden\\n' >$root/usr/local/sbin/{name}" for name in _HIDDEN
    )
    return f"""set -eu
base=$(mktemp -d)
mount -t tmpfs tmpfs "$base"
mkdir "$base/up" "$base/work" "$base/root"
root=$base/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/up,workdir=$base/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mounted() {{ # a folder of another file system than the root's is empty in the overlay
    if [ -z "$(ls -A "$root$1" 2>/dev/null)" ]; then mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; fi
}}
{mounts}
{opened}
ip link set lo up
ip route add local 192.0.2.0/24 dev lo
hostname relay.example.org
rm -f "$root/etc/resolv.conf"
echo nameserver 127.0.0.1 >"$root/etc/resolv.conf"
rm -rf "$root/etc/letterlock" "$root/var/lib/letterlock"* "$root/opt/letterlock"
mkdir -p "$root/opt/letterlock/.venv/bin" "$root/usr/local/sbin" "$root/var/world/mail"
cp -r {shlex.quote(str(ROOT / "packaging"))} "$root/opt/letterlock/packaging"
{wrappers}
{hidden}
chmod 755 "$root"/opt/letterlock/.venv/bin/* "$root"/usr/local/sbin/*
cat >"$root/var/world/script"
"""


_SMALL = f"""
for name in systemctl journalctl; do
    made=$root/usr/local/sbin/$name
    printf '#!/bin/sh\\nexec {sys.executable} {ROOT}/tests/operations/systemctl.py $0 "$@"\\n' >"$made"
    chmod 755 "$made"
done
"""
"""The systemd of most machines here: a small one, and quick."""
ENVIRONMENT = (
    f"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHON={sys.executable} HOME=/root "
    "LC_ALL=C.UTF-8 TZ=UTC"
)
_ENTER = f'exec chroot "$root" env -i {ENVIRONMENT} bash /var/world/script'


def _wrapper(name: str) -> str:
    """The command, in a world whose DNS has another root key."""
    module = _MODULES[name]
    lines = [f"#!{sys.executable}", "import sys", f"sys.path.insert(0, {str(ROOT / 'src')!r})"]
    if name == "letterlock":
        lines += [
            "import letterlock.resolver.trust_anchors as anchors",
            "anchors.ROOT_ANCHORS_TEXT = open('/var/world/root.ds').read()",
        ]
    lines += [f"from letterlock.{module} import main", "sys.exit(main())"]
    return f"cat >$root/opt/letterlock/.venv/bin/{name} <<'WRAPPER'\n" + "\n".join(lines) + "\nWRAPPER"


def inside(script: str) -> str:
    """The commands, with a note of each that fails."""
    return f"""exec 2>&1
cd {shlex.quote(str(ROOT))}
{shlex.quote(sys.executable)} -m tests.operations.world /var/world >/var/world/log 2>&1 &
cd /root
until [ -e /var/world/dns-ready ]; do sleep 0.05; done
{HELPERS}
shopt -s expand_aliases
trap 'echo "$? $BASH_COMMAND" >>/var/world/failed' ERR
{script}
trap - ERR
printf '\\n::failed\\n'
cat /var/world/failed 2>/dev/null
exit 0
"""


HELPERS = """
send() { # send N [FROM]: so many messages to ann@example.net
    for number in $(seq "$1"); do
        printf 'Subject: message %s\\n\\nhello\\n' "$number" |
            /opt/letterlock/.venv/bin/letterlock-sendmail -f "${2:-me@example.org}" ann@example.net
    done
}
until_() { # until_ COMMAND...: wait until it succeeds
    for _ in $(seq 150); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    echo "waited in vain for: $*"
    journalctl -n 5
    tail -3 /var/world/log
    return 1
}
lose_dns() { touch /var/world/no-dns; until_ test ! -e /var/world/dns-ready; }
find_dns() { rm /var/world/no-dns; until_ test -e /var/world/dns-ready; }
arrived() { [ "$(find /var/world/mail -name '*.eml' | wc -l)" = "$1" ]; } # so many messages
flushed() { # asked of the files more often than of the server: each of its commands takes half a second of a processor
    q flush
    for _ in $(seq 30); do
        if arrived "$1"; then return 0; fi
        sleep 0.1
    done
    return 1
}
configure() { # configure OLD NEW: change the configuration
    sed -i "s#$1#$2#" /etc/letterlock/letterlock.toml
}
logged() { grep -q "$1" /var/log/letterlock.log; }
waiting() { [ "$(/opt/letterlock/.venv/bin/letterlock queue list --json | grep -c '"client"')" = "$1" ]; }
"""
