"""docs/reference/operator-mistakes.md shows what the program prints."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from letterlock.config import BadConfig, load
from tests.certificates import self_signed

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "operator-mistakes.md"
SHOWN_IN = "/etc/letterlock"
MISTAKES = 30
IN_THE_FILE = PAGE.read_text().partition("## In the file")[2].partition("\n## ")[0]
EXAMPLE = re.compile(r"^### \d+\. ([^\n]+)\n\n```\n(.+?)```\n\n```\n(.+?)```", re.MULTILINE | re.DOTALL)


@pytest.fixture(name="directory")
def directory_fixture(tmp_path: Path) -> Path:
    """A folder with the files that the page's examples name."""
    certificate, _ = self_signed("mx.example.org").write(tmp_path, "cert")
    certificate.replace(tmp_path / "cert.pem")
    _, key = self_signed("mx.example.org").write(tmp_path, "another")
    key.replace(tmp_path / "other.key")
    (tmp_path / "short.key").write_text("QUFBQUFBQUFBQUFBQUFBQQ==\n")
    (tmp_path / "short.key").chmod(0o600)
    pem = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "dkim.pem").write_bytes(pem)
    (tmp_path / "dkim.pem").chmod(0o644)
    return tmp_path


def test_the_page_has_thirty() -> None:
    numbers = re.findall(r"^### (\d+)\. ", PAGE.read_text(), re.MULTILINE)
    assert numbers == [str(number) for number in range(1, MISTAKES + 1)]
    assert len(EXAMPLE.findall(IN_THE_FILE)) == IN_THE_FILE.count("\n### ")


@pytest.mark.parametrize(
    ("text", "message"),
    [pytest.param(text, message, id=title) for title, text, message in EXAMPLE.findall(IN_THE_FILE)],
)
def test_the_message_is_the_one_on_the_page(directory: Path, text: str, message: str) -> None:
    path = directory / "letterlock.toml"
    path.write_text(text)
    with pytest.raises(BadConfig) as caught:
        load(path)
    assert str(caught.value).replace(str(directory), SHOWN_IN) == message.rstrip()
