"""The metrics of a running server: over all workers, on the endpoint, and after a worker was killed."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from letterlock.app.binding import StartFailed, bind_metrics
from letterlock.app.history import History
from letterlock.app.measuring import Meter, MetricsPlace
from letterlock.app.vitals import vitals
from letterlock.config import BadConfig, parse
from letterlock.metrics.catalogue import LIMITS, LOOKUP_RESULTS
from letterlock.receive import session_counts
from letterlock.resolver.answer import FailureKind, Security
from tests.app.test_supervisor import SECONDS, Running, arrived, configuration, free_port, send, serving
from tests.soak.sink import Sink


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS) as answer:
        text: bytes = answer.read()
    return text.decode()


def value(text: str, series: str) -> float:
    (found,) = [line for line in text.splitlines() if line.startswith(f"{series} ")]
    return float(found.rpartition(" ")[2])


async def until(port: int, series: str, least: float) -> str:
    """Scrape until a series has grown."""
    async with asyncio.timeout(SECONDS):
        while value(text := await asyncio.to_thread(scraped, port), series) < least:  # noqa: ASYNC110  # over HTTP
            await asyncio.sleep(0.2)
    return text


def check_by_promtool(text: str) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is part of Debian's prometheus"
    command = promtool, "check", "metrics"
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def free_metrics_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def test_metrics_are_summed_over_workers_and_outlive_a_killed_one(tmp_path: Path) -> None:
    metrics = free_metrics_port()
    with Sink("127.0.0.1") as sink, free_port() as port:
        config = configuration(tmp_path, port, sink.port, "2")
        with config.open("a") as file:
            file.write(f'[metrics]\nlisten = "127.0.0.1:{metrics}"\n')
        async with serving(config) as server:
            await asyncio.to_thread(send, port, *range(20))
            await arrived(sink, 20)
            text = await until(metrics, 'letterlock_deliveries_total{result="delivered",protection="clear"}', 20)
            assert value(text, 'letterlock_messages_received_total{source="client"}') == 20
            assert value(text, "letterlock_inbound_connections_total") == 20
            assert value(text, 'letterlock_workers{state="alive"}') == 2
            await _kill_one(server)
            text = await until(metrics, "letterlock_worker_starts_total", 3)
            assert value(text, 'letterlock_messages_received_total{source="client"}') == 20, "sums never fall"
            await asyncio.to_thread(send, port, *range(20, 40))
            await arrived(sink, 40)
            text = await until(metrics, 'letterlock_deliveries_total{result="delivered",protection="clear"}', 40)
            assert value(text, 'letterlock_messages_received_total{source="client"}') == 40
            await asyncio.to_thread(check_by_promtool, text)
            assert await server.stop() == 0


async def _kill_one(server: Running) -> None:
    os.kill(min(server.workers()), signal.SIGKILL)
    await server.until("started again")


def test_no_endpoint_is_the_default_and_a_public_one_has_to_be_asked_for() -> None:
    assert parse("", "t").metrics.listen is None
    with pytest.raises(BadConfig, match="reached from other machines"):
        parse('[metrics]\nlisten = "192.0.2.1:9725"', "t")
    assert str(parse('[metrics]\nlisten = "192.0.2.1:9725"\npublic = true', "t").metrics.listen) == "192.0.2.1:9725"
    for text in ("unix:", "9725", "localhost:9725", ":9725"):
        with pytest.raises(BadConfig, match="unix:/run/letterlock"):
            parse(f'[metrics]\nlisten = "{text}"', "t")


def test_names_by_which_the_endpoint_may_be_asked_are_configured_and_follow_a_reload() -> None:
    text = '[metrics]\nlisten = "127.0.0.1:9725"\nhost_names = ["Mail.Example.org"]\n'
    options = parse(f'hostname = "mx.example.org"\n{text}', "t")
    meter = Meter(MetricsPlace(), lambda: options)
    assert meter.names() == frozenset(("mx.example.org", "mail.example.org"))
    options = parse('hostname = "mx.example.org"\n[metrics]\nlisten = "unix:/run/metrics"', "t")
    assert meter.names() is None
    with pytest.raises(BadConfig, match="host_names"):
        parse('[metrics]\nhost_names = ["http://x/"]', "t")


def test_a_socket_replaces_one_that_is_left_over_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    options = parse(f'[metrics]\nlisten = "unix:{path}"', "t")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with bind_metrics(options) as listening:
        assert listening is not None
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(StartFailed, match="in use"), bind_metrics(options):
            pass
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(StartFailed, match="in use"), bind_metrics(options):
        pass
    assert path.read_text() == "precious"


def test_the_growth_of_an_hour_is_that_of_an_hour() -> None:
    history = History(0.0, [0.0])
    for minute in range(1, 600):
        history.look(minute * 60.0, partial(list, [minute * 10.0]))
        history.look(minute * 60.0 + 59.0, lambda: pytest.fail("read in vain"))
    span = history.since(3_600.0, 600 * 60.0, [6_000.0])
    assert (span.seconds, span.grown) == (3_600.0, (600.0,))
    young = History(0.0, [5.0]).since(3_600.0, 30.0, [9.0])
    assert (young.seconds, young.grown) == (30.0, (4.0,))


def test_this_process_has_vital_signs() -> None:
    found = vitals()
    assert found.cpu_seconds > 0
    assert found.resident_octets > 1 << 20
    assert 0 < found.open_fds <= found.max_fds


def test_what_is_found_out_has_its_series() -> None:
    assert set(session_counts.LIMITS.values()) <= set(LIMITS)
    assert {each.value for each in FailureKind} | {each.value for each in Security} - {"bogus"} <= set(LOOKUP_RESULTS)
