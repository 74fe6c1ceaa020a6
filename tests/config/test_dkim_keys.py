"""`[dkim]`: keys are read once, from files that nobody else can read."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from letterlock.config import BadConfig, load
from tests.mailauth.dkim.forging import rsa_key

TEXT = '[dkim."Example.org"]\nselectors = { r1 = "r1.pem", e1 = "e1.pem" }\n'


def write(path: Path, key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write(tmp_path / "r1.pem", rsa_key())
    write(tmp_path / "e1.pem", ed25519.Ed25519PrivateKey.generate())
    path = tmp_path / "letterlock.toml"
    path.write_text(TEXT)
    return path


def mistake(config: Path) -> tuple[int | None, str, str]:
    with pytest.raises(BadConfig) as caught:
        load(config)
    [found] = caught.value.mistakes
    return found.line, found.key, found.message


def test_a_domain_has_keys_by_selector(config: Path) -> None:
    signer = load(config).receive.signer
    assert signer is not None
    assert [(key.selector, key.algorithm) for key in signer.keys_for("example.org")] == [
        ("r1", "rsa-sha256"),
        ("e1", "ed25519-sha256"),
    ]


def test_without_a_table_nothing_is_signed() -> None:
    assert load(None).receive.signer is None


def test_commands_that_need_no_secrets_do_not_read_them(config: Path) -> None:
    (config.parent / "r1.pem").unlink()
    assert load(config, secrets=False).receive.signer is None


def test_a_key_that_others_can_read_is_a_mistake(config: Path) -> None:
    (config.parent / "e1.pem").chmod(0o644)
    line, key, message = mistake(config)
    assert (line, key) == (2, 'dkim."Example.org".selectors.e1')
    assert message.endswith("is a secret that others can read")


def test_rfc8301_3_2_a_key_that_cannot_sign_is_a_mistake(config: Path) -> None:
    write(config.parent / "e1.pem", ec.generate_private_key(ec.SECP256R1()))
    assert mistake(config)[2].endswith("cannot sign: it is neither an RSA nor an Ed25519 key")
    write(config.parent / "e1.pem", rsa.generate_private_key(65537, 1024))  # noqa: S505  # it is refused
    assert "the RSA key has 1024 bits" in mistake(config)[2]


def test_a_key_that_is_not_there_or_too_large_is_a_mistake(config: Path) -> None:
    (config.parent / "e1.pem").write_bytes(b"x" * 20_000)
    assert mistake(config)[2].endswith("is larger than 16384 bytes")
    (config.parent / "e1.pem").unlink()
    assert mistake(config)[2].endswith("cannot be read: No such file or directory")


def test_a_table_without_keys_is_a_mistake(config: Path) -> None:
    config.write_text('[dkim."example.org"]\nselectors = {}\n')
    assert mistake(config)[:2] == (2, 'dkim."example.org".selectors')
