"""What a run does for the builds that it has begun: hold them, and say how they ended."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import TupleRow
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from quicksilver.build.result import BuildResult
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


@asynccontextmanager
async def build_leases(lake: FlowContext, builds: Sequence[BegunBuild]) -> AsyncGenerator[None]:
    """Hold builds by locks of one session: they end with this process, however that ends.

    The settler reads them as the sign of life of each build.
    """
    connection = await _hold(lake, [build.id for build in builds])
    try:
        yield
    finally:
        await connection.close()


@retry_while_ledger_restarts
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
