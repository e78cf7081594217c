"""Waits for locks of the Postgres of its environment as the service does, for ever."""

import asyncio

# Its statements are known once it is imported.
import quicksilver.ledger.claims  # noqa: F401  # pyright: ignore[reportUnusedImport]
from quicksilver.settings import load_settings
from quicksilver.support.postgres import Database
from quicksilver.warehouse.connection import Warehouse

LEDGER_LOCK, WAREHOUSE_LOCK = 101, 102


async def _ledger(url: str) -> None:
    database = Database(url)
    await database.open()
    async with database.transaction() as tx:
        # One round trip: until the client ends it, Postgres takes the session for a busy one.
        await tx.fetch_together([("lock_claims", {"lock": LEDGER_LOCK})])


async def _warehouse(warehouse: Warehouse) -> None:
    async with warehouse.connect() as connection, connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(%s)", (WAREHOUSE_LOCK,))


async def main() -> None:
    """Both at once."""
    settings = load_settings()
    url = settings.database_url.get_secret_value()
    await asyncio.gather(_ledger(url), _warehouse(Warehouse(settings)))


if __name__ == "__main__":
    asyncio.run(main())
