"""What a route may name as the end of the way."""

import pytest

from letterlock.routing.local_targets import (
    MAX_SOCKET_PATH_OCTETS,
    BadFinalHop,
    CommandHop,
    FinalHop,
    LmtpHost,
    LmtpLoopback,
    LmtpSocket,
    Maildir,
    parse_final_hop,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("lmtp:/run/dovecot/lmtp", LmtpSocket("/run/dovecot/lmtp")),
        ("lmtp:[127.0.0.1]", LmtpLoopback("127.0.0.1", 24)),
        ("LMTP:[127.3.2.1]:2400", LmtpLoopback("127.3.2.1", 2400)),
        ("lmtp:[IPv6:::1]:24", LmtpLoopback("::1", 24)),
        ("lmtp:[192.0.2.1]:24", LmtpHost("[192.0.2.1]", 24)),
        ("lmtp:[mail.example.net]", LmtpHost("mail.example.net", 24)),
        ("lmtp:[Mail.Example.NET]:2400", LmtpHost("mail.example.net", 2400)),
        ("maildir:/var/mail/{domain}/{local}", Maildir("/var/mail/{domain}/{local}")),
        ("maildir:/var//mail/{local}/", Maildir("/var/mail/{local}")),
        ("command:/usr/bin/ticket", CommandHop(("/usr/bin/ticket",))),
        (
            "command:/usr/bin/ticket --queue 'my desk' $HOME",
            CommandHop(("/usr/bin/ticket", "--queue", "my desk", "$HOME")),
        ),
        ("relay.example.net", None),
        ("[192.0.2.1]", None),
        ("[IPv6:2001:db8::1]", None),
    ],
)
def test_a_place_is_read(text: str, wanted: FinalHop | LmtpHost | None) -> None:
    assert parse_final_hop(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "lmtp:",
        "lmtp:mail.example.net",
        "lmtp:127.0.0.1:24",
        "lmtp:[127.0.0.1]:0",
        "lmtp:[127.0.0.1]:65536",
        "lmtp:[127.0.0.1]:24:25",
        "lmtp:[127.0.0.256]:24",
        "lmtp:[a b]:24",
        "lmtp:/" + "x" * MAX_SOCKET_PATH_OCTETS,
        "lmtp:/run/a\0b",
        "command:",
        "command:ticket",
        "command:'/usr/bin/ticket",
        "command:/usr/bin/ticket {local}",
        "command:/usr/bin/ticket \n",
        "command:/" + "x" * 3000,
        "maildir:",
        "maildir:/",
        "maildir:relative/{local}",
        "maildir:/{local}",
        "maildir:/{domain}/{local}",
        "maildir:/var/../{local}",
        "maildir:/var/mail/{user}",
        "maildir:/var/mail/{local",
        "maildir:/var/mail/\n",
        "maildir:/" + "x/" * 2000,
    ],
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadFinalHop):
        parse_final_hop(text)


@pytest.mark.parametrize(
    "text", ["lmtp:/run/lmtp", "lmtp:[127.0.0.1]:24", "lmtp:[IPv6:::1]:24", "maildir:/m/{local}", "command:/a 'b c'"]
)
def test_a_place_is_told_as_it_is_written(text: str) -> None:
    assert str(parse_final_hop(text)) == text
