"""A queued message's content for people, for programs, and as it is."""

import base64
import os
import sys
from typing import Any

import click

from letterlock.admin.client import Queues, ServerError
from letterlock.admin.transfers import header_of
from letterlock.app.output import json_text
from letterlock.deliver.log import safe


def show_content(client: Queues, message: dict[str, Any], *, whole: bool, raw: bool, as_json: bool) -> None:
    """Print the header of a message, or all of it. Raises ServerError when it cannot be read; UsageError."""
    if raw and sys.stdout.isatty():
        raise click.UsageError("--raw is for a file or a pipe: a message can steer a terminal")
    content = client.content(message["id"], whole=whole)
    if content is None:
        raise ServerError(f"the content of {safe(message['id'])} cannot be read: it has just left, or is damaged")
    if raw:
        _write(content)
    elif as_json:
        click.echo(json_text(content_values(message, content, whole=whole), indent=2))
    else:
        # Standard output escapes what could act on a terminal; an escape of invalid UTF-8 is one of those.
        click.echo(content.decode("utf-8", "surrogateescape").replace("\r\n", "\n"), nl=False)


def content_values(message: dict[str, Any], content: bytes, *, whole: bool) -> dict[str, object]:
    """The header fields with their lines unfolded; of a whole message its bytes as well, in base64 (RFC 4648)."""
    values: dict[str, object] = {
        "id": message["id"],
        "size": message["size"],
        "header": header_fields(content),
    }
    return values | ({"content": base64.b64encode(content).decode()} if whole else {})


def header_fields(content: bytes) -> list[tuple[str, str]]:
    """Names and values, unfolded (RFC 5322 section 2.2.3). A line that is no field has an empty name."""
    fields: list[tuple[str, str]] = []
    for line in header_of(content).decode("utf-8", "backslashreplace").split("\r\n")[:-1]:
        name, colon, value = line.partition(":")
        if line.startswith((" ", "\t")) and fields:
            fields[-1] = fields[-1][0], fields[-1][1] + line
        else:
            fields.append((name, value.removeprefix(" ")) if colon else ("", line))
    return fields


def _write(content: bytes) -> None:
    """Write bytes past the guard of standard output."""
    sys.stdout.flush()
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]
