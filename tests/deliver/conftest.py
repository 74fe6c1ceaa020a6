"""Servers' certificates, and a dialer whose servers end with the test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.net.tls import ServerContext
from tests.certificates import Credential, authority
from tests.deliver.world import MemoryDialer


@pytest.fixture(scope="session")
def credential() -> Credential:
    """The certificate of mx.example.org."""
    return authority().leaf("mx.example.org")


@pytest.fixture(scope="session")
def context(credential: Credential, tmp_path_factory: pytest.TempPathFactory) -> ServerContext:
    """The same, ready to serve."""
    directory: Path = tmp_path_factory.mktemp("certificates")
    return ServerContext.load(*credential.write(directory))


@pytest.fixture
async def dialer() -> AsyncIterator[MemoryDialer]:
    """Outgoing connections to servers in memory."""
    dialer = MemoryDialer()
    yield dialer
    await dialer.aclose()
