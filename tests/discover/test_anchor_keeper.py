"""The keeper of the trust anchors, over the real resolver and a transport of our own."""

from dataclasses import replace
from pathlib import Path

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rrset
import pytest

from letterlock.discover.anchor_keeper import AnchorKeeper
from letterlock.queue.store import StoreFailed
from letterlock.resolver import LookupFailure, Resolver, Security, TrustAnchor
from letterlock.resolver.rollover import HOLD_DOWN_SECONDS, TrustPoint, begin, from_json
from letterlock.state import trust_points
from letterlock.state.trust_points import TrustPointFile
from tests.resolver.test_rollover import ROOT, START, Key, published


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Zone:
    """The root, as an upstream would answer for its keys."""

    def __init__(self, clock: Clock, *keys: Key) -> None:
        self.clock = clock
        self.keys = list(keys)
        self.revoked = False

    async def __call__(self, wire: bytes, tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query, recursion_available=True)
        records = [key.record(revoked=self.revoked) for key in self.keys]
        signed = published(*records, by=[(self.keys[0], records[0])], now=self.clock.time)
        response.answer.append(dns.rrset.from_rdata_list(ROOT, 172_800, list(signed.rrset)))
        response.answer.append(dns.rrset.from_rdata_list(ROOT, 172_800, signed.signatures))
        return response.to_wire()


def keeper_of(resolver: Resolver, directory: Path, clock: Clock) -> AnchorKeeper:
    keeper = AnchorKeeper(resolver, lambda zone, anchors: TrustPointFile(directory, zone, anchors), clock)
    keeper.restore()
    return keeper


def anchor(key: Key) -> TrustAnchor:
    return TrustAnchor(ROOT, dns.dnssec.make_ds(ROOT, key.record(), "SHA256"))


async def test_a_new_key_is_trusted_in_time_and_over_restarts(tmp_path: Path) -> None:
    clock, old, new = Clock(), Key(), Key()
    zone = Zone(clock, old, new)

    async def look() -> tuple[TrustAnchor, ...]:
        resolver = Resolver(zone, anchors=[anchor(old)], now=clock.now)
        keeper = keeper_of(resolver, tmp_path, clock)
        await keeper.look(ROOT)
        return resolver.anchors

    assert [each.record for each in await look()] == [old.record()]
    clock.time += HOLD_DOWN_SECONDS
    assert {each.record for each in await look()} == {old.record(), new.record()}
    after_restart = Resolver(zone, anchors=[anchor(old)], now=clock.now)
    keeper_of(after_restart, tmp_path, clock)
    assert {each.record for each in after_restart.anchors} == {old.record(), new.record()}


async def test_other_configured_anchors_begin_anew(tmp_path: Path) -> None:
    clock, old, new = Clock(), Key(), Key()
    await keeper_of(Resolver(Zone(clock, old), anchors=[anchor(old)], now=clock.now), tmp_path, clock).look(ROOT)
    other = Resolver(Zone(clock, new), anchors=[anchor(new)], now=clock.now)
    keeper_of(other, tmp_path, clock)
    assert other.anchors == (anchor(new),)


async def test_an_upstream_that_is_silent_changes_nothing(tmp_path: Path) -> None:
    async def silent(wire: bytes, tcp: bool) -> bytes:
        raise TimeoutError

    clock, old = Clock(), Key()
    resolver = Resolver(silent, anchors=[anchor(old)], now=clock.now)
    await keeper_of(resolver, tmp_path, clock).look(ROOT)
    assert resolver.anchors == (anchor(old),)


def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = TrustPointFile(tmp_path, ROOT, [anchor(Key())])
    file.change(lambda point: replace(point, check_at=1.0))
    [path] = tmp_path.glob("*.json")
    path.write_text("{")
    assert file.load() == begin(ROOT)
    assert not list(tmp_path.glob("*.json"))
    assert len(list(tmp_path.glob("*.damaged"))) == 1
    assert "set aside" in caplog.text


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    """It is not damaged: what it holds may be read again tomorrow."""
    file = TrustPointFile(tmp_path, ROOT, [anchor(Key())])
    file.change(lambda point: replace(point, check_at=1.0))
    [path] = tmp_path.glob("*.json")
    kept = path.rename(tmp_path / "kept")
    path.mkdir()
    with pytest.raises(StoreFailed, match="cannot read"):
        file.load()
    with pytest.raises(StoreFailed, match="cannot store"):
        file.change(lambda point: point)
    path.rmdir()
    kept.rename(path)
    assert file.load().check_at == 1.0


async def test_rfc5011_2_1_when_all_keys_are_revoked_nothing_is_trusted_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even after a restart, though the configuration still names the key; and names are no unsigned ones then."""
    clock, old = Clock(), Key()
    zone = Zone(clock, old)
    resolver = Resolver(zone, anchors=[anchor(old)], now=clock.now)
    keeper = keeper_of(resolver, tmp_path, clock)
    await keeper.look(ROOT)
    zone.revoked = True
    clock.time += 86_400
    await keeper.look(ROOT)
    assert resolver.anchors == ()
    assert "every trust anchor of . was revoked" in caplog.text
    after_restart = Resolver(zone, anchors=[anchor(old)], now=clock.now)
    keeper_of(after_restart, tmp_path, clock)
    assert after_restart.anchors == ()
    found = await after_restart.resolve("example.org", "A")
    assert isinstance(found, LookupFailure) or found.security is Security.INDETERMINATE


def test_a_reader_does_not_set_aside_what_another_process_has_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read the damaged file; by the time it acts, another has set that aside and stored what it saw."""
    key = Key()
    file = TrustPointFile(tmp_path, ROOT, [anchor(key)])
    file._path.write_text("{")
    seen = replace(begin(ROOT), check_at=5.0, seen_at=4.0)

    def reading(text: str) -> TrustPoint:
        monkeypatch.setattr(trust_points, "from_json", from_json)
        TrustPointFile(tmp_path, ROOT, [anchor(key)]).change(lambda _: seen)
        return from_json(text)

    monkeypatch.setattr(trust_points, "from_json", reading)
    assert file.load() == seen
    assert file.load() == seen
