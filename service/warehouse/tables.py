"""Published tables: what is there, and making it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

from quicksilver.errors import ModelError
from quicksilver.warehouse.cut import Cut
from quicksilver.warehouse.locks import retry_while_others_work
from quicksilver.warehouse.ownership import refuse_foreign_tables, register_tables
from quicksilver.warehouse.session import DDL_LOCK, Connection

# By name and schema, as the catalog's index has them: the catalog grows with history.
_COLUMNS = """
select wanted.schema || '.' || wanted.name as relation, a.attname as name,
    format_type(a.atttypid, a.atttypmod) as type
from unnest(%s::text[], %s::text[]) as wanted (schema, name)
inner join pg_namespace as n on wanted.schema = n.nspname
inner join pg_class as c on n.oid = c.relnamespace and wanted.name = c.relname
inner join pg_attribute as a on c.oid = a.attrelid
where a.attnum > 0 and not a.attisdropped
order by c.oid, a.attnum
"""


@dataclass(frozen=True, slots=True, order=True)
class Table:
    """A published table, and the scratch table of a build that becomes one partition of it."""

    schema: str
    name: str
    scratch_schema: str
    scratch: str

    @property
    def parent(self) -> sql.Identifier:
        """What analysts read."""
        return sql.Identifier(self.schema, self.name)

    @property
    def source(self) -> sql.Identifier:
        """What the build made."""
        return sql.Identifier(self.scratch_schema, self.scratch)

    @property
    def source_name(self) -> str:
        """What the build made, as `columns_of` names it."""
        return f"{self.scratch_schema}.{self.scratch}"

    def child(self, tag: str) -> str:
        """The name of the partition's own table in schema `partitions`; `tag` is its cut's."""
        name = f"{self.schema}_{self.name}_{tag}"
        if len(name) > 63:
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            name = f"{name[: 53 - len(tag)]}_{digest}_{tag}"
        return name


async def columns_of(connection: Connection, relations: Sequence[str]) -> dict[str, dict[str, str]]:
    """Column names and SQL types of each `schema.table` that exists, in their order."""
    found: dict[str, dict[str, str]] = {}
    names = [relation.partition(".") for relation in relations]
    wanted = ([schema for schema, _, _ in names], [name for _, _, name in names])
    rows = await (await connection.execute(_COLUMNS, wanted)).fetchall()
    for row in rows:
        found.setdefault(row["relation"], {})[row["name"]] = row["type"]
    return found


async def exists(connection: Connection, schema: str, name: str) -> bool:
    """Whether a table is there, as the newest commit says."""
    # Not to_regclass: it answers from a cache that a transaction may not have refreshed.
    found = await connection.execute(
        "select 1 from pg_class as c inner join pg_namespace as n on c.relnamespace = n.oid"
        " where n.nspname = %s and c.relname = %s",
        (schema, name),
    )
    return await found.fetchone() is not None


@retry_while_others_work
async def ensure_columns(connection: Connection, tables: Sequence[Table], cut: Cut) -> None:
    """Create the parents that are missing and add the columns that are new. Not per partition:
    it changes something only when a model or a file brought a new table or column.

    Raises:
        ModelError: a column changed its type; a person must decide what becomes of the old rows.
        NotOursError: a table of that name is not Quicksilver's; nothing was changed.
    """
    await refuse_foreign_tables(connection, [(table.schema, table.name) for table in tables])
    known = await columns_of(
        connection,
        [f"{t.schema}.{t.name}" for t in tables] + [t.source_name for t in tables],
    )
    for table in tables:
        ours = known[table.source_name]
        theirs = known.get(f"{table.schema}.{table.name}")
        if theirs is None:
            await create_parent(connection, table.schema, table.name, ours, cut)
            continue
        for name, kind in ours.items():
            if name in theirs and theirs[name] != kind:
                raise ModelError(
                    f"column {name} of {table.schema}.{table.name} is {theirs[name]} in the"
                    f" warehouse and {kind} in this build: give it another name, or drop the"
                    " table and backfill the dataset"
                )
        new = {name: kind for name, kind in ours.items() if name not in theirs}
        if new:
            await _add_columns(connection, table.parent, new)
        # The other way round: a model that dropped a column leaves it empty from here on.
        gone = {name: kind for name, kind in theirs.items() if name not in ours}
        if gone:
            await _add_columns(connection, table.source, gone)


async def create_parent(
    connection: Connection, schema: str, name: str, columns: Mapping[str, str], cut: Cut
) -> None:
    """Create a table partitioned by the cut's column, unless it is there."""
    await make_table(connection, schema, name, columns, by=cut)


@retry_while_others_work
async def make_table(
    connection: Connection,
    schema: str,
    name: str,
    columns: Mapping[str, str],
    *,
    by: Cut | None = None,
) -> None:
    """Create a table, and its schema, unless it is there; safe when two do so at once.

    Raises:
        NotOursError: a table of that name is not Quicksilver's.
    """
    if await exists(connection, schema, name):
        await refuse_foreign_tables(connection, [(schema, name)])
        return
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(%s)", (DDL_LOCK,))
        if await exists(connection, schema, name):
            return
        await register_tables(connection, [(schema, name)])
        await connection.execute(
            sql.SQL("create schema if not exists {}").format(sql.Identifier(schema))
        )
        await connection.execute(
            sql.SQL("create table {} ({}) {}").format(
                sql.Identifier(schema, name),
                defined(columns),
                sql.SQL("partition by list ({})").format(sql.Identifier(by.column))
                if by
                else sql.SQL(""),
            )
        )


@retry(
    # A query that reads the table holds the new column up, and behind it every other reader: so
    # wait briefly, give way, and try again.
    retry=retry_if_exception_type(psycopg.errors.LockNotAvailable),
    wait=wait_random(0.05, 0.5),
    stop=stop_after_delay(60),
    reraise=True,
)
async def _add_columns(
    connection: Connection, table: sql.Identifier, columns: Mapping[str, str]
) -> None:
    async with connection.transaction():
        await connection.execute("set local lock_timeout = '500ms'")
        await connection.execute("set local client_min_messages = warning")
        await connection.execute(
            sql.SQL("alter table {} {}").format(
                table,
                sql.SQL(", ").join(
                    sql.SQL("add column if not exists {}").format(defined({name: kind}))
                    for name, kind in columns.items()
                ),
            )
        )


def defined(columns: Mapping[str, str]) -> sql.Composed:
    """Columns as `create table` lists them: each name, quoted, and its SQL type."""
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))  # pyright: ignore[reportArgumentType]
        for name, kind in columns.items()
    )
