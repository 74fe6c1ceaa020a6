"""How the lab hands a message to the server under test: what that refuses is no message on its way."""

import smtplib
from typing import Self

import pytest

from letterlock.lab import subject


class Client:
    """A session with a server that takes no recipient but the last."""

    def __init__(self, *_: object, **__: object) -> None:
        self.rcpts: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The session ends."""

    def ehlo(self) -> None:
        """Nothing is offered that matters."""

    def mail(self, _sender: str, _options: list[str]) -> tuple[int, bytes]:
        return 250, b"2.1.0 Ok"

    def rcpt(self, recipient: str) -> tuple[int, bytes]:
        return (250, b"2.1.5 Ok") if recipient.startswith("nobody") else (451, b"4.3.0 Later")

    def data(self, _content: bytes) -> tuple[int, bytes]:
        return 250, b"2.0.0 Ok: queued as 1"


def test_a_recipient_that_is_refused_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtplib, "SMTP", Client)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        subject._submit(("127.0.0.1", 1), ("ann@a.test", "nobody@b.test"), "secret", tls=False, requiretls=False)
    assert subject._submit(("127.0.0.1", 1), ("nobody@b.test",), "secret", tls=False, requiretls=False) == "1"
