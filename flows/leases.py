"""What a run does for the builds that it has begun: hold them, and say how they ended."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

import psutil
import psycopg
from psycopg.rows import TupleRow
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from quicksilver.build.result import BuildResult
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import LedgerUnavailableError
from quicksilver.flows.context import FlowContext
from quicksilver.ledger import BUILD_SPACE, BegunBuild
from quicksilver.support import clock
from quicksilver.support.postgres import conninfo
from quicksilver.support.statements import statement

# What has been built is not thrown away because the ledger restarts: a minute outlasts that.
retry_while_ledger_restarts = retry(
    retry=retry_if_exception_type(LedgerUnavailableError),
    wait=wait_exponential_jitter(initial=0.1, max=5, jitter=0.5),
    stop=stop_after_delay(60),
    reraise=True,
)

# Seconds between two looks at the session that holds a build: a part of the settler's grace.
_LOOK = 1.0


async def take_up(lake: FlowContext, dataset: Dataset, key: str, run: UUID) -> list[BegunBuild]:
    """Begin the builds that a run was fired for; empty when they are over.

    Raises:
        LedgerUnavailableError: the ledger is away for longer than a minute.
    """
    return await retry_while_ledger_restarts(lake.ledger.runs.begin)(
        key, run, time_limit=dataset.time_limit, taken_at=_taken_at()
    )


def _taken_at() -> datetime:
    """When this process began: a worker had taken the run up by then."""
    age = time.time() - psutil.Process().create_time()
    return clock.now() - timedelta(seconds=max(0.0, age))


@asynccontextmanager
async def build_leases(lake: FlowContext, builds: Sequence[BegunBuild]) -> AsyncGenerator[None]:
    """Hold builds by locks of one session: they end with this process, however that ends.

    The settler reads them as the sign of life of each build. A ledger that restarts ends the
    session: another one takes the locks within the settler's grace.
    """
    ids = [build.id for build in builds]
    keeper = asyncio.create_task(_keep(lake, ids, await _hold(lake, ids)))
    try:
        yield
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper


async def _keep(
    lake: FlowContext, builds: Sequence[int], connection: psycopg.AsyncConnection[TupleRow]
) -> None:
    """Hold the locks again whenever the session that held them is gone, until cancelled."""
    try:
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await connection.execute("select 1")
            except psycopg.Error:
                await connection.close()
                with contextlib.suppress(LedgerUnavailableError):
                    connection = await _hold(lake, builds)
    finally:
        await connection.close()


@retry(
    retry=retry_if_exception_type(LedgerUnavailableError),
    wait=wait_exponential_jitter(initial=0.1, max=1, jitter=0.2),
    stop=stop_after_delay(60),
    reraise=True,
)
async def _hold(lake: FlowContext, builds: Sequence[int]) -> psycopg.AsyncConnection[TupleRow]:
    try:
        connection = await psycopg.AsyncConnection.connect(
            conninfo(
                lake.settings.database_url.get_secret_value(),
                application_name=f"quicksilver-build-{builds[0]}",
                connect_timeout=5,
            ),
            autocommit=True,
        )
        for build in builds:
            await connection.execute(
                statement("hold_build"), {"space": BUILD_SPACE, "build": build % 2**31}
            )
    except psycopg.OperationalError as error:
        raise LedgerUnavailableError(f"the ledger does not answer: {error}") from error
    return connection


@retry_while_ledger_restarts
async def mark_published(lake: FlowContext, build: BegunBuild, result: BuildResult) -> None:
    """Silver stands; if the ledger is away now, the settler learns it from the warehouse."""
    await lake.ledger.runs.publish(
        build.id,
        rows_bronze=result.rows_bronze,
        rows_silver=result.rows_silver,
        rows_rejected=result.rows_rejected,
        loaded_at=result.loaded_at or clock.now(),
        details=result.details(),
    )
