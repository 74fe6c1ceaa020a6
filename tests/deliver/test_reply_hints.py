"""What refusals for now ask for, in the words of the servers that say them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.deliver.reply_hints import (
    GREYLIST_SECONDS,
    MAX_WAIT_SECONDS,
    MIN_WAIT_SECONDS,
    NO_HINTS,
    SOON_SECONDS,
    ReplyHints,
    ReplySubject,
    advise,
    together,
    too_many_recipients,
)
from letterlock.mail.replies import Reply


@pytest.mark.parametrize(
    ("code", "text", "wait"),
    [
        (450, "4.2.0 <ann@example.org>: Recipient address rejected: Greylisted, see http://x", GREYLIST_SECONDS),
        (451, "4.7.1 Greylisting in action, please come back in 00:04:32", 272),
        (451, "4.7.1 Greylisted, please try again in 180 seconds", 180),
        (450, "4.7.1 you are graylisted, try again in 10 minutes", 600),
        (451, "4.7.1 Please try again later", GREYLIST_SECONDS),
        (450, "4.7.1 try later", GREYLIST_SECONDS),
        (451, "Temporarily greylisted", GREYLIST_SECONDS),
        (450, "4.2.0 grey-listed for 5 s", MIN_WAIT_SECONDS),
        (450, "4.2.0 greylisted for 48 hours", MAX_WAIT_SECONDS),
    ],
)
def test_rfc6647_greylisting_is_waited_for_and_no_longer(code: int, text: str, wait: float) -> None:
    assert advise(Reply(code, (text,)), ReplySubject.RECIPIENT) == ReplyHints(retry_after=wait)


@pytest.mark.parametrize(
    "text",
    [
        "4.7.0 mx Error: too many connections from 192.0.2.9",
        "4.4.5 Too many concurrent SMTP connections; please try again later",
        "4.4.5 busy",
        "Too many simultaneous connections, closing",
    ],
)
def test_too_many_connections_means_fewer_of_them_and_soon(text: str) -> None:
    assert advise(Reply(421, (text,)), ReplySubject.SESSION) == ReplyHints(retry_after=SOON_SECONDS, slow_down=True)


@pytest.mark.parametrize(
    ("code", "text", "about"),
    [
        (421, "4.7.28 Our system has detected an unusual rate of unsolicited mail", ReplySubject.MESSAGE),
        (450, "4.7.1 Error: too much mail from 192.0.2.9", ReplySubject.MESSAGE),
        (451, "4.7.500 Server busy, throttled", ReplySubject.RECIPIENT),
        (452, "4.3.2 rate limit exceeded", ReplySubject.MESSAGE),
        (421, "4.7.0 [TSS04] Messages from 192.0.2.9 temporarily deferred", ReplySubject.SESSION),
        (421, "4.3.2 Service not available", ReplySubject.SESSION),
    ],
)
def test_a_rate_that_is_exceeded_slows_down_all_mail_to_that_place(code: int, text: str, about: ReplySubject) -> None:
    assert advise(Reply(code, (text,)), about) == ReplyHints(slow_down=True)


@pytest.mark.parametrize(
    ("code", "text", "about"),
    [
        (
            450,
            "4.2.1 The user you are trying to contact is receiving mail at a rate of too many messages",
            ReplySubject.RECIPIENT,
        ),
        (452, "4.2.2 Mailbox full", ReplySubject.RECIPIENT),
        (451, "4.3.0 scanner down", ReplySubject.MESSAGE),
        (550, "5.7.1 greylisted for ever, too many connections", ReplySubject.RECIPIENT),
        (554, "5.7.1 too many connections", ReplySubject.SESSION),
        (250, "2.0.0 rate limit", ReplySubject.MESSAGE),
    ],
)
def test_what_concerns_one_recipient_or_is_final_asks_for_nothing(code: int, text: str, about: ReplySubject) -> None:
    assert advise(Reply(code, (text,)), about) == NO_HINTS


@given(code=st.integers(200, 599), text=st.text(max_size=3000), about=st.sampled_from(ReplySubject))
def test_any_words_are_borne_and_waits_are_bounded(code: int, text: str, about: ReplySubject) -> None:
    found = advise(Reply(code, (text,)), about)
    assert found.retry_after is None or SOON_SECONDS <= found.retry_after <= MAX_WAIT_SECONDS


def test_several_together_are_the_longest_wait_and_any_wish_for_less() -> None:
    assert together([]) == NO_HINTS
    assert together([ReplyHints(60, slow_down=True), ReplyHints(300)]) == ReplyHints(300, slow_down=True)


@pytest.mark.parametrize(
    ("code", "text", "too_many"),
    [
        (452, "too many recipients", True),
        (452, "4.5.3 too many recipients", True),
        (552, "too many recipients", True),
        (552, "5.5.3 that will do", True),
        (452, "4.2.2 mailbox full", False),
        (452, "4.3.1 no room on the disk", False),
        (552, "5.2.2 mailbox full", False),
        (552, "mailbox full", False),
        (550, "too many recipients", False),
    ],
)
def test_rfc5321_4_5_3_1_10_who_has_too_many_recipients_and_who_a_full_mailbox(
    code: int, text: str, too_many: bool
) -> None:
    assert too_many_recipients(Reply(code, (text,))) is too_many
