"""What the Postfix of this machine is and how it is configured, as postconf(1) and its files say."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SECONDS = 30.0  # for postconf(1), which takes milliseconds
BYTES = "surrogateescape"  # files that are changed keep the bytes of comments that are no UTF-8
MAX_RESOLV_CONF_OCTETS = 1 << 16  # chosen: real files have a few lines
_PARAMETERS = (
    "mail_version", "compatibility_level", "queue_directory", "smtp_dns_support_level", "smtp_tls_security_level",
    "smtp_tls_dane_insecure_mx_policy", "smtp_tls_policy_maps", "smtp_tls_CAfile", "smtp_tls_CApath",
    "smtp_tls_fingerprint_digest", "smtp_host_lookup", "transport_maps", "relayhost", "mydestination",
    "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains", "myhostname", "tls_append_default_CA",
    "smtp_tls_mandatory_protocols",
)  # fmt: skip
_SMTP_SERVICES = ("smtp/unix", "relay/unix")


class NoPostfix(Exception):
    """There is no Postfix, or it cannot be asked. `str()` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostfixFacts:
    """Parameters by name as they hold, those that main.cf sets, and how smtp(8) runs.

    `chrooted`: services of master.cf that run in `queue_directory`. `overrides`: parameters that master.cf sets for
    them with -o. `resolv_conf` and `chroot_resolv_conf` are the files' texts, None where there is none.
    """

    config_directory: Path
    parameters: Mapping[str, str]
    written: Mapping[str, str]
    chrooted: tuple[str, ...]
    overrides: Mapping[str, str]
    resolv_conf: str | None
    chroot_resolv_conf: str | None

    @property
    def version(self) -> tuple[int, ...]:
        """`(3, 7, 11)`."""
        return tuple(int(part) for part in re.findall(r"\d+", self.parameters["mail_version"])[:3])

    @property
    def queue_directory(self) -> Path:
        """Where smtp(8) runs if it is chrooted."""
        return Path(self.parameters["queue_directory"])

    @property
    def chroot_resolv_path(self) -> Path:
        """The resolv.conf that a chrooted smtp(8) reads."""
        return self.queue_directory / "etc" / "resolv.conf"


def read_facts(config_directory: Path | None, resolv_conf: Path) -> PostfixFacts:
    """Ask postconf(1), and read resolv.conf as smtp(8) sees it. Raises NoPostfix."""
    place = () if config_directory is None else ("-c", str(config_directory))
    directory = Path(_postconf(*place, "-h", "config_directory").strip())
    known = _values(_postconf(*place, *_PARAMETERS, missing=True))
    parameters = {name: known.get(name, "") for name in _PARAMETERS}
    chrooted = tuple(
        fields[0] for fields in map(str.split, _postconf(*place, "-M", *_SMTP_SERVICES, missing=True).splitlines())
        if len(fields) > 4 and _is_chrooted(fields[4], parameters)
    )  # fmt: skip
    overrides = _values(_postconf(*place, "-P", *(f"{each}/*" for each in _SMTP_SERVICES), missing=True))
    chroot_file = Path(parameters["queue_directory"]) / "etc" / "resolv.conf"
    return PostfixFacts(
        config_directory=directory,
        parameters=parameters,
        written=_values(_postconf(*place, "-n")),
        chrooted=chrooted,
        overrides=overrides,
        resolv_conf=_text(resolv_conf),
        chroot_resolv_conf=_text(chroot_file),
    )


def set_parameters(config_directory: Path, changes: Mapping[str, str | None]) -> None:
    """Set parameters of main.cf by postconf(1); None removes one. Raises NoPostfix."""
    place = ("-c", str(config_directory))
    setting = [f"{name}={value}" for name, value in changes.items() if value is not None]
    removing = [name for name, value in changes.items() if value is None]
    if setting:
        _postconf(*place, "-e", *setting)
    if removing:
        _postconf(*place, "-X", *removing)


def _is_chrooted(field: str, parameters: Mapping[str, str]) -> bool:
    """`-` is the default: yes before compatibility level 1 (master(5))."""
    level = re.match(r"\d+", parameters["compatibility_level"])
    return field == "y" or (field == "-" and (level is None or int(level[0]) < 1))


def _postconf(*arguments: str, missing: bool = False) -> str:
    """What postconf(1) prints; `missing`: a parameter or service that it does not know is no failure."""
    program = shutil.which("postconf", path="/usr/sbin:/usr/local/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        raise NoPostfix("there is no postconf on this machine: is Postfix installed?")
    try:
        done = subprocess.run(  # noqa: S603  # a fixed program, and arguments of our own
            [program, *arguments], capture_output=True, encoding="utf-8", errors=BYTES, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPostfix(f"postconf cannot be run: {error}") from None
    if done.returncode and not missing:
        raise NoPostfix(f"postconf failed: {done.stderr.strip()[:500]}")
    return done.stdout


def _values(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _text(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", errors=BYTES) as file:
            return file.read(MAX_RESOLV_CONF_OCTETS)
    except OSError:  # the caller says what that means for each file
        return None


def nameservers(text: str | None) -> tuple[str, ...]:
    """The addresses in the text of a resolv.conf, in order (resolv.conf(5))."""
    lines = (line.split() for line in (text or "").splitlines())
    return tuple(fields[1] for fields in lines if len(fields) > 1 and fields[0] == "nameserver")
