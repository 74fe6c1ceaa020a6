"""docs/reference/mail-server-mistakes.md: what people get wrong about listeners, users, tables, rules and filters.

Each is answered with the file, the line, the key and a hint.
"""

import re
from pathlib import Path

import pytest

from letterlock.accounts.user_file import new_file, write_users
from letterlock.config import BadConfig, load
from tests.certificates import self_signed

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mail-server-mistakes.md"
SHOWN_IN = "/etc/letterlock"
LEAST = 30  # as many as the page has to have
EXAMPLE = re.compile(r"^### \d+\. ([^\n]+)\n\n```\n(.+?)```\n\n```\n(.+?)```", re.MULTILINE | re.DOTALL)
EXAMPLES = EXAMPLE.findall(PAGE.read_text())
ANSWER = re.compile(r"/etc/letterlock/letterlock\.toml:\d+: [^\n]+\n  [^\n]+\n  hint: [^\n]+\n")


@pytest.fixture(name="directory", scope="module")
def directory_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    directory = tmp_path_factory.mktemp("mistakes")
    self_signed("mx.example.org").write(directory, "cert")
    write_users(directory / "users", new_file())
    (directory / "broken-users").write_text("ann@example.org secret\n")
    for name, text, mode in (
        ("password", "secret", 0o600),
        ("open-password", "secret", 0o644),
        ("short", "0123456789", 0o600),
    ):
        (directory / name).write_text(f"{text}\n")
        (directory / name).chmod(mode)
    return directory


def test_the_page_has_thirty_and_each_is_an_example() -> None:
    numbers = re.findall(r"^### (\d+)\. ", PAGE.read_text(), re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(EXAMPLES) + 1)]
    assert len(EXAMPLES) >= LEAST


@pytest.mark.parametrize(
    ("text", "message"), [pytest.param(text, message, id=title) for title, text, message in EXAMPLES]
)
def test_it_is_answered_with_file_line_key_and_hint(directory: Path, text: str, message: str) -> None:
    path = directory / "letterlock.toml"
    path.write_text(text)
    with pytest.raises(BadConfig) as caught:
        load(path)
    assert str(caught.value).replace(str(directory), SHOWN_IN) == message.rstrip()
    *answers, end = message.splitlines(keepends=True)
    assert ANSWER.sub("", "".join(answers)) == ""
    assert end.endswith("Nothing was started.\n")
