"""`login` of a route: who logs in at a relay host."""

from pathlib import Path

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from letterlock.config.checked_values import FilePath
from letterlock.config.declared import Table
from letterlock.config.key_file import is_shared, reads_secrets
from letterlock.config.mistakes import wrong
from letterlock.sasl.client_login import Credentials
from letterlock.sasl.prepare import Unprepared, prepare

MAX_PASSWORD_FILE_OCTETS = 4096  # a password has at most 1024


class LoginTable(Table):
    """Who logs in at a relay host."""

    user: str = Field(min_length=1, max_length=320, description="The user's name.")
    password_file: FilePath = Field(
        description="A file whose first line is the password, and that nobody else can read."
    )
    _credentials: Credentials | None = PrivateAttr(None)

    @property
    def credentials(self) -> Credentials | None:
        """Name and password."""
        return self._credentials

    @model_validator(mode="after")
    def _read_password(self, info: ValidationInfo) -> "LoginTable":
        if reads_secrets(info):
            password = read_password(self.password_file, "password_file")
            try:
                self._credentials = Credentials(prepare(self.user.encode()), prepare(password))
            except Unprepared as error:
                raise wrong(f"the user or the password cannot be used: {error}", at="user") from None
        return self


def read_password(path: Path, at: str) -> bytes:
    """The first line of a file that only its owner reads. Raises a mistake."""
    try:
        with path.open("rb") as file:
            octets, shared = file.read(MAX_PASSWORD_FILE_OCTETS + 1), is_shared(file.fileno())
    except OSError as error:
        raise wrong(f"{path} cannot be read: {error.strerror}", at=at) from None
    if shared:
        raise wrong(f"{path} is a secret that others can read", f"chmod 600 {path}", at)
    lines = octets.splitlines()
    if len(octets) > MAX_PASSWORD_FILE_OCTETS or not lines or not lines[0]:
        raise wrong(f"{path} has no password in its first line", at=at)
    return lines[0]
