"""Settings, datasets.yaml, the ledger and the warehouse."""

import psycopg

from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import QuicksilverError
from quicksilver.ledger import Ledger
from quicksilver.ledger.migrate import available
from quicksilver.operators.doctor.check import (
    ANSWER_WITHIN,
    NO_TABLES,
    BrokenError,
    Probe,
    first_line,
)
from quicksilver.operators.setup import wants_warehouse
from quicksilver.support.postgres import Database
from quicksilver.warehouse.connection import Warehouse


async def check_settings(probe: Probe) -> str:
    _require(probe, "database_url", "minio_access_key", "minio_secret_key", "webhook_tokens")
    return "all that are needed are set"


def _require(probe: Probe, *names: str) -> None:
    try:
        probe.settings.require(*names)
    except QuicksilverError as error:
        raise BrokenError(str(error), 'eval "$(quicksilver env)", or fill in .env') from error


async def check_datasets(probe: Probe) -> str:
    try:
        probe.datasets = load_datasets(probe.settings.datasets_file)
    except QuicksilverError as error:
        raise BrokenError(str(error), "correct that line of datasets.yaml") from error
    return ", ".join(probe.datasets.by_name)


async def check_ledger(probe: Probe) -> str:
    url = probe.settings.database_url.get_secret_value()
    try:
        async with await psycopg.AsyncConnection.connect(
            url, connect_timeout=ANSWER_WITHIN
        ) as connection:
            row = await (await connection.execute("select version()")).fetchone()
    except psycopg.Error as error:
        raise BrokenError(
            first_line(error), "start Postgres, or correct QUICKSILVER_DATABASE_URL"
        ) from error
    return str(row[0]).split(" on ")[0] if row else "answers"


async def check_migrations(probe: Probe) -> str:
    url = probe.settings.database_url.get_secret_value()
    try:
        async with await psycopg.AsyncConnection.connect(
            url, connect_timeout=ANSWER_WITHIN
        ) as connection:
            row = await (
                await connection.execute("select max(number) from quicksilver.migration")
            ).fetchone()
    except psycopg.errors.UndefinedTable as error:
        raise BrokenError("the ledger has no tables", "quicksilver migrate") from error
    except psycopg.Error as error:
        raise BrokenError(first_line(error), "quicksilver migrate") from error
    newest = available()[-1][0]
    number = int(row[0] or 0) if row else 0
    if number < newest:
        raise BrokenError(f"at {number}, this program's newest is {newest}", "quicksilver migrate")
    if number > newest:
        raise BrokenError(
            f"at {number}, newer than this program, whose newest is {newest}",
            "upgrade this program to the version that the service runs",
        )
    database = Database(url, size=2, application="quicksilver-doctor")
    await database.open()
    probe.ledger = Ledger(database, probe.declared())
    return f"at {number}, the newest"


async def check_warehouse(probe: Probe) -> str:
    is_set = bool(probe.settings.warehouse_url.get_secret_value())
    if not is_set and not wants_warehouse(probe.declared()):
        return NO_TABLES
    _require(probe, "warehouse_url")
    try:
        await Warehouse(probe.settings).ensure()
    except (QuicksilverError, psycopg.Error) as error:
        raise BrokenError(
            first_line(error),
            "start it, or correct QUICKSILVER_WAREHOUSE_URL; its role must be allowed to create"
            " schemas",
        ) from error
    return "writable"
