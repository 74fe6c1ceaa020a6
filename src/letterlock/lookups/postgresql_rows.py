"""Rows that queries read from a PostgreSQL database. Only imported where a configuration has one: it needs psycopg.

Connections are kept and shared by all that ask a database. Nothing is prepared on the server, so that a pooler such as
pgbouncer may stand between.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict

from letterlock.lookups.queries import MAX_ROWS, LookupFailed, Row, in_one_line, with_percent_names

IDLE_SECONDS = 60.0  # then a connection ends: after a reload, those of the old configuration do so, too
STOP_SECONDS = 1.0  # for the server to stop a query that takes too long; then the connection is cut
RETRY_SECONDS = 1.0  # after a failure to connect: who asks meanwhile does not wait for the next one
Connection = psycopg.AsyncConnection[Row]


class BadConnectionText(ValueError):
    """The text is no connection string of libpq; `str()` says why, without the text."""


def check_connection_text(text: str) -> bool:
    """Whether a connection string has a password in it. Raises BadConnectionText."""
    try:
        return "password" in conninfo_to_dict(text)
    except psycopg.Error as error:
        raise BadConnectionText(in_one_line(str(error)).partition('"')[0].strip()) from None


class PostgresDatabase:
    """A database with its connections. `password` is asked for at each connection, so that it may change."""

    def __init__(
        self,
        name: str,
        connection_text: str,
        password: Callable[[], str | None],
        *,
        max_connections: int,
        seconds: float,
    ) -> None:
        """`name` is that of the configuration; `seconds` bound each question, connecting and waiting included."""
        self._name = name
        self._text = connection_text
        self._password = password
        self._seconds = seconds
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: list[Connection] = []
        self._used: dict[asyncio.Task[Any] | None, Connection] = {}
        self._stopping: set[asyncio.Task[list[Row]]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._failed_at = float("-inf")
        self._failure = ""

    async def rows(self, statement: str, values: Mapping[str, str]) -> list[Row]:
        """The rows that a statement of the driver's form finds. Raises LookupFailed."""
        asking = asyncio.create_task(self._ask_in_turn(statement, values))
        try:
            done, _ = await asyncio.wait({asking}, timeout=self._seconds)
        except asyncio.CancelledError:
            self._stop(asking)
            raise
        if not done:
            self._stop(asking)
            raise LookupFailed(f"database {self._name}: no answer within {self._seconds:g} seconds")
        try:
            return asking.result()
        except (psycopg.Error, OSError) as error:
            raise LookupFailed(f"database {self._name}: {in_one_line(str(error))}") from None

    def _stop(self, asking: asyncio.Task[list[Row]]) -> None:
        """Have the server stop, too. Nobody waits for it: a server that does not answer that either is cut off."""
        asking.cancel()
        self._stopping.add(asking)
        asking.add_done_callback(self._stopped)
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._cut_off, asking)

    def _stopped(self, asking: asyncio.Task[list[Row]]) -> None:
        self._stopping.discard(asking)
        if not asking.cancelled():
            asking.exception()  # whatever it was, nobody asks any more

    def _cut_off(self, asking: asyncio.Task[list[Row]]) -> None:
        connection = self._used.get(asking)
        if connection is not None and not connection.closed:
            # the server has closed it already
            with socket.socket(fileno=os.dup(connection.fileno())) as same, suppress(OSError):
                same.shutdown(socket.SHUT_RDWR)

    async def _ask_in_turn(self, statement: str, values: Mapping[str, str]) -> list[Row]:
        async with self._slots:
            return await self._ask(statement, values)

    async def _ask(self, statement: str, values: Mapping[str, str]) -> list[Row]:
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._rows(connection, statement, values)
            except psycopg.OperationalError:
                if not connection.closed:  # the query failed, and not the connection
                    raise
        return await self._rows(await self._connect(), statement, values)

    async def _rows(self, connection: Connection, statement: str, values: Mapping[str, str]) -> list[Row]:
        rows: list[Row] = []
        whole, task = False, asyncio.current_task()
        self._used[task] = connection
        try:
            async with connection.cursor() as cursor:
                found = cast("AsyncGenerator[Row]", cursor.stream(statement, values))
                async with aclosing(found):
                    async for row in found:
                        rows.append(row)
                        if len(rows) > MAX_ROWS:
                            raise LookupFailed(f"database {self._name}: more than {MAX_ROWS} rows")
            whole = True
        except psycopg.ProgrammingError:
            whole = True  # the server has refused the query, and waits for the next
            raise
        finally:
            del self._used[task]
            self._keep(connection, whole=whole)
        return rows

    def _keep(self, connection: Connection, *, whole: bool) -> None:
        if not whole or connection.closed:
            connection.pgconn.finish()
            return
        self._idle.append(connection)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.close)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        if loop.time() < self._failed_at + RETRY_SECONDS:
            raise LookupFailed(self._failure)
        try:
            return await psycopg.AsyncConnection.connect(
                self._text, password=self._password(), autocommit=True, prepare_threshold=None
            )
        except (psycopg.Error, OSError) as error:
            self._failed_at = loop.time()
            self._failure = f"database {self._name}: {in_one_line(str(error))}"
            raise LookupFailed(self._failure) from None

    def close(self) -> None:
        """End the connections that nobody uses. Who asks later makes new ones."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in self._idle:
            connection.pgconn.finish()
        self._idle.clear()


class PostgresRows:
    """Runs one query in a database."""

    def __init__(self, database: PostgresDatabase, query: str) -> None:
        self._database = database
        self._statement = with_percent_names(query)

    async def rows(self, values: Mapping[str, str]) -> list[Row]:
        """The rows. Raises LookupFailed."""
        return await self._database.rows(self._statement, values)
