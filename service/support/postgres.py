"""Postgres as the ledger uses it: named queries, transactions, and one kind of error."""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from quicksilver.errors import LedgerRightsError, LedgerUnavailableError
from quicksilver.support.statements import statement

Row = DictRow

# Keepalives probe an idle connection. While sent data is unacknowledged they are silent, and the
# kernel resends it for a quarter of an hour: `tcp_user_timeout`, in milliseconds, ends that.
# Postgres' own time limits do not run between the statements of a pipeline.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
_USER_TIMEOUT = {"tcp_user_timeout": 15_000}
_SERVER = {f"tcp_{name}": value for name, value in _KEEPALIVES.items()} | _USER_TIMEOUT

# The name of a query, and its parameters.
Statement = tuple[str, dict[str, Any]]


def conninfo(url: str, *options: str, **parameters: Any) -> str:
    """How to connect to a URL, with settings of the session (`-c name=value`) beside its own.

    A host that vanishes closes no connection. With these settings either end notices within half a
    minute instead of hours, stops waiting and releases its locks.
    """
    own = conninfo_to_dict(url).get("options") or os.environ.get("PGOPTIONS", "")
    liveness = (f"-c {name}={value}" for name, value in _SERVER.items())
    together = " ".join((str(own), *liveness, *options)).strip()
    return make_conninfo(url, options=together, **_KEEPALIVES, **_USER_TIMEOUT, **parameters)


_DictConnection = cast("type[psycopg.AsyncConnection[DictRow]]", psycopg.AsyncConnection)


class Transaction:
    """One open transaction; runs registered statements by their name."""

    def __init__(self, connection: psycopg.AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def run(self, name: str, /, **parameters: Any) -> int:
        """Run a statement; the number of rows it changed."""
        return (await self._connection.execute(statement(name), parameters)).rowcount

    async def fetch(self, name: str, /, **parameters: Any) -> list[Row]:
        """Run a statement; all of its rows."""
        return await (await self._connection.execute(statement(name), parameters)).fetchall()

    async def fetch_together(self, statements: Sequence[Statement], /) -> list[list[Row]]:
        """Run statements in their order and in one round trip; the rows of each."""
        async with self._connection.pipeline():
            cursors = [
                await self._connection.execute(statement(name), parameters)
                for name, parameters in statements
            ]
            return [await cursor.fetchall() for cursor in cursors]

    async def run_together(self, statements: Sequence[Statement], /) -> None:
        """Run statements in their order and in one round trip."""
        async with self._connection.pipeline():
            for name, parameters in statements:
                await self._connection.execute(statement(name), parameters)

    async def one(self, name: str, /, **parameters: Any) -> Row | None:
        """Run a statement; its first row or None."""
        return await (await self._connection.execute(statement(name), parameters)).fetchone()


@asynccontextmanager
async def translated() -> AsyncGenerator[None]:
    """Transient driver errors become `LedgerUnavailableError`; others are bugs and stay."""
    try:
        yield
    except (PoolTimeout, PoolClosed, psycopg.OperationalError, psycopg.InterfaceError) as error:
        # Class 53 (disk full, too many connections) is an OperationalError of psycopg's too.
        raise LedgerUnavailableError(f"the ledger does not answer: {_first(error)}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise LedgerRightsError(
            f"the ledger's role lacks a right: {_first(error)};"
            " apply compose/roles.sql, or grant it"
        ) from error
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise LedgerUnavailableError("the ledger is read-only: is it a standby?") from error


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


class Database:
    """A pool of connections to one Postgres; open it before use, close it after."""

    def __init__(self, url: str, *, size: int = 8, application: str = "quicksilver") -> None:
        self.url = url
        self._pool = AsyncConnectionPool[psycopg.AsyncConnection[DictRow]](
            conninfo(
                url,
                # Bounds every wait on a Postgres that hangs instead of failing.
                "-c statement_timeout=15s",
                "-c idle_in_transaction_session_timeout=60s",
                application_name=application,
                connect_timeout=5,
            ),
            connection_class=_DictConnection,
            min_size=1,
            max_size=size,
            open=False,
            # Long enough for a Postgres that restarts, short enough for a sender that waits.
            timeout=5.0,
            # The pool doubles its wait after every failure, without a cap: after an hour without
            # Postgres it would look again in an hour. Given up soon, the next request starts anew.
            reconnect_timeout=4.0,
            check=cast("Any", AsyncConnectionPool.check_connection),
            kwargs={"autocommit": True, "row_factory": dict_row},
        )

    async def open(self) -> None:
        """Start the pool; does not wait for the first connection."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction]:
        """A transaction: commits at the end, rolls back on any error.

        Raises:
            LedgerUnavailableError: the database is down, full or read-only.
        """
        async with (
            translated(),
            self._pool.connection() as connection,
            connection.transaction(),
        ):
            yield Transaction(connection)
