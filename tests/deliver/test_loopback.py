"""One delivery over real sockets: TcpDialer, TcpStream and TLS as they will be used."""

import asyncio
import socket
from dataclasses import replace

from letterlock.deliver.attempt import attempt
from letterlock.deliver.session import Ports
from letterlock.net.dial import TcpDialer
from letterlock.net.streams import TcpStream
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Level
from letterlock.queue.tasks import OutcomeKind
from letterlock.resolver.answer import Security
from tests.certificates import Credential
from tests.deliver.world import (
    OPTIONS,
    HandClock,
    HandDiscoverer,
    Server,
    answer,
    as_they_are,
    dane_ee,
    make_task,
)


async def test_a_message_authenticated_by_dane_over_tcp(context: ServerContext, credential: Credential) -> None:
    server = Server(context)
    body = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 10_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]

        async def serve() -> None:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            stream = TcpStream(connection)
            await server(stream)
            await stream.close()

        serving = asyncio.create_task(serve())
        tlsa = answer(f"_{port}._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
        discoverer = HandDiscoverer(hosts={"mx.example.org": ("127.0.0.1",)}, tlsa={"mx.example.org": tlsa})
        ports = Ports(discoverer=discoverer, dialer=TcpDialer(), clock=HandClock(), shuffle=as_they_are)
        async with asyncio.timeout(10):
            made = await attempt(
                make_task(), body, ports=ports, options=replace(OPTIONS, port=port, hostname="me.example")
            )
            await serving
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED], made
    assert made.achieved is not None
    assert made.achieved.level is Level.AUTHENTICATED
    assert made.port == port
    assert server.messages == [body]
    assert server.clear == ["EHLO me.example", "STARTTLS"]
