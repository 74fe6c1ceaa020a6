"""An envelope as one line of JSON and back, for stores that keep it whole."""

import json
from json.encoder import encode_basestring
from typing import Any

from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.mail.wishes import (
    NO_WISHES,
    RecipientWishes,
    Ret,
    Wishes,
    parse_envid,
    parse_notify,
    parse_orcpt,
    write_notify,
)
from letterlock.store.rows import Damaged, read_mailbox

_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def write_envelope(envelope: Envelope) -> bytes:
    """The envelope, whole. What each message has is written without a dictionary, which takes twice as long."""
    recipients = ",".join([encode_basestring(f"{each.local_part}@{each.domain}") for each in envelope.recipients])
    sender = "null" if envelope.reverse_path is None else encode_basestring(str(envelope.reverse_path))
    text = (
        f'{{"id":{encode_basestring(envelope.id)},"from":{sender},"to":[{recipients}],"size":{envelope.size},'
        f'"accepted":{envelope.accepted_at!r},"expires":{envelope.expires_at!r},'
        f'"body":"{envelope.body_type.value}","client":{encode_basestring(envelope.client)}'
    )
    more = _rare_values(envelope)
    text += f",{_write(more)[1:]}" if more else "}"
    return text.encode("utf-8", "surrogateescape")


def _rare_values(envelope: Envelope) -> dict[str, object]:
    """What few messages have."""
    values: dict[str, object] = {}
    wishes = envelope.wishes
    if envelope.tls_demand is not TlsDemand.NONE:
        values["tls"] = envelope.tls_demand.value
    if envelope.smtputf8:
        values["smtputf8"] = True
    if wishes is NO_WISHES:
        return values
    if wishes.ret is not None:
        values["ret"] = wishes.ret.value
    if wishes.envid is not None:
        values["envid"] = wishes.envid
    if wishes.recipients:
        values["wishes"] = [[str(mailbox), *_write_wishes(wish)] for mailbox, wish in wishes.recipients.items()]
    return values


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
