"""Connections end with their listener, whatever they had come to."""

import asyncio
import socket
from contextlib import suppress

import pytest

from letterlock.lab.raw_listener import accepting


@pytest.mark.parametrize("turns", range(2, 8))  # sooner, it is in the hands of asyncio
async def test_a_connection_ends_though_its_talk_had_not_begun(turns: int) -> None:
    """A task that is cancelled before its first step runs nothing of its own, not even what stands in `finally`."""

    async def talk(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with socket.create_server(("127.0.0.1", 0)) as bound, socket.create_connection(bound.getsockname()) as client:
        async with accepting(bound, talk):
            for _ in range(turns):
                await asyncio.sleep(0)
        for _ in range(8):  # for what was on its way
            await asyncio.sleep(0)
        bound.close()
        client.settimeout(5)
        with suppress(ConnectionResetError):  # it was never accepted
            assert client.recv(1) == b""
