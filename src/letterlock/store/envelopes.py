"""An envelope as one line of JSON and back, for stores that keep it whole."""

import json
from typing import Any

from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.mail.wishes import RecipientWishes, Ret, Wishes, parse_envid, parse_notify, parse_orcpt, write_notify
from letterlock.store.rows import Damaged, read_mailbox

_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def write_envelope(envelope: Envelope) -> bytes:
    """The envelope, whole."""
    wishes = envelope.wishes
    values: dict[str, object] = {
        "id": envelope.id,
        "from": None if envelope.reverse_path is None else str(envelope.reverse_path),
        "to": [str(mailbox) for mailbox in envelope.recipients],
        "size": envelope.size,
        "accepted": envelope.accepted_at,
        "expires": envelope.expires_at,
        "body": envelope.body_type.value,
        "client": envelope.client,
    }
    if envelope.tls_demand is not TlsDemand.NONE:
        values["tls"] = envelope.tls_demand.value
    if envelope.smtputf8:
        values["smtputf8"] = True
    if wishes.ret is not None:
        values["ret"] = wishes.ret.value
    if wishes.envid is not None:
        values["envid"] = wishes.envid
    if wishes.recipients:
        values["wishes"] = [[str(mailbox), *_write_wishes(wish)] for mailbox, wish in wishes.recipients.items()]
    return _write(values).encode("utf-8", "surrogateescape")


def read_whole_envelope(note: bytes) -> Envelope:
    """Read what `write_envelope` wrote. Raises Damaged."""
    try:
        values = json.loads(note.decode("utf-8", "surrogateescape"))
        return _read(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"an envelope cannot be read: {error}") from None


def _read(values: dict[str, Any]) -> Envelope:
    ret, envid = values.get("ret"), values.get("envid")
    wished = {read_mailbox(text): _read_wishes(*wish) for text, *wish in values.get("wishes", ())}
    return Envelope(
        id=values["id"],
        reverse_path=None if values["from"] is None else read_mailbox(values["from"]),
        recipients=tuple(read_mailbox(text) for text in values["to"]),
        size=values["size"],
        accepted_at=values["accepted"],
        expires_at=values["expires"],
        body_type=BodyType(values["body"]),
        client=values["client"],
        smtputf8=bool(values.get("smtputf8", False)),
        tls_demand=TlsDemand(values.get("tls", TlsDemand.NONE)),
        wishes=Wishes(None if ret is None else Ret(ret), None if envid is None else parse_envid(envid), wished),
    )


def _write_wishes(wish: RecipientWishes) -> tuple[str | None, str | None]:
    return None if wish.notify is None else write_notify(wish.notify), wish.orcpt


def _read_wishes(notify: str | None, orcpt: str | None) -> RecipientWishes:
    return RecipientWishes(
        None if notify is None else parse_notify(notify), None if orcpt is None else parse_orcpt(orcpt)
    )
