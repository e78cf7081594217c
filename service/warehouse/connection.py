"""The warehouse as builds and the settler meet over it: connections, the fence, the last word.

A partition's fence row names the one build that may publish it. `take` gives it to a newer build,
`settle` takes it away for good, `publish` (in `warehouse.publish`) checks it in the transaction
that changes silver. All three lock the same row, so each sees the others' outcome or none of it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from psycopg.rows import DictRow, dict_row

from quicksilver.domain.partition import Partition
from quicksilver.errors import WarehouseUnavailableError
from quicksilver.settings import Settings
from quicksilver.support.postgres import conninfo
from quicksilver.support.statements import statement

# Two processes may prepare the warehouse, or add a column, at once: one at a time, please.
DDL_LOCK = 0x51_53_44_4C

# For sessions that write scratch tables only: what a crash takes from them nobody misses, and the
# publish, which waits for the disk, waits for everything before it too. A full month sorts and
# hashes millions of rows; the default of 4 MB would send all of them through temporary files.
SCRATCH_OPTIONS = "-c synchronous_commit=off -c work_mem=64MB"

Connection = psycopg.AsyncConnection[DictRow]


def application_name(build_id: int | str) -> str:
    """How every session of a build calls itself, so that a dead build's can be ended."""
    return f"quicksilver build {build_id}"


def scratch_url(url: str, build_id: int | str) -> str:
    """The warehouse's URL for a session of a build that writes scratch tables."""
    return conninfo(url, SCRATCH_OPTIONS, application_name=application_name(build_id))


class Warehouse:
    """The Postgres that holds bronze, silver and gold. Opens one connection a call, no pool."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ready = False

    @asynccontextmanager
    async def connect(self, application: str = "quicksilver") -> AsyncGenerator[Connection]:
        """An autocommit connection.

        Raises:
            WarehouseUnavailableError: Postgres does not answer, here or later on in the block.
            SettingsError: no warehouse is configured.
        """
        self._settings.require("warehouse_url")
        url = self._settings.warehouse_url.get_secret_value()
        try:
            connection = cast(
                "Connection",
                await psycopg.AsyncConnection.connect(
                    conninfo(url, application_name=application, connect_timeout=10),
                    autocommit=True,
                    row_factory=cast("Any", dict_row),
                ),
            )
            async with connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            first = str(error).strip().split("\n")[0]
            raise WarehouseUnavailableError(f"the warehouse does not answer: {first}") from error

    async def ensure(self) -> None:
        """Create what builds need to begin: schemas, the fence. Idempotent, safe when run at once.

        Raises:
            WarehouseUnavailableError: Postgres does not answer.
        """
        async with self.connect() as connection:
            try:
                async with connection.transaction():
                    await connection.execute("select pg_advisory_xact_lock(%s)", (DDL_LOCK,))
                    # "already exists, skipping" is no news.
                    await connection.execute("set local client_min_messages = warning")
                    await connection.execute(statement("warehouse_schema"))
            except psycopg.errors.InsufficientPrivilege:
                # The settler's own role makes nothing; the owner's `quicksilver init` has.
                found = await connection.execute(
                    "select to_regclass('quicksilver.publication') is not null as made"
                )
                row = await found.fetchone()
                if row is None or not row["made"]:
                    raise
        self._ready = True

    async def revoke(self, partition: Partition, build_id: int) -> dict[str, Any] | None:
        """The last word on a build: what it published, or None and it never will.

        Returns:
            `rows_bronze`, `rows_silver`, `rows_rejected`, `loaded_at`, `details`; or None.

        Raises:
            WarehouseUnavailableError: nothing is decided; ask again.
        """
        if not self._ready:
            await self.ensure()
        key = {"dataset": partition.dataset, "dt": partition.dt, "build": build_id}
        async with self.connect() as connection:
            async with connection.transaction():
                # Revoked first, asked then: what was not published by now never will be.
                revoked = await (
                    await connection.execute(statement("fence_revoke"), key)
                ).fetchone()
                found = await connection.execute(statement("publication_of"), key)
                published = await found.fetchone()
            await end_sessions(connection, build_id, revoked["worker"] if revoked else None)
        return dict(published) if published is not None else None

    async def newest_build(self) -> int:
        """The highest build id that ever held a fence; 0 when none did.

        Raises:
            WarehouseUnavailableError: Postgres does not answer.
        """
        if not self._ready:
            await self.ensure()
        async with self.connect() as connection:
            row = await (await connection.execute(statement("fence_newest"))).fetchone()
        return int(row["newest"]) if row else 0


async def end_sessions(connection: Connection, build_id: int, worker: int | None = None) -> None:
    """End the sessions that a build which lost its fence has left: their locks and their work."""
    names = [application_name(name) for name in (build_id, worker) if name is not None]
    try:
        await connection.execute(statement("end_sessions"), {"applications": names})
    except psycopg.errors.InsufficientPrivilege:
        # Not ours to end (the settler's role may differ from the builds'): they end by themselves,
        # and what they could still do is load; the fence keeps them from publishing.
        return
