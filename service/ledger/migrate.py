"""Numbered SQL migrations: forward only, each once, safe when two replicas start at once."""

from pathlib import Path
from typing import LiteralString, cast

import psycopg

from quicksilver.errors import LedgerUnavailableError, QuicksilverError
from quicksilver.support.postgres import conninfo

MIGRATIONS = Path(__file__).with_name("migrations")

# One arbitrary number, the same in every replica: the holder migrates, the others wait.
_LOCK = 0x51_53_4D_49


def available() -> list[tuple[int, Path]]:
    """Every migration with its number, in order."""
    return sorted((int(path.name.split("_")[0]), path) for path in MIGRATIONS.glob("[0-9]*.sql"))


async def migrate(database_url: str, *, upto: int | None = None) -> list[str]:
    """Bring the ledger's schema to the newest version (or to `upto`).

    Returns:
        The names of the migrations that this call applied; none when it was new already.

    Raises:
        LedgerUnavailableError: Postgres cannot be reached.
        QuicksilverError: the ledger is newer than this program.
    """
    applied: list[str] = []
    async with await _connect(database_url) as connection:
        # The service's own role may change rows alone, so it is not asked for more without need.
        if upto is None and await _is_newest(connection):
            return applied
        await connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        await connection.execute("create schema if not exists quicksilver")
        await connection.execute(
            "create table if not exists quicksilver.migration ("
            "number integer primary key, name text not null,"
            " applied_at timestamptz not null default now())"
        )
        rows = await (
            await connection.execute("select number from quicksilver.migration")
        ).fetchall()
        done = {int(row[0]) for row in rows}
        known = available()
        newest = known[-1][0]
        if done and max(done) > newest:
            raise QuicksilverError(
                f"the ledger is at migration {max(done)}, this program knows {newest}:"
                " run the newer program, or restore the ledger's backup"
            )
        for number, path in known:
            if number in done or (upto is not None and number > upto):
                continue
            async with connection.transaction():
                await connection.execute(cast("LiteralString", path.read_text(encoding="utf-8")))
                await connection.execute(
                    "insert into quicksilver.migration (number, name) values (%s, %s)",
                    (number, path.stem),
                )
            applied.append(path.stem)
    return applied


async def pending(database_url: str) -> list[str]:
    """The names of the migrations that `migrate` would apply; nothing is changed.

    Raises:
        LedgerUnavailableError: Postgres cannot be reached.
    """
    async with await _connect(database_url) as connection:
        done = await _applied(connection)
    return [path.stem for number, path in available() if number not in done]


async def _connect(database_url: str) -> psycopg.AsyncConnection:
    try:
        return await psycopg.AsyncConnection.connect(conninfo(database_url), autocommit=True)
    except psycopg.OperationalError as error:
        # libpq tells each address that it tried on a line of its own.
        tried = " ".join(str(error).split())
        raise LedgerUnavailableError(f"the ledger's Postgres cannot be reached: {tried}") from error


async def _applied(connection: psycopg.AsyncConnection) -> set[int]:
    found = await connection.execute("select to_regclass('quicksilver.migration') is not null")
    if await found.fetchone() != (True,):
        return set()
    found = await connection.execute("select number from quicksilver.migration")
    return {int(row[0]) for row in await found.fetchall()}


async def _is_newest(connection: psycopg.AsyncConnection) -> bool:
    """Whether exactly the known migrations are applied; a newer ledger is refused further on."""
    return await _applied(connection) == {number for number, _ in available()}
