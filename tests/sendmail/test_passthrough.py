"""`-bs`: SMTP on standard input and output."""

import asyncio
import os
import sys
from pathlib import Path

from tests.sendmail.running import Desk, desk, run, write_config

BATCH = b"EHLO a.example\nMAIL FROM:<ann@example.org>\nRCPT TO:<bob@example.net>\nDATA\nSubject: s\n\n..x\n.\nQUIT\n"


def codes(out: str) -> list[str]:
    return [line[:3] for line in out.splitlines() if line[3:4] == " "]


async def test_a_batch_of_commands_is_sent_in_step(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-bs", stdin=BATCH)
        _, body = user.message()
    assert (ran.status, codes(ran.out)) == (0, ["220", "250", "250", "250", "354", "250", "221"])
    assert body == b"Subject: s\r\n\r\n.x\r\n"


async def test_what_follows_a_refused_data_is_not_taken_for_commands(tmp_path: Path) -> None:
    message = b"Subject: s\n\nMAIL FROM:<mallory@example.org>\nRCPT TO:<eve@example.net>\nDATA\nforged\n.\n"
    batch = BATCH.replace(b"bob@example.net", b"x@-.-").replace(b"Subject: s\n\n..x\n", message)
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-bs", stdin=batch)
        assert not user.kept
    assert (ran.status, codes(ran.out)) == (69, ["220", "250", "250", "501", "554", "500", "221"])


async def test_a_message_without_its_end_is_not_sent(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-bs", stdin=BATCH.partition(b"\n.\n")[0])
        assert (ran.status, "was not sent" in ran.err) == (66, True)
        assert not user.kept


async def test_starttls_is_neither_offered_nor_passed_on(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-bs", stdin=b"EHLO a.example\r\nSTARTTLS\r\nQUIT\r\n")
    assert "250-SIZE" in ran.out
    assert "250-STARTTLS" not in ran.out
    assert codes(ran.out) == ["220", "250", "502", "221"]


async def test_rfc3030_2_chunking_is_neither_offered_nor_passed_on(tmp_path: Path) -> None:
    batch = b"EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.net>\r\nBDAT 6 LAST\r\nhello\n"
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-bs", stdin=batch)
        assert not user.kept
    assert "CHUNKING" not in ran.out
    assert (ran.status, codes(ran.out)) == (69, ["220", "250", "250", "250", "502"])


async def test_after_a_refused_data_a_program_that_waits_goes_on(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        talk = await _Talk.start(user)
        await talk.say(b"EHLO a.example\r\n")
        await talk.say(b"MAIL FROM:<>\r\n")
        assert (await talk.say(b"RCPT TO:<x@-.->\r\n"))[:3] == b"501"
        assert (await talk.say(b"DATA\r\n"))[:3] == b"554"
        assert (await talk.say(b"BDAT 3\r\n"))[:3] == b"502"
        for line, code in ((b"RCPT TO:<bob@example.net>", b"250"), (b"DATA", b"354"), (b"hi\r\n.", b"250")):
            assert (await talk.say(line + b"\r\n"))[:3] == code
        assert (await talk.say(b"QUIT\r\n"))[:3] == b"221"
        assert await talk.process.wait() == 69
        assert len(user.kept) == 1


async def test_after_a_refused_message_of_a_batch_the_next_one_is_sent(tmp_path: Path) -> None:
    second = BATCH.partition(b"\n")[2]
    batch = BATCH.replace(b"bob@example.net", b"x@-.-").replace(b"QUIT\n", b"RSET\n") + second
    async with desk(tmp_path) as user:
        ran = await user.sendmail("-bs", stdin=batch)
        assert len(user.kept) == 1
    assert ran.status == 69


async def test_without_a_server_it_is_ex_tempfail(tmp_path: Path) -> None:
    config = write_config(tmp_path, ("127.0.0.1", 1))
    assert (await run("command", "-bs", stdin=BATCH, home=tmp_path, config=config)).status == 75


async def test_a_program_that_waits_for_each_reply_sends_two_messages(tmp_path: Path) -> None:
    async with desk(tmp_path) as user:
        talk = await _Talk.start(user)
        assert (await talk.say(b"EHLO a.example\r\n"))[:3] == b"250"
        for _ in range(2):
            for line, code in ((b"MAIL FROM:<>", b"250"), (b"RCPT TO:<bob@example.net>", b"250"), (b"DATA", b"354")):
                assert (await talk.say(line + b"\r\n"))[:3] == code
            assert (await talk.say(b"hi\r\n.\r\n"))[:3] == b"250"
        assert (await talk.say(b"QUIT\r\n"))[:3] == b"221"
        assert await talk.process.wait() == 0
        assert len(user.kept) == 2


class _Talk:
    """A session with the command, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, user: Desk) -> "_Talk":
        script = "import sys; from letterlock.sendmail.command import main; sys.exit(main())"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            "-bs",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "LETTERLOCK_CONFIG": str(user.config)},
        )
        talk = cls(process)
        assert (await talk._reply())[:3] == b"220"
        return talk

    async def say(self, line: bytes) -> bytes:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        return await self._reply()

    async def _reply(self) -> bytes:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            while (line := await self.process.stdout.readline())[3:4] == b"-":
                pass
        return line
