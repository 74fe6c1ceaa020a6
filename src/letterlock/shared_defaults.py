"""What the server, its verbs and `sendmail` must agree on: where the configuration is, and a few defaults.

`os` is all that is imported here: `letterlock-sendmail` starts in milliseconds, of which every import takes its part.
"""

import os

ENVIRONMENT = "LETTERLOCK_CONFIG"
SYSTEM_CONFIG = "/etc/letterlock/letterlock.toml"
SYSTEM_STATE = "/var/lib/letterlock"  # as the packages and the systemd unit have it
DROP = "-drop"  # the drop directory is beside the queue's, which is for the server only
MAX_FILE_OCTETS = 4 << 20  # of the configuration, and of each file that it names: 100,000 rules have fewer

DEFAULT_LISTEN = ("127.0.0.1:2525",)
DEFAULT_MAX_MESSAGE_OCTETS = 26_214_400  # 25 MiB, what most providers accept

SENDMAIL_KEYS: "dict[str, object]" = {
    "hostname": None,
    "smtp.listen": DEFAULT_LISTEN,
    "smtp.max_message_octets": DEFAULT_MAX_MESSAGE_OCTETS,
    "queue.directory": None,
    "queue.store": None,
    "queue.drop_directory": None,
}
"""The keys that `sendmail` reads, with the server's defaults; None: found out when it is needed."""


def is_there(path: "os.PathLike[str] | str") -> bool:
    """Whether something is at a path, readable or not: reading it says what is wrong, where "absent" would hide it.

    A link that leads nowhere, or a directory that this user may not enter, is a mistake to report. `Path.exists` calls
    the one absent, and raises for the other.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):  # only these say that nothing is there
        return False
    except OSError:
        pass
    return True
