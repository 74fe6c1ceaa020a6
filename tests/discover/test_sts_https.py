"""From the TXT record to the remembered policy, over real TLS on loopback (RFC 8461 sections 3.3, 5.1 and 10.2)."""

from functools import partial
from pathlib import Path

import dns.rdatatype

from letterlock.discover.sts_finder import StsFinder
from letterlock.mtasts import FetchFailure, Known, Mode, PolicyTrouble, PolicyUnavailable, StsEvidence
from letterlock.net.dial import TcpDialer
from letterlock.net.https import fetch_policy
from letterlock.resolver.answer import Answer
from letterlock.state.policies import PolicyStore
from tests.certificates import Credential, authority
from tests.net.https_servers import GOOD, NOW, POLICY, ROOTS, Script, ok, saying, serving
from tests.policy.evidence import answer


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Domain:
    """example.org and what its DNS says: a policy id, and a policy host on loopback."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.id = "1"

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer:
        if rdtype is dns.rdatatype.TXT:
            return answer(name, "TXT", f'"v=STSv1; id={self.id}"')
        if rdtype is dns.rdatatype.A:
            return answer(name, "A", "127.0.0.1")
        return answer(name, "AAAA")

    async def find(
        self, script: Script, credential: Credential = GOOD, requests: list[bytes] | None = None
    ) -> StsEvidence:
        """What a sender finds that was started just now, while the policy host is served like this."""
        store = PolicyStore.open(self.directory)
        async with serving(script, self.directory, credential) as server:
            fetch = partial(
                fetch_policy,
                roots=ROOTS,
                clock=self.clock,
                connect=TcpDialer().dial,
                port=server.port,
                deadline_seconds=5,
            )
            finder = StsFinder(self, fetch, store, self.clock, lambda: 0.0)
            found = await finder.find("example.org")
            await finder.close()
        if requests is not None:
            requests += server.requests
        await store.close()
        return found


async def test_rfc8461_5_1_a_policy_is_found_held_against_attackers_and_replaced_by_its_domain(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    first = await domain.find(saying(ok()))
    assert isinstance(first, Known)
    assert (first.policy.mode, first.policy.mx, first.from_cache) == (Mode.ENFORCE, ("mx.example.org",), False)

    weaker = saying(ok(POLICY.replace(b"enforce", b"none")))
    domain.id = "2"
    impostor = authority("Somebody else").leaf("mta-sts.example.org")
    attacked = await domain.find(weaker, impostor)
    assert isinstance(attacked, Known)
    assert (attacked.policy, attacked.id, attacked.from_cache) == (first.policy, "1", True)
    assert (attacked.sign, attacked.suspicious) == (PolicyTrouble.UPDATE_FAILED, True)

    domain.clock.time += 300
    replaced = await domain.find(weaker)
    assert isinstance(replaced, Known)
    assert (replaced.policy.mode, replaced.id, replaced.suspicious) == (Mode.NONE, "2", False)


async def test_rfc8461_3_3_what_http_says_of_caching_counts_for_nothing(tmp_path: Path) -> None:
    """A new id is fetched at once, and asked for without conditions, whatever the last answer was to be kept for."""
    domain = Domain(tmp_path)
    requests: list[bytes] = []
    for domain.id, mode in (("1", b"enforce"), ("2", b"none")):
        cached = ok(POLICY.replace(b"enforce", mode), "Cache-Control: max-age=31536000, immutable", 'ETag: "same"')
        found = await domain.find(saying(cached), requests=requests)
        assert isinstance(found, Known)
        assert (found.id, found.policy.mode) == (domain.id, Mode(mode.decode()))
    first, second = requests
    assert first == second
    assert b"\r\nif-" not in second.lower()


async def test_rfc8460_4_3_2_2_what_a_fetch_failed_with_is_known(tmp_path: Path) -> None:
    kinds = []
    for script, credential in (
        (saying(ok(status="404 Not Found")), GOOD),
        (saying(ok()), authority("Somebody else").leaf("mta-sts.example.org")),
        (saying(ok(b"<html>")), GOOD),
    ):
        found = await Domain(tmp_path).find(script, credential)
        assert isinstance(found, PolicyUnavailable)
        kinds.append(found.kind)
    assert kinds == [FetchFailure.FETCH, FetchFailure.WEBPKI, FetchFailure.INVALID]
