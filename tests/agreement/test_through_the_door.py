"""delv validates for itself what the resolver door serves: signatures, denials, wildcards and aliases of every kind."""

import asyncio
import socket
from pathlib import Path

import dns.name
import dns.rdatatype

from letterlock.companion.options import ResolverDoorOptions
from letterlock.companion.resolver_door import ResolverDoor
from tests.agreement.build import build
from tests.agreement.verdicts import by_delv, delv_anchors
from tests.companion.dns_world import SITE, DnsWorld
from tests.companion.test_dns_answering import TYPES
from tests.interop.programs import find

MORE = [("mx.s1", "TXT"), ("gone.mx.s1", "A"), ("b.wild.s1", "A"), ("s1", "TXT"), ("none.tree.s1", "A")]


async def test_delv_believes_every_secure_answer_of_the_door(tmp_path: Path) -> None:
    find("delv")
    world, anchors = DnsWorld(build([SITE], tmp_path)), delv_anchors(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        port = stream.getsockname()[1]
        datagram.bind(("127.0.0.1", port))
        for each in (stream, datagram):
            each.setblocking(False)
        door = ResolverDoor(ResolverDoorOptions(), world.answering)
        await door.start([datagram], [stream])
        wrong = []
        for name, rdtype in (*TYPES, *MORE, *MORE):  # absences twice: the second time from a proof that is remembered
            asked = dns.name.from_text(name), dns.rdatatype.from_text(rdtype)
            verdict = await asyncio.to_thread(by_delv, *asked, port, anchors)
            if verdict.state != "secure":
                wrong.append(f"{name} {rdtype}: {verdict}")
        insecure = await asyncio.to_thread(by_delv, dns.name.from_text("host.plain.s1"), dns.rdatatype.A, port, anchors)
        await door.stop()
    assert not wrong
    assert insecure.state == "insecure"
