"""An envelope as a line of JSON: what any JSON reader reads, and what comes back."""

import json

from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.mail.wishes import Event, RecipientWishes, Ret, Wishes
from letterlock.store.envelopes import read_whole_envelope, write_envelope

ANN, BOB, ODD = Mailbox("ann", "example.org"), Mailbox("Bob", "example.net"), Mailbox('"a \\"b"', "x.example")
WISHES = [Wishes(), Wishes(Ret.HDRS), Wishes(Ret.FULL, "QQ1", {BOB: RecipientWishes(frozenset({Event.FAILURE}), None)})]
TIMES = st.floats(min_value=0, max_value=4e9)


@given(
    sender=st.sampled_from([None, ANN, ODD, Mailbox("ünal", "example.org")]),
    recipients=st.lists(st.sampled_from([ANN, BOB, ODD]), min_size=1, max_size=3, unique=True),
    times=st.tuples(TIMES, TIMES),
    client=st.text(),
    demand=st.sampled_from(TlsDemand),
    body_type=st.sampled_from(BodyType),
    wishes=st.sampled_from(WISHES),
    smtputf8=st.booleans(),
)
def test_an_envelope_is_json_and_comes_back(
    sender: Mailbox | None,
    recipients: list[Mailbox],
    times: tuple[float, float],
    client: str,
    demand: TlsDemand,
    body_type: BodyType,
    wishes: Wishes,
    smtputf8: bool,
) -> None:
    envelope = Envelope(
        id="4F2A1",
        reverse_path=sender,
        recipients=tuple(recipients),
        size=7,
        accepted_at=times[0],
        expires_at=times[1],
        body_type=body_type,
        tls_demand=demand,
        client=client,
        wishes=wishes,
        smtputf8=smtputf8,
    )
    line = write_envelope(envelope)
    assert read_whole_envelope(line) == envelope
    values = json.loads(line.decode("utf-8", "surrogateescape"))
    again = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    assert again.encode("utf-8", "surrogateescape") == line
    assert b"\n" not in line
