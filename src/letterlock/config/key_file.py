"""The key that the queue's contents are encrypted with, from a file that only its owner can read.

Absent, unreadable and wrong are three mistakes: an operator who confuses them and makes a new key loses all mail that
waits. No hint here writes to a file that exists.
"""

import base64
import os
import pwd
import stat
import struct
from pathlib import Path
from typing import Annotated

from pydantic import PlainValidator, ValidationInfo

from letterlock.config.checked_values import credentials, path_of
from letterlock.config.mistakes import wrong

KEY_OCTETS = 32  # of AES-256
MAX_KEY_FILE_OCTETS = 4096  # a key in base64 has 44; room for line ends and blanks
SECRETS = "secrets"
"""A key of the validation context: False leaves secret keys unread, for commands that do not need them. Users who may
look at the queue or check a domain need not be able to read them."""

_ACL_HEADER_OCTETS = 4  # linux/posix_acl_xattr.h: a version, then entries of tag, permissions, id
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_GROUPS = (0x04, 0x08)  # ACL_GROUP_OBJ, ACL_GROUP


def reads_secrets(info: ValidationInfo) -> bool:
    """Whether secret keys are to be read."""
    return bool((info.context or {}).get(SECRETS, True))


def _key(value: object, info: ValidationInfo) -> bytes | None:
    path = path_of(value, info)
    if not reads_secrets(info):
        return None
    raw, shared = _read(path)
    try:
        key = base64.b64decode(raw, validate=False)
    except ValueError:
        key = b""
    if len(key) != KEY_OCTETS:
        raise wrong(
            f"{path} can be read, but does not hold a key of {KEY_OCTETS} bytes in base64",
            "restore the key that waiting mail was encrypted with; never overwrite the file while mail waits",
        )
    if shared:
        raise wrong(f"{path} is a secret that others can read", f"chmod 600 {path}")
    return key


KeyFile = Annotated[bytes | None, PlainValidator(_key, json_schema_input_type=str)]


def _read(path: Path) -> tuple[bytes, bool]:
    """The file's bytes, and whether others can read them, too; or a mistake with the reason why not."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_FILE_OCTETS + 1), is_shared(file.fileno())
    except FileNotFoundError:
        if path.is_relative_to(credentials()):
            hint = f"systemd makes it while the service runs, if the unit has LoadCredential={path.name}:FILE"
            raise wrong(f"the credential {path} does not exist", hint) from None
        make = f"sh -Cc 'umask 077; openssl rand -base64 {KEY_OCTETS} > {path}'"
        hint = f"for a new queue: {make}; if mail waits, restore the key that it was encrypted with"
        raise wrong(f"{path} does not exist", hint) from None
    except PermissionError:
        user = _user_name()
        hint = f"the file and its folders must let {user} read it, who runs this command: chown {user}, chmod 600"
        raise wrong(f"{path} cannot be read by {user}", hint) from None
    except OSError as error:
        raise wrong(f"{path} cannot be read: {error.strerror}") from None


def is_shared(descriptor: int) -> bool:
    """Whether the mode lets a group or everybody at the file.

    Under an access control list the group's bits are only a mask: systemd gives credentials to the service's user that
    way (0440, and the list names the user). Then the entries of groups count.
    """
    mode = os.fstat(descriptor).st_mode
    if mode & stat.S_IRWXO or not mode & stat.S_IRWXG:
        return bool(mode & stat.S_IRWXO)
    try:
        entries = os.getxattr(descriptor, "system.posix_acl_access")[_ACL_HEADER_OCTETS:]
    except OSError:  # no access control list: the mode is what it says
        return True
    return any(tag in _ACL_GROUPS and permissions for tag, permissions, _ in _ACL_ENTRY.iter_unpack(entries))


def _user_name() -> str:
    """The user who reads the file: the service's, or root when `user` is set, for keys are read before that."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"
