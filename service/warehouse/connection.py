"""The warehouse as builds and the settler meet over it: connections, the fence, the last word.

A partition's fence row names the one build that may publish it. `take` gives it to a newer build,
`settle` takes it away for good, `publish` (in `warehouse.publish`) checks it in the transaction
that changes silver. All three lock the same row, so each sees the others' whole outcome or nothing.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition
from quicksilver.errors import WarehouseLockedError, WarehouseUnavailableError
from quicksilver.settings import Settings
from quicksilver.support.postgres import conninfo
from quicksilver.support.statements import statement
from quicksilver.warehouse.holdings import Holding, holdings
from quicksilver.warehouse.locks import is_transient, watched
from quicksilver.warehouse.ownership import own_schemas
from quicksilver.warehouse.session import (
    DDL_LOCK,
    SERVICE_OPTIONS,
    Connection,
    application_name,
    key_of,
)


class Warehouse:
    """The Postgres that holds bronze, silver and gold. Opens one connection a call, no pool."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ready = False

    @asynccontextmanager
    async def connect(
        self, application: str = "quicksilver", options: Sequence[str] = SERVICE_OPTIONS
    ) -> AsyncGenerator[Connection]:
        """An autocommit connection; `options` are settings of its session.

        Raises:
            WarehouseUnavailableError: Postgres does not answer, here or later on in the block.
            WarehouseLockedError: another session holds a lock for longer than this one waits.
            SettingsError: no warehouse is configured.
        """
        self._settings.require("warehouse_url")
        url = self._settings.warehouse_url.get_secret_value()
        try:
            connection = cast(
                "Connection",
                await psycopg.AsyncConnection.connect(
                    conninfo(url, *options, application_name=application, connect_timeout=10),
                    autocommit=True,
                    row_factory=cast("Any", dict_row),
                ),
            )
            async with connection:
                yield connection
        except psycopg.Error as error:
            first = str(error).strip().split("\n")[0]
            if is_transient(error):
                raise WarehouseLockedError(f"the warehouse is in use: {first}") from error
            if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
                raise
            raise WarehouseUnavailableError(f"the warehouse does not answer: {first}") from error

    @retry(
        # Many processes may prepare the warehouse at once; they take turns.
        retry=retry_if_exception_type(WarehouseLockedError),
        wait=wait_random_exponential(0.1, max=2),
        stop=stop_after_delay(60),
        reraise=True,
    )
    async def ensure(self) -> None:
        """Create what builds need to begin: schemas, the fence. Idempotent, safe when run at once.

        Raises:
            WarehouseUnavailableError: Postgres does not answer.
            NotOursError: a schema that we need is not Quicksilver's; nothing was changed.
        """
        async with self.connect() as connection:
            try:
                async with connection.transaction():
                    await connection.execute("select pg_advisory_xact_lock(%s)", (DDL_LOCK,))
                    # "already exists, skipping" is not worth a log line.
                    await connection.execute("set local client_min_messages = warning")
                    await own_schemas(connection, self._settings.scratch_schema)
            except psycopg.errors.InsufficientPrivilege as error:
                # The settler's own role may create nothing; the owner's `quicksilver init` did.
                found = await connection.execute(
                    "select to_regclass('quicksilver.installation') is not null as is_made"
                )
                row = await found.fetchone()
                if row is None or not row["is_made"]:
                    raise WarehouseUnavailableError(
                        "the warehouse is not prepared for this version: run `quicksilver init` as"
                        " its owner"
                    ) from error
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
        key = {**key_of(partition), "build": build_id}
        async with self.connect() as connection:
            # End its sessions first: nothing must wait for their locks, the fence's row among them.
            held = await (await connection.execute(statement("fence_worker"), key)).fetchone()
            await end_sessions(connection, build_id, held["worker"] if held else None)
            async with watched(connection, self.connect()) as holders:
                try:
                    async with connection.transaction():
                        # Revoke first, then ask: what is not published by now never will be.
                        await connection.execute(statement("fence_revoke"), key)
                        found = await connection.execute(statement("publication_of"), key)
                        published = await found.fetchone()
                except psycopg.errors.LockNotAvailable as error:
                    raise WarehouseLockedError(
                        f"build {build_id} of {partition} cannot be settled now: {holders.told}"
                    ) from error
        return dict(published) if published is not None else None

    async def holdings(self, dataset: Dataset, *, exact: bool = False) -> list[Holding]:
        """What the warehouse holds of a dataset: every published partition, and whether its rows
        are still there. `exact` counts them.

        Raises:
            WarehouseUnavailableError: Postgres does not answer.
        """
        if not self._ready:
            await self.ensure()
        async with self.connect() as connection:
            return await holdings(connection, dataset, exact=exact)

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
    """End the sessions of a build that lost its fence, and with them their locks and work."""
    names = [application_name(name) for name in (build_id, worker) if name is not None]
    try:
        await connection.execute(statement("end_sessions"), {"applications": names})
    except psycopg.errors.InsufficientPrivilege:
        # Not ours to end (the settler's role may differ from the builds'): they end by themselves,
        # and what they could still do is load; the fence keeps them from publishing.
        return
