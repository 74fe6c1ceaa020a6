"""A connection to a filter that speaks the milter protocol."""

import asyncio
from collections.abc import Mapping

from letterlock.milter.answers import Change, FilterAnswer, Progress, Verdict, read_answer
from letterlock.milter.frames import (
    NOTHING_AGREED,
    BadFrame,
    FilterCommand,
    FrameReader,
    frame,
    macros,
    options,
    read_options,
)
from letterlock.net.service_address import ServiceAddress

READ_OCTETS = 1 << 16  # chosen: as large as a chunk of a body
MAX_CHANGES = 10_000  # of one message: headers and recipients; parts of a body are bounded by their size
MAX_PROGRESS_SECONDS = 600.0  # how long a filter may ask for more time: a client waits ten minutes after its last dot


class MilterFailed(Exception):
    """The filter cannot be used; `str()` says why."""


class MilterLink:
    """One connection. After MilterFailed it is of no more use."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, seconds: float, max_body_octets: int
    ) -> None:
        """`seconds`: how long one answer may take."""
        self._reader = reader
        self._writer = writer
        self._seconds = seconds
        self._max_body_octets = max_body_octets
        self._frames = FrameReader()
        self.agreed = NOTHING_AGREED

    @classmethod
    async def open(cls, address: ServiceAddress, *, seconds: float, max_body_octets: int) -> "MilterLink":
        """Connect and agree on options. Raises MilterFailed."""
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await address.connect()
        except OSError as error:
            raise MilterFailed(f"{address}: {_why(error)}") from None
        link = cls(reader, writer, seconds=seconds, max_body_octets=max_body_octets)
        try:
            await link.send(options())
            link.agreed = read_options(*await link._frame())
        except (BadFrame, MilterFailed) as error:
            link.close()
            raise MilterFailed(f"{address}: {error}") from None
        return link

    def close(self) -> None:
        """Say goodbye, without waiting."""
        if not self._writer.is_closing():
            self._writer.write(frame(FilterCommand.QUIT))
            self._writer.close()

    async def send(self, data: bytes) -> None:
        """Send frames. Raises MilterFailed."""
        try:
            async with asyncio.timeout(self._seconds):
                self._writer.write(data)
                await self._writer.drain()
        except OSError as error:
            raise MilterFailed(_why(error)) from None

    async def ask(
        self, command: FilterCommand, request: bytes, values: Mapping[str, str] | None = None
    ) -> FilterAnswer:
        """Send one command with its macros, and read the answer; CONTINUE where none is due. Raises MilterFailed."""
        if not self.agreed.wants(command):
            return _CONTINUE
        await self.send(macros(command, values, self.agreed) + request if values else request)
        return await self.answer() if self.agreed.answers(command) else _CONTINUE

    async def answer(self) -> FilterAnswer:
        """The answer to a command, before the end of the message. Raises MilterFailed."""
        read = await self._answer(at_end=False)
        if not isinstance(read, FilterAnswer):
            raise MilterFailed("it changes a message before its end")
        return read

    async def end(self, values: Mapping[str, str]) -> tuple[list[Change], FilterAnswer]:
        """Say that the message has ended; the changes and the verdict. Raises MilterFailed."""
        command = FilterCommand.END_OF_BODY
        await self.send(macros(command, values, self.agreed) + frame(command))
        changes, octets = list[Change](), 0
        while not isinstance(read := await self._answer(at_end=True), FilterAnswer):
            octets += len(getattr(read, "part", b""))
            changes.append(read)
            # a new body comes in pieces; these are the smallest that make sense
            if len(changes) > MAX_CHANGES + octets // 1024 or octets > self._max_body_octets:
                raise MilterFailed("its changes exceed the limits")
        return changes, read

    async def _answer(self, *, at_end: bool) -> FilterAnswer | Change:
        loop = asyncio.get_running_loop()
        until = loop.time() + MAX_PROGRESS_SECONDS
        while loop.time() < until:
            try:
                read = read_answer(*await self._frame(), self.agreed, at_end=at_end)
            except BadFrame as error:
                raise MilterFailed(str(error)) from None
            if isinstance(read, Progress):
                continue
            if isinstance(read, FilterAnswer) and read.verdict is Verdict.FAIL:
                raise MilterFailed("it reports a failure")
            return read
        raise MilterFailed(f"no answer within {MAX_PROGRESS_SECONDS:g} seconds")

    async def _frame(self) -> tuple[str, bytes]:
        try:
            async with asyncio.timeout(self._seconds):
                while (found := self._frames.next_frame()) is None:
                    data = await self._reader.read(READ_OCTETS)
                    if not data:
                        raise MilterFailed("it closed the connection")
                    self._frames.feed(data)
                return found
        except BadFrame as error:
            raise MilterFailed(str(error)) from None
        except OSError as error:
            raise MilterFailed(_why(error)) from None


_CONTINUE = FilterAnswer(Verdict.CONTINUE)


def _why(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else (error.strerror or str(error))
