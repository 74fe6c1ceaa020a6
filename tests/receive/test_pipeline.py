"""Steps: how they are sorted, in which order they run, and what a refusal does."""

import asyncio
import logging
from dataclasses import dataclass, field

import pytest

from letterlock.mail.checked_content import CheckedContent, DotlessContent
from letterlock.mail.envelope import BodyType, TlsDemand
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import NO_WISHES
from letterlock.receive import listener as listener_module
from letterlock.receive.pipeline import Draft, Facts, Pipeline, Step
from letterlock.smtp.server_events import RecipientOffered, SenderOffered
from tests.receive.world import ENVELOPE, FACTS, NOW, draft_of, world

GREYLISTED = Reply(451, ("4.7.1 Greylisted",))
SPAM = Reply(550, ("5.7.1 Spam",))


@dataclass
class Plain:
    """A step with all three methods, which writes down what it was asked."""

    answers: dict[str, Reply] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    facts: list[tuple[str, str, int]] = field(default_factory=list)

    def _note(self, what: str, facts: Facts) -> Reply | None:
        self.asked.append(what)
        self.facts.append((facts.hello, facts.protocol, len(facts.recipients)))
        return self.answers.get(what)

    def sender(self, facts: Facts, _offer: SenderOffered) -> Reply | None:
        return self._note("sender", facts)

    def recipient(self, facts: Facts, _offer: RecipientOffered) -> Reply | None:
        return self._note("recipient", facts)

    def message(self, facts: Facts, _draft: Draft) -> Reply | None:
        return self._note("message", facts)


class Waiting(Plain):
    """The same, and each method has to wait."""

    async def sender(self, facts: Facts, _offer: SenderOffered) -> Reply | None:  # type: ignore[override]  # awaited
        await asyncio.sleep(0)
        return self._note("sender", facts)

    async def recipient(  # type: ignore[override]  # awaited
        self, facts: Facts, _offer: RecipientOffered
    ) -> Reply | None:
        await asyncio.sleep(0)
        return self._note("recipient", facts)

    async def message(self, facts: Facts, _draft: Draft) -> Reply | None:  # type: ignore[override]  # awaited
        await asyncio.sleep(0)
        return self._note("message", facts)


class Heading:
    """A step that has a message method only, and adds a field."""

    def message(self, _facts: Facts, draft: Draft) -> None:
        draft.add_field(b"X-Step: yes\r\n")


def test_a_step_is_in_the_stages_that_it_has_methods_for() -> None:
    pipeline = Pipeline([Heading()])
    offer = SenderOffered(None, None)
    assert pipeline.sender.run(FACTS, offer) is None
    draft = draft_of(b"x\r\n")
    assert pipeline.message.run(FACTS, draft) is None
    assert draft.fields == b"X-Step: yes\r\n"


def test_the_first_refusal_ends_the_stage() -> None:
    first, second, third = Plain(), Plain({"sender": SPAM}), Plain()
    assert Pipeline([first, second, third]).sender.run(FACTS, SenderOffered(None, None)) is SPAM
    assert (first.asked, second.asked, third.asked) == (["sender"], ["sender"], [])


def test_a_stage_waits_when_one_of_its_checks_does() -> None:
    plain, mixed = Pipeline([Plain()]), Pipeline([Plain(), Waiting()])
    assert not plain.sender.waits
    assert mixed.sender.waits
    assert mixed.recipient.waits
    assert mixed.message.waits


async def test_checks_that_wait_and_others_run_in_their_order() -> None:
    first, second = Plain(), Waiting({"sender": SPAM})
    assert await Pipeline([first, second]).sender.run_waiting(FACTS, SenderOffered(None, None)) is SPAM
    assert await Pipeline([second, first]).sender.run_waiting(FACTS, SenderOffered(None, None)) is SPAM
    assert first.asked == ["sender"]


def test_a_check_that_waits_without_being_async_is_a_bug_that_is_found() -> None:
    class Wrong:
        def sender(self, _facts: Facts, _offer: SenderOffered) -> "asyncio.Future[Reply | None]":
            loop = asyncio.new_event_loop()
            loop.close()
            return asyncio.Future(loop=loop)

    with pytest.raises(TypeError):
        Pipeline([Wrong()]).sender.run(FACTS, SenderOffered(None, None))


def test_rfc6152_3_bytes_beyond_ascii_are_8bitmime_whatever_was_declared() -> None:
    assert draft_of(b"x\r\n").body_type is BodyType.SEVEN_BIT
    assert draft_of(b"\xff\r\n").body_type is BodyType.EIGHT_BIT_MIME


def test_a_finished_draft_has_its_fields_on_top_and_counts_them() -> None:
    draft = draft_of(b"Subject: x\r\n\r\nhi\r\n")
    draft.add_field(b"B: 2\r\n")
    draft.add_field(b"A: 1\r\n")
    envelope, body = draft.finish("unknown[192.0.2.1]", 60)
    assert body == b"A: 1\r\nB: 2\r\nSubject: x\r\n\r\nhi\r\n"
    assert type(body) is DotlessContent
    assert envelope.size == len(body)
    assert envelope.expires_at == NOW + 60
    assert (envelope.tls_demand, envelope.wishes) == (TlsDemand.NONE, NO_WISHES)
    assert draft.content == CheckedContent()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """The steps of the listeners that start during a test."""
    found: list[Step] = []
    monkeypatch.setattr(listener_module, "steps_of", lambda *_: iter(found))
    return found


@pytest.mark.parametrize("kind", [Plain, Waiting])
async def test_a_session_asks_every_stage_with_its_facts(steps: list[Step], kind: type[Plain]) -> None:
    step = kind()
    steps.append(step)
    async with world() as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.send(ENVELOPE.replace(b"DATA", b"RCPT TO:<cat@example.net>\r\nDATA"))
        assert [(await client.reply())[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
        assert (await client.ask(b"x\r\n.\r\n")).startswith(b"250 2.0.0 Ok: queued as ID1")
    assert step.asked == ["sender", "recipient", "recipient", "message"]
    hello = ("client.example", "ESMTP")
    assert step.facts[:3] == [(*hello, 0), (*hello, 0), (*hello, 1)]
    assert len(server.store.kept) == 1


@pytest.mark.parametrize("kind", [Plain, Waiting])
@pytest.mark.parametrize(
    ("stage", "codes"),
    [
        ("sender", [b"451", b"503", b"503"]),
        ("recipient", [b"250", b"451", b"554"]),
        ("message", [b"250", b"250", b"354", b"451"]),
    ],
)
async def test_a_refusal_is_the_reply_and_a_log_line(
    steps: list[Step], kind: type[Plain], stage: str, codes: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    steps.append(kind({stage: GREYLISTED}))
    async with world() as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.send(ENVELOPE)
        replies = [(await client.reply())[:3] for _ in range(3)]
        if replies[-1] == b"354":
            replies.append((await client.ask(b"x\r\n.\r\n"))[:3])
        assert replies == codes
        assert (await client.ask(b"RSET\r\n")).startswith(b"250 ")
    what = {"sender": "MAIL", "recipient": "RCPT", "message": "END-OF-MESSAGE"}[stage]
    about = "<bob@example.net>: " if stage == "recipient" else ""
    assert f"NOQUEUE: reject: {what} from unknown[127.0.0.1]: 451 4.7.1 {about}Greylisted; from=<" in caplog.text
    assert not server.store.kept


async def test_a_step_that_says_421_ends_the_session(steps: list[Step]) -> None:
    steps.append(Plain({"recipient": Reply(421, ("4.7.0 Enough",))}))
    async with world() as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.send(ENVELOPE)
        assert (await client.reply()).startswith(b"250 ")
        assert await client.rest() == b"421 4.7.0 Enough\r\n"
