"""A real Postfix behind the doors, attacked; and what it does while our service is killed or stopped."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from letterlock.companion.setup_plan import RESOLVER_OPTIONS
from letterlock.lab.box import Box, running_box
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.subject import see_policies, write_config
from tests.companion.dns_world import query
from tests.interop.companion_box import (
    Fate,
    Setup,
    directory_for_postfix,
    in_threads,
    lined_up,
    status_line,
    submit,
)
from tests.interop.companion_matrix import measure
from tests.interop.nameservers import Place
from tests.interop.postfix import Postfix, companion_sender
from tests.interop.programs import find, run, try_run
from tests.interop.unpacked import unpacked

pytestmark = [pytest.mark.interop, pytest.mark.slow]
OURS = (Setup.BOTH, Setup.POLICY, Setup.ALL)
PROTECTED = (SiteProtection.MTA_STS, SiteProtection.DANE_EE)
SECONDS = 20.0


@pytest.mark.parametrize("attack", [Attack.STARTTLS_STRIPPED, Attack.MX_FORGED])
async def test_nobody_reads_protected_mail_behind_the_doors(attack: Attack) -> None:
    found = await measure(attack, OURS, PROTECTED)
    for setup in OURS:
        assert set(found[setup].values()) == {Fate.HELD}, (setup, found[setup])


async def test_rfc8996_4_a_postfix_whose_default_allows_tls_1_0_holds_mail_that_must_have_tls() -> None:
    """The attacker offers TLS 1.0 and 1.1 only; the answer of the door names the versions."""
    demanding = (SiteProtection.REQUIRE_TLS, SiteProtection.DANE_EE, SiteProtection.MTA_STS)
    found = await measure(Attack.OLD_TLS, (Setup.BOTH, Setup.POLICY), demanding)
    assert found == {setup: dict.fromkeys(demanding, Fate.HELD) for setup in (Setup.BOTH, Setup.POLICY)}


async def test_mail_flows_when_nobody_attacks() -> None:
    found = await measure(Attack.NONE, OURS, PROTECTED)
    for setup in OURS:
        assert set(found[setup].values()) == {Fate.DELIVERED}, (setup, found[setup])
    assert SiteProtection.MTA_STS in found[Setup.BOTH]


async def test_a_policy_in_force_is_not_dropped_where_dane_covers_one_host_of_two() -> None:
    """The hole of a policy server that answers `dane`: the second host, stripped of STARTTLS, gets it in cleartext."""
    partial = SiteProtection.PARTIAL_DANE
    found = await measure(Attack.STARTTLS_STRIPPED, (Setup.STAND_IN, Setup.BOTH, Setup.ALL), [partial])
    assert found[Setup.STAND_IN][partial] is Fate.READ
    assert found[Setup.BOTH][partial] is Fate.HELD
    assert found[Setup.ALL][partial] is Fate.HELD


async def test_a_rule_with_an_authority_of_its_own_reaches_a_postfix_that_reads_no_braces() -> None:
    own_ca = [SiteProtection.OWN_CA]
    assert (await measure(Attack.NONE, [Setup.BOTH], own_ca))[Setup.BOTH] == {own_ca[0]: Fate.DELIVERED}


class Service:
    """`letterlock serve` in a process of its own, with its doors, that a test may kill."""

    def __init__(self, config: Path, resolver: str, policy_port: int) -> None:
        self.config, self.resolver, self.policy_port = config, resolver, policy_port
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = (sys.executable, "-m", "letterlock", "serve", "--config", str(self.config))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            path = self.config.parent / f"notify-{random.getrandbits(32):x}"
            ready.bind(str(path))
            ready.setblocking(False)
            self.process = await asyncio.create_subprocess_exec(*command, env=os.environ | {"NOTIFY_SOCKET": str(path)})
            async with asyncio.timeout(SECONDS):
                while not (await asyncio.get_running_loop().sock_recv(ready, 1000)).startswith(b"READY=1"):
                    pass

    async def end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            async with asyncio.timeout(SECONDS):
                await self.process.wait()


@asynccontextmanager
async def in_service(attack: Attack) -> AsyncIterator[tuple[Box, Service, Postfix]]:
    """A box, our service in front of it, and a Postfix behind its doors."""
    net = f"127.{random.randrange(60, 250)}.{random.randrange(1, 250)}"
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(running_box(attack))
        config = write_config(box, f"{box.subject_address}:{box.berths.port}")
        port = Place.free(f"{net}.1").port
        text = config.read_text().replace("[resolver]\n", f'[resolver]\nlisten = ["{net}.1:53"]\n')
        config.write_text(f'{text}\n[policy_server]\nlisten = ["{net}.1:{port}"]\n')
        await see_policies(box, config)
        service = Service(config, f"{net}.1", port)
        stack.push_async_callback(service.end, signal.SIGKILL)
        await service.start()
        home = stack.enter_context(directory_for_postfix())
        threads = await stack.enter_async_context(in_threads())
        parameters = {
            "smtp_tcp_port": str(box.berths.port),
            "smtp_tls_CAfile": str(box.authority_file),
            "smtp_tls_policy_maps": f"socketmap:inet:{net}.1:{port}:QUERY",
        }
        place = Place.free("127.0.0.1")
        sender = companion_sender(home / "postfix", place, resolver=f"{net}.1", parameters=parameters)
        yield box, service, await threads.start(sender)


async def sent(box: Box, postfix: Postfix, protection: SiteProtection) -> tuple[bytes, str]:
    """Send a message; its secret, and what Postfix logs first of it."""
    secret = f"{random.getrandbits(128):032x}"
    recipient = f"r{secret[:12]}@{box.world.sites[protection].domain}"
    await asyncio.to_thread(submit, postfix.place, recipient, secret)
    return secret.encode(), await status_line(postfix, recipient)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "stop, as for an upgrade"])
async def test_while_the_service_is_gone_mail_waits_and_then_flows(end: signal.Signals) -> None:
    async with in_service(Attack.NONE) as (box, service, postfix):
        for protection in PROTECTED:
            _, line = await sent(box, postfix, protection)
            assert "status=sent" in line
        await service.end(end)
        waiting = [(each, *await sent(box, postfix, each)) for each in PROTECTED]
        assert all("status=deferred" in line for _, _, line in waiting), waiting
        await service.start()
        await asyncio.to_thread(run, "postqueue", "-c", postfix.directory / "etc", "-f")
        async with asyncio.timeout(SECONDS):
            for protection, secret, _ in waiting:
                while not box.delivered(protection, secret):  # noqa: ASYNC110  # the other end is a program
                    await asyncio.sleep(0.2)  # the other end is a program
                assert box.seen_encrypted(protection, secret)


async def test_kill_in_the_middle_of_an_attack_lets_nothing_out() -> None:
    async with in_service(Attack.STARTTLS_STRIPPED) as (box, service, postfix):
        trying = [asyncio.create_task(sent(box, postfix, each)) for each in PROTECTED * 3]
        await asyncio.sleep(0.05)
        await service.end(signal.SIGKILL)
        during = [await sent(box, postfix, each) for each in PROTECTED]
        await service.start()
        after = [await sent(box, postfix, each) for each in PROTECTED]
        results = [*await asyncio.gather(*trying), *during, *after]
        assert all("status=deferred" in line for _, line in results), results
        for protection in PROTECTED:
            assert not any(box.stolen(protection, secret) for secret, _ in results)


async def test_dig_delv_and_glibc_use_the_resolver_door() -> None:
    async with lined_up(Attack.NONE, ()) as lined:
        [at] = {each.address for each in lined.server.options.keys.resolver_listen}
        name = f"mx.{lined.box.world.sites[SiteProtection.DANE_EE].domain}"
        digged = await asyncio.to_thread(run, "dig", f"@{at}", name, "A", "+dnssec")
        assert "status: NOERROR" in digged
        assert " ad" in digged.partition("flags:")[2].partition(";")[0]
        assert "RRSIG" in digged
        anchors = lined.box.directory / "delv.anchors"
        anchors.write_text(delv_anchor(lined.box))
        for kind in ("A", "TXT"):
            arguments = (f"@{at}", "-a", str(anchors), "+root=.", name, kind)
            _, out, err = await asyncio.to_thread(try_run, "delv", *arguments)
            assert "fully validated" in out + err, (kind, out, err)
        script = f"nameserver {at}\n"
        resolved = await asyncio.to_thread(by_glibc, script, name, lined.box.directory)
        assert resolved == lined.box.berths.address(lined.box.world.sites[SiteProtection.DANE_EE].berth)


def delv_anchor(box: Box) -> str:
    """The root's key in delv's own form; the lab's anchor is a DS record."""
    tag, algorithm, digest_type, digest = box.anchor_file.read_text().split("DS", 1)[1].split(None, 3)
    return f'trust-anchors {{ . static-ds {tag} {algorithm} {digest_type} "{"".join(digest.split())}"; }};\n'


def by_glibc(resolv_conf: str, name: str, directory: Path) -> str:
    """What getaddrinfo(3) finds with another resolv.conf, in a mount name space of its own."""
    find("unshare")
    file = directory / "resolv.conf"
    file.write_text(resolv_conf)
    program = "import socket, sys; print(socket.getaddrinfo(sys.argv[1], 25, socket.AF_INET)[0][4][0])"
    script = f"mount --bind {file} /etc/resolv.conf && exec {sys.executable} -c '{program}' {name}"
    return run("unshare", "--mount", "sh", "-c", script).strip()


async def test_clients_off_this_machine_are_refused_unless_told() -> None:
    """A door on another address than loopback, asked from that address: it is not on the access list."""
    async with lined_up(Attack.NONE, ()) as lined:
        assert lined.server.options.resolver_door.allow
        client = lined.server.doors.resolver.client("192.0.2.1")
        assert client is None
        place = lined.server.options.keys.resolver_listen[0]
        reply = await asyncio.to_thread(dns.query.udp, query("example", "NS"), place.address, 10.0, place.port)
        assert reply.rcode() == dns.rcode.NOERROR
        assert not reply.flags & dns.flags.AD


EXIM = """\
exim_user = exim
exim_group = exim
primary_hostname = sender.lab.test
log_file_path = {directory}/%slog
spool_directory = {directory}/exim-spool
dns_dnssec_ok = 1
"""


def for_exim(directory: Path, resolver: str) -> None:
    """The files that Exim gets in place of the machine's own: it insists on a user of its own."""
    (directory / "exim.conf").write_text(EXIM.format(directory=directory))
    (directory / "resolv.conf").write_text(f"nameserver {resolver}\n{RESOLVER_OPTIONS}\n")
    for database, tail in (("passwd", "61000:61000::/:/bin/false"), ("group", "61000:")):
        text = Path("/etc", database).read_text()
        (directory / database).write_text(f"{text}exim:x:{tail}\nDebian-exim:x:{tail}\n")


async def test_exim_finds_dnssec_through_the_resolver_door() -> None:
    """Exim asks for what must be signed (dnssec_require): it is there for the signed domain, and not for the other."""
    folder = unpacked("exim4-daemon-light", "usr/sbin/exim4")
    async with lined_up(Attack.NONE, ()) as lined:
        directory, sites = lined.box.directory, lined.box.world.sites
        at = lined.server.options.keys.resolver_listen[0].address
        for_exim(directory, at)
        binds = [f"mount --bind {directory / name} /etc/{name}" for name in ("resolv.conf", "passwd", "group")]
        signed, unsigned = (sites[each].domain for each in (SiteProtection.DANE_EE, SiteProtection.NONE))
        for domain, found in ((signed, f"10 mx.{signed}"), (unsigned, "Failed: ")):
            expression = f"${{lookup dnsdb{{dnssec_strict,mx={domain}}}{{$value}}{{}}}}"
            command = f"exec {folder}/usr/sbin/exim4 -C {directory}/exim.conf -be '{expression}'"
            script = " && ".join([*binds, command])
            printed = await asyncio.to_thread(run, "unshare", "--mount", "sh", "-c", script)
            assert printed.strip().startswith(found)
