"""Several certificates on one listener, chosen by the name that the client asks for (SNI, RFC 6066 section 3)."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from letterlock.net.tls import ServerContext
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile, Role
from tests.certificates import authority
from tests.receive.world import world

OPTIONS = ReceiveOptions(hostname="mx.example.org")


def context(directory: Path, name: str) -> ServerContext:
    directory.mkdir()
    return ServerContext.load(*authority().leaf(name).write(directory))


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    usual = context(tmp_path / "usual", "mx.example.org")
    usual.choose_by_name()
    others = tuple(context(tmp_path / name.strip("*."), name) for name in ("mail.example.net", "*.example.com"))
    return Profile(role=Role.SUBMISSIONS, tls=usual, tls_by_name=others)


def shown(address: tuple[str, int], name: str | None) -> list[str]:
    """The names of the certificate that a client is shown."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address, timeout=20) as plain,
        trusting.wrap_socket(plain, server_hostname=name) as secure,
    ):
        octets = secure.getpeercert(binary_form=True)
    assert octets is not None
    names = x509.load_der_x509_certificate(octets).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize(
    ("asked_for", "expected"),
    [
        ("mail.example.net", "mail.example.net"),
        ("MAIL.example.NET", "mail.example.net"),
        ("a.example.com", "*.example.com"),
        ("a.b.example.com", "mx.example.org"),
        ("example.com", "mx.example.org"),
        ("mx.example.org", "mx.example.org"),
        ("unknown.test", "mx.example.org"),
        (None, "mx.example.org"),
    ],
)
async def test_rfc6066_3_a_client_gets_the_certificate_for_its_name(
    profile: Profile, asked_for: str | None, expected: str
) -> None:

    async with world(OPTIONS, profile) as running:
        assert await asyncio.to_thread(shown, running.address, asked_for) == [expected]
