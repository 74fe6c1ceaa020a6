"""The internet on one loopback port, UDP and TCP, in a thread of its own."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

import dns.exception

Answer = Callable[[bytes, int], bytes]
PAYLOAD_OCTETS = 1232


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer, delay_seconds: float) -> None:
        self._answer, self._delay = answer, delay_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        with suppress(dns.exception.DNSException):
            reply = self._answer(data, PAYLOAD_OCTETS)
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._transport.sendto, reply, addr)
            else:
                self._transport.sendto(reply, addr)


async def serve(
    answer: Answer, address: str, delay_seconds: float, ready: Callable[[int], None], end: asyncio.Event
) -> None:
    """Answer on a free port of an address, each reply late by so much, until `end`."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, dns.exception.DNSException):
            while True:
                wire = await reader.readexactly(struct.unpack("!H", await reader.readexactly(2))[0])
                reply = answer(wire, 65_535)
                await asyncio.sleep(delay_seconds)
                writer.write(struct.pack("!H", len(reply)) + reply)
        writer.close()

    streams = await asyncio.start_server(converse, address, 0)
    port = streams.sockets[0].getsockname()[1]
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    bound.bind((address, port))
    datagrams, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(answer, delay_seconds), sock=bound
    )
    ready(port)
    await end.wait()
    datagrams.close()
    streams.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


@contextmanager
def serving(answer: Answer, address: str = "127.0.0.1", *, delay_seconds: float = 0.0) -> Iterator[int]:
    """Serve in a thread; gives the port."""
    port: list[int] = []
    started = threading.Event()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    def ready(number: int) -> None:
        port.append(number)
        started.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve(answer, address, delay_seconds, ready, end))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert started.wait(10)
        yield port[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
