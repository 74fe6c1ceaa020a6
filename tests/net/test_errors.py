"""What an operating system's error means, in words for people."""

import errno
import os
import socket

import pytest

from letterlock.net.dial import TcpDialer
from letterlock.net.errors import os_error_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 25)"), os.strerror(errno.ECONNREFUSED)),
        (OSError(errno.ECONNRESET, "whatever"), os.strerror(errno.ECONNRESET)),
        (ConnectionError("the peer closed the connection"), "the peer closed the connection"),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), f"[Errno {socket.EAI_NONAME}] no such name"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_an_error_is_told_in_the_systems_words(error: OSError, words: str) -> None:
    assert os_error_words(error) == words


async def test_a_refused_connection_tells_nothing_of_a_library() -> None:
    with pytest.raises(OSError) as refused:  # noqa: PT011  # the words are what is tested
        await TcpDialer().dial("127.0.0.1", 1)
    assert os_error_words(refused.value) == os.strerror(errno.ECONNREFUSED)
