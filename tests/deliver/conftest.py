"""Servers' certificates, and a dialer whose servers end with the test."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from letterlock.net.tls import ServerContext
from tests.certificates import Authority, Credential, authority
from tests.deliver.world import MemoryDialer


@pytest.fixture(scope="session")
def issuer() -> Authority:
    """The authority that all servers have their certificates from."""
    return authority()


@pytest.fixture(scope="session")
def credential(issuer: Authority) -> Credential:
    """The certificate of mx.example.org."""
    return issuer.leaf("mx.example.org")


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


class Ear(logging.Handler):
    """Hears what a logger says, whatever the handlers above it are."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append(record.getMessage())

    @property
    def text(self) -> str:
        """All that was heard."""
        return "\n".join(self.messages)


@pytest.fixture
def heard() -> Iterator[Ear]:
    """What delivery logs."""
    ear, log = Ear(), logging.getLogger("letterlock.deliver")
    level = log.level
    log.addHandler(ear)
    log.setLevel(logging.INFO)
    yield ear
    log.removeHandler(ear)
    log.setLevel(level)
