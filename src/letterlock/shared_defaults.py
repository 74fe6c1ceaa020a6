"""What the server, its verbs and `sendmail` must agree on: where the configuration is, and a few defaults.

Nothing is imported here: `letterlock-sendmail` starts in milliseconds, and every import would be part of them.
"""

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
