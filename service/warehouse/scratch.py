"""Scratch tables of builds: their names, and clearing them away."""

from collections.abc import Collection, Sequence
from datetime import date

import psycopg
from psycopg import sql

from quicksilver.warehouse.connection import Connection, application_name

_DEAD = """
select c.relname as name
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where n.nspname = 'build' and c.relkind in ('r', 'p') and not exists (
    select 1 from pg_stat_activity as s
    where s.application_name = %s || substring(c.relname from '__([^_]+?)(?:p[0-9]{8})?$')
)
"""


def batch_suffix(worker: int | str, dt: date) -> str:
    """The suffix of a partition's own scratch tables where `worker` builds several at once."""
    return f"{worker}p{dt:%Y%m%d}"


async def drop_scratch(
    connection: Connection, names: Collection[str], *suffixes: int | str
) -> None:
    """Drop what builds left of `names` in schema `build`; gives way at once to who still uses it.

    By name, because a look through the catalog would cost more with every partition of history.
    """
    await _drop(connection, [f"{name}__{suffix}" for suffix in suffixes for name in names])


async def drop_dead_scratch(connection: Connection) -> None:
    """Drop the scratch tables of all builds that have no session any more."""
    found = await connection.execute(_DEAD, (application_name(""),))
    await _drop(connection, [row["name"] for row in await found.fetchall()])


async def _drop(connection: Connection, tables: Sequence[str]) -> None:
    if not tables:
        return
    try:
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '200ms'")
            # "does not exist, skipping" is no news.
            await connection.execute("set local client_min_messages = warning")
            await connection.execute(
                sql.SQL("drop table if exists {} cascade").format(
                    sql.SQL(", ").join(sql.Identifier("build", name) for name in tables)
                )
            )
    except psycopg.errors.LockNotAvailable:
        return
