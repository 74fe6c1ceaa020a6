"""The keys of `[accounts]`: where the users are who may log in, and as whom they may send."""

from dataclasses import dataclass
from typing import Annotated

from letterlock.config.checked_values import FilePath
from letterlock.keys import Key
from letterlock.mail.names import DomainText
from letterlock.net.service_address import ServiceAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountKeys:
    """As the file has them; `letterlock.config.accounts_table` opens what they name."""

    file: Annotated[
        FilePath | None,
        Key(
            "accounts.file",
            "The users who may log in on `submission` and `submissions` listeners; `letterlock users` writes it, and "
            "the server sees changes at once. Unset, without another source of users: nobody logs in.",
        ),
    ] = None
    dovecot: Annotated[
        ServiceAddress | None,
        Key(
            "accounts.dovecot",
            'A Dovecot whose users may log in, by its auth service: `"unix:/run/dovecot/auth-letterlock"`, a '
            "`unix_listener` of `service auth`. The mechanisms are those of Dovecot: SCRAM-SHA-256, OAUTHBEARER, "
            "XOAUTH2, PLAIN, LOGIN. While it is away, logins are put off with 454.",
        ),
    ] = None
    sqlite: Annotated[
        FilePath | None,
        Key("accounts.sqlite", "A SQLite database with the users who may log in, opened for reading; with `query`."),
    ] = None
    database: Annotated[
        str | None,
        Key(
            "accounts.database",
            "A PostgreSQL database with the users who may log in, by its name in `[database]`; with `query`.",
        ),
    ] = None
    query: Annotated[
        str | None,
        Key(
            "accounts.query",
            "The query for one user: `:user` is the name as the client gives it, `:local` and `:domain` are its parts. "
            "The first column is the hash of the password: argon2id, or what crypt(3) knows as bcrypt, yescrypt, "
            "SHA-256 or SHA-512, or SCRAM-SHA-256, with or without Dovecot's `{SCHEME}`. A second column has the "
            "addresses that the user may send as, `@domain` for all of a domain; without it the name is the address.",
        ),
    ] = None
    scram_secret_file: Annotated[
        FilePath | None,
        Key(
            "accounts.scram_secret_file",
            "With `sqlite` or `database`: offer SCRAM-SHA-256, too, because every user has a SCRAM credential. The "
            "first line of this file, at least 16 characters, makes the salts of users that do not exist. Unset: PLAIN "
            "and LOGIN.",
        ),
    ] = None
    domain: Annotated[
        DomainText | None,
        Key(
            "accounts.domain",
            "With `dovecot`: the domain that makes an address of a user's name without one. Unset: a user whose name "
            "is no address sends only as what `sender_tables` say.",
        ),
    ] = None
    sender_tables: Annotated[
        tuple[str, ...],
        Key(
            "accounts.sender_tables",
            "Tables of the users who may send as an address besides its owner: for `local@domain`, then `@domain`, the "
            "names of users, as Postfix's `smtpd_sender_login_maps` have them. The first entry counts.",
            most=100,
        ),
    ] = ()
    remember_logins_seconds: Annotated[
        float,
        Key(
            "accounts.remember_logins_seconds",
            "How long a login by PLAIN or LOGIN that was right is not checked again: the check takes some 20 ms of "
            "CPU, and mail programs log in for each message. A changed password or a removed user counts at once. "
            "`0`: each login is checked. Dovecot has its own setting, `auth_cache_ttl`.",
            least=0,
            most=3600,
        ),
    ] = 300.0
