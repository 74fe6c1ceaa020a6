"""How long `letterlock check` takes for many domains: `python -m bench.check [--domains 1000]`.

The domains are a lab's: a signed root and top-level domain, and below it in turn domains with DANE, with MTA-STS, with
nothing, and with a TLSA record that does not match. Each has a zone of its own (its own key and signatures where it is
signed), so nothing but the root and the top-level domain is asked for twice; those with MTA-STS have each a policy host
with a certificate of its own. Their name server, mail servers and policy hosts run in a process beside. The goal is 30
seconds for 1,000 domains on two cores.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.dns_server import serving
from letterlock.lab.issuing import Credential, issue, make_authority, make_self_signed
from letterlock.lab.loopback import Berths, reserved
from letterlock.lab.mail_server import MailServer
from letterlock.lab.namespace import NameSpace
from letterlock.lab.policy_server import PolicyServer
from letterlock.lab.raw_smtp import listening
from letterlock.lab.zones import Zone

GOAL_SECONDS = 30.0
KINDS = ("dane", "mta-sts", "nothing", "broken", "dane")
EXPECTED = {
    "dane": "protected",
    "mta-sts": "protected-once-known",
    "nothing": "unprotected",
    "broken": "held",
}
PROVIDER = "mx.provider.test"
MAIL, PROVIDER_MAIL, POLICIES, DNS = range(4)


@dataclass(frozen=True, slots=True)
class Lab:
    """What the measured command is told."""

    upstream: str
    port: int


def main() -> None:
    """Measure, print, and end with 1 if a verdict is wrong or the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.check", description=__doc__)
    parser.add_argument("--domains", type=int, default=1_000, help="how many (default: 1000)")
    parser.add_argument("--jobs", type=int, default=20, help="of them at a time (default: 20)")
    asked = parser.parse_args()
    names = [f"d{number:04}.test" for number in range(asked.domains)]
    with tempfile.TemporaryDirectory(prefix="letterlock-bench-") as folder:
        directory = Path(folder)
        ours, theirs = multiprocessing.Pipe()
        lab = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, directory, names), daemon=True)
        lab.start()
        try:
            found: Lab = ours.recv()
            seconds = _run(found, directory, names, asked.jobs)
        finally:
            ours.send(None)
            lab.join(10)
            lab.kill()
    goal = GOAL_SECONDS * asked.domains / 1_000
    print(f"the goal is {goal:.0f} s")
    raise SystemExit(seconds > goal)


def _run(lab: Lab, directory: Path, names: list[str], jobs: int) -> float:
    config = directory / "letterlock.toml"
    config.write_text(
        f'[resolver]\nupstream = ["{lab.upstream}"]\nanchors = ["{directory}/root.ds"]\n'
        f"[delivery]\nloopback_hosts = true\nport = {lab.port}\n"
        f'mta_sts_port = {lab.port}\npublic_roots = "{directory}/ca.pem"\n'
    )
    listed = directory / "domains"
    listed.write_text("\n".join(names))
    command = [sys.executable, "-m", "letterlock", "check", "--config", config, "--file", listed, "--jsonl"]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run([*map(str, command), "--jobs", str(jobs)], stdout=subprocess.PIPE, check=False)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    surveys = [json.loads(line) for line in ran.stdout.splitlines()]
    wrong = [
        f"{survey['domain']}: {survey['protection']}, not {EXPECTED[kind]}: {survey['summary']}"
        for number, survey in enumerate(surveys)
        if survey["protection"] != EXPECTED[kind := KINDS[number % len(KINDS)]]
    ]
    kinds = Counter(survey["protection"] for survey in surveys)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{len(surveys)} domains in {seconds:.1f} s, {cpu:.1f} s of CPU, {after.ru_maxrss // 1024} MB, {jobs} at a time"
    )
    print(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    if wrong or len(surveys) != len(names):
        print(f"{len(wrong)} verdicts are wrong, {len(names) - len(surveys)} are missing", *wrong[:5], sep="\n  ")
        raise SystemExit(1)
    return seconds


# --- the lab, in a process of its own --------------------------------------------------------------------------------


def _serve(pipe: Connection, directory: Path, names: list[str]) -> None:
    asyncio.run(_serve_until_told(pipe, directory, names))


async def _serve_until_told(pipe: Connection, directory: Path, names: list[str]) -> None:
    public = make_authority("Bench Public CA")
    (directory / "ca.pem").write_bytes(public.pem)
    shared, provider = make_self_signed("mx.test"), issue(public, PROVIDER)
    async with AsyncExitStack() as stack:
        berths = stack.enter_context(reserved(4))
        space = NameSpace(_zones(names, berths, shared))
        (directory / "root.ds").write_text(space.anchor())
        for berth, credential in ((MAIL, shared), (PROVIDER_MAIL, provider)):
            server = MailServer(PROVIDER, credential.server_context(directory))
            await stack.enter_async_context(listening(berths.sockets[berth], server.talk))
        policy = f"version: STSv1\nmode: enforce\nmx: {PROVIDER}\nmax_age: 604800\n".encode()
        policies = PolicyServer(_by_name(names, public, directory), lambda _host: policy)
        await stack.enter_async_context(listening(berths.sockets[POLICIES], policies.talk))
        port = await stack.enter_async_context(serving(berths.address(DNS), space.answer))
        pipe.send(Lab(f"{berths.address(DNS)}:{port}", berths.port))
        await asyncio.to_thread(pipe.recv)


def _zones(names: list[str], berths: Berths, shared: Credential) -> list[Zone]:
    root, test = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make())
    root.delegate(test)
    test.add("ns.nic", "A", berths.address(DNS))
    test.add("mx.provider", "A", berths.address(PROVIDER_MAIL))
    children = [_zone(name, KINDS[number % len(KINDS)], berths, shared) for number, name in enumerate(names)]
    for child in children:
        test.delegate(child)
    for zone in (root, test, *children):
        zone.publish(Validity.around(time.time()))
    return [root, test, *children]


def _zone(name: str, kind: str, berths: Berths, shared: Credential) -> Zone:
    zone = Zone(f"{name}.", key=ZoneKey.make() if kind in ("dane", "broken") else None)
    if kind == "mta-sts":
        zone.add("@", "MX", f"10 {PROVIDER}.")
        zone.add("_mta-sts", "TXT", '"v=STSv1; id=1;"')
        zone.add("mta-sts", "A", berths.address(POLICIES))
        return zone
    zone.add("@", "MX", "10 mx")
    zone.add("mx", "A", berths.address(MAIL))
    if kind == "dane":
        zone.add(f"_{berths.port}._tcp.mx", "TLSA", shared.tlsa_end_entity())
    elif kind == "broken":
        zone.add(f"_{berths.port}._tcp.mx", "TLSA", "3 1 1 " + "ab" * 32)
    return zone


def _by_name(names: list[str], public: Credential, directory: Path) -> ssl.SSLContext:
    """A context that shows, to whoever asks for a policy host by name, the certificate of that host."""
    hosts = [f"mta-sts.{name}" for number, name in enumerate(names) if KINDS[number % len(KINDS)] == "mta-sts"]
    contexts = {host: issue(public, host).server_context(directory) for host in hosts}
    context = issue(public, "mta-sts.test").server_context(directory)

    def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        if name in contexts:
            connection.context = contexts[name]

    context.sni_callback = choose
    return context


if __name__ == "__main__":
    main()
