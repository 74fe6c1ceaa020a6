"""What the shipped systemd unit has to allow beyond its own state directories, for one configuration."""

from letterlock.config import Options
from letterlock.config.checked_values import UnixPath
from letterlock.deliver.local.maildir import base_of

STATE = ("/var/lib/letterlock", "/var/lib/letterlock-drop")  # StateDirectory= of packaging/letterlock.service
_HOMES = ("/home", "/root", "/run/user")  # ProtectHome=yes hides them
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  # PrivateTmp=yes gives the service its own
_INSTALL = """\
# Save as /etc/systemd/system/letterlock.service.d/paths.conf, then: systemctl daemon-reload
# Directories that are not there yet (systemd passes over them): make them first, for the service's user.
[Service]
"""
_NOTHING = "# The unit as shipped allows all that this configuration needs.\n"


def drop_in(options: Options) -> str:
    """A drop-in for the unit: the directories that the server writes to, and what else hides them."""
    wanted = [str(options.queue_directory), *(base_of(target) for target in options.maildirs)]
    wanted += [str(options.drop_directory)] if options.drop_directory else []
    doors = [each.path for each in options.keys.policy_listen if isinstance(each, UnixPath)]
    wanted += [str(path.parent) for path in doors]
    paths = [path for path in dict.fromkeys(wanted) if not _is_below(path, STATE)]
    if not paths:
        return _NOTHING
    lines = [f"ReadWritePaths={_escaped(f'-{path}')}" for path in paths]
    lines += ["ProtectHome=no"] if any(_is_below(path, _HOMES) for path in paths) else []
    lines += ["PrivateTmp=no"] if any(_is_below(path, _TEMPORARY) for path in paths) else []
    return _INSTALL + "".join(f"{line}\n" for line in lines)


def _is_below(path: str, directories: tuple[str, ...]) -> bool:
    return any(path == directory or path.startswith(f"{directory}/") for directory in directories)


def _escaped(path: str) -> str:
    """For a unit file: `%` begins a specifier, and words are split at blanks (systemd.syntax(7))."""
    plain = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{plain}"' if plain != path or " " in path else path
