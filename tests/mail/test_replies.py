"""Replies and their enhanced status codes."""

from letterlock.mail.replies import Reply


def test_rfc2034_the_enhanced_code_is_read_from_the_text() -> None:
    assert Reply(550, ("5.1.1 no such user",)).enhanced == "5.1.1"
    assert Reply(250, ("OK",)).enhanced is None


def test_rfc2034_an_enhanced_code_of_another_class_is_ignored() -> None:
    assert Reply(250, ("5.1.1 no such user",)).enhanced is None


def test_a_reply_reads_as_one_line() -> None:
    assert str(Reply(250, ("mx.test", "PIPELINING"))) == "250 mx.test PIPELINING"
