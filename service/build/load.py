"""Bronze into the warehouse: the manifest's parquet files, batch by batch, into one scratch table.

Memory holds one batch of one file at a time. The table is new and the build's own, so nobody waits
for the load and a dead one leaves nothing that anybody reads.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any

import adbc_driver_postgresql
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from adbc_driver_manager import AdbcConnection
from minio import Minio
from psycopg import sql
from psycopg.conninfo import make_conninfo

from quicksilver.build.layout import ColumnMapping, FilePlan, declared_columns, declared_types, plan
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.manifest import ManifestFile
from quicksilver.errors import BronzeFileError, QuicksilverError, WarehouseUnavailableError
from quicksilver.lake.object_file import open_parquet
from quicksilver.warehouse.connection import Connection
from quicksilver.warehouse.scratch import batch_suffix
from quicksilver.warehouse.tables import defined

# 20 columns of 8 bytes: about 10 MB a batch, large enough for COPY to run at its full speed.
_BATCH_ROWS = 65_536


# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded: rows, and the columns that bronze has not seen before."""

    rows: int
    new_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file of the manifest with its footer read and its columns placed."""

    name: str
    parquet: Any
    plan: FilePlan


def open_files(
    client: Minio, dataset: Dataset, manifest: Sequence[ManifestFile], present: Mapping[str, str]
) -> list[OpenFile]:
    """Open every file and place its columns, before a byte goes to the warehouse.

    `present`: bronze's columns so far and their SQL types.

    Raises:
        BronzeFileError, ManifestChangedError, BronzeUnavailableError.
    """
    columns = declared_columns(dataset)
    known = dict(present)
    opened: list[OpenFile] = []
    for file in sorted(manifest):
        if file.key.rpartition("/")[2] == dataset.ready.marker:
            continue
        parquet = open_parquet(client, dataset.bucket, file)
        name = f"s3://{dataset.bucket}/{file.key}"
        placed = plan(columns, parquet.schema_arrow, known, name, parquet.metadata.num_rows)
        known.update({landing.name: landing.sql_type for landing in placed.landings})
        opened.append(OpenFile(name, parquet, placed))
    return opened


def bronze_columns(
    dataset: Dataset, files: Sequence[OpenFile], present: Mapping[str, str]
) -> dict[str, str]:
    """Every column of the scratch table and its SQL type, `dt` first; in bronze's own order."""
    columns = {"dt": "date"} | dict(present) | declared_types(declared_columns(dataset))
    for file in files:
        columns.update({landing.name: landing.sql_type for landing in file.plan.landings})
    return columns


def scratch_prefix(dataset: Dataset) -> str:
    """What a scratch table of bronze is called before the build's suffix; no model is called so."""
    return f"landed_{dataset.bronze_table.partition('.')[2]}"


async def create_scratch(
    connection: Connection, table: str, columns: Mapping[str, str], dt: date, *, unlogged: bool
) -> None:
    """Create `build.<table>`; `dt` fills itself, and is checked, so that it can be attached."""
    listed = defined({name: kind for name, kind in columns.items() if name != "dt"})
    await connection.execute(
        sql.SQL(
            "create {} table build.{} (dt date not null default {}, {},"
            " constraint dt_is_the_partition check (dt = {}))"
        ).format(
            sql.SQL("unlogged" if unlogged else ""),
            sql.Identifier(table),
            sql.Literal(dt),
            listed,
            sql.Literal(dt),
        )
        if len(columns) > 1
        else sql.SQL("create table build.{} (dt date not null default {})").format(
            sql.Identifier(table), sql.Literal(dt)
        )
    )


async def create_scratch_parent(
    connection: Connection, parent: str, columns: Mapping[str, str], children: Mapping[date, bool]
) -> None:
    """Create `build.<parent>` with a scratch table as above for each of several partitions.

    `children`: the partitions, and whether the table of each is unlogged. Their names are those of
    `warehouse.publish.share`.
    """
    table = sql.Identifier("build", parent)
    statements = [
        sql.SQL("create table {} ({}) partition by list (dt)").format(table, defined(columns))
    ]
    statements += [
        sql.SQL(
            "create {} table {} partition of {} (dt not null default {day},"
            " constraint dt_is_the_partition check (dt = {day})) for values in ({day})"
        ).format(
            sql.SQL("unlogged" if unlogged else ""),
            sql.Identifier("build", batch_suffix(parent, dt)),
            table,
            day=sql.Literal(dt),
        )
        for dt, unlogged in children.items()
    ]
    # One journey for all of them.
    await connection.execute(sql.SQL("; ").join(statements))


def load(url: str, table: str, files: Sequence[OpenFile]) -> Loaded:
    """Stream the files into `build.<table>` by COPY; one transaction.

    Raises:
        BronzeFileError: a value cannot be of its column's type, or a page is broken.
        WarehouseUnavailableError: Postgres did not take it.
        ManifestChangedError, BronzeUnavailableError: the lake did not give it.
    """
    try:
        with closing(_connect(url)) as connection:
            return _load(connection, table, files)
    except adbc.Error as error:
        raise _unavailable(error) from error


def load_each(
    url: str, tables: Mapping[str, Sequence[OpenFile]]
) -> dict[str, Loaded | QuicksilverError]:
    """Stream the files of several tables of schema `build` into them, a transaction each.

    Returns:
        By table what was loaded, or why it was not: then the table is as it was.

    Raises:
        WarehouseUnavailableError: Postgres does not answer.
    """
    done: dict[str, Loaded | QuicksilverError] = {}
    try:
        with closing(_connect(url)) as connection:
            for table, files in tables.items():
                try:
                    done[table] = _load(connection, table, files)
                except QuicksilverError as error:
                    connection.rollback()
                    done[table] = error
    except adbc.Error as error:
        raise _unavailable(error) from error
    return done


def _load(connection: adbc.Connection, table: str, files: Sequence[OpenFile]) -> Loaded:
    rows = 0
    new: list[str] = []
    with connection.cursor() as cursor:
        for file in files:
            new.extend(name for name in file.plan.unknown if name not in new)
            if not file.plan.landings or file.parquet.metadata.num_rows == 0:
                continue
            stream = _Stream(file)
            try:
                cursor.adbc_ingest(table, stream.reader(), mode="append", db_schema_name="build")
            except Exception:
                # The driver wraps what the reader raised beyond recognition.
                if stream.failure is not None:
                    raise stream.failure from None
                raise
            rows += stream.rows
    connection.commit()
    return Loaded(rows, tuple(new))


def _unavailable(error: adbc.Error) -> WarehouseUnavailableError:
    first = str(error).strip().split("\n")[0]
    return WarehouseUnavailableError(f"bronze could not be loaded: {first}")


def _connect(url: str) -> adbc.Connection:
    """Connect to the warehouse, without reading the types of everything in it first.

    The driver reads the catalog of the database that it is given: every column of every table,
    3 s at a thousand partitions. Only Postgres' own types travel here, and those are the same in
    the database `postgres`, where there is next to nothing to read.
    """
    try:
        database = adbc_driver_postgresql.connect(make_conninfo(url, dbname="postgres"))
    except adbc.Error:
        # Not there, or not for us.
        return adbc.connect(url)
    database.set_options(uri=url)
    return adbc.Connection(database, AdbcConnection(database))


class _Stream:
    """A file's batches in bronze's types, for the driver to pull; keeps what went wrong."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self.rows = 0
        self.failure: QuicksilverError | None = None

    def reader(self) -> Any:
        landings = self._file.plan.landings
        schema = pa.schema([(landing.name, landing.arrow) for landing in landings])
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def _batches(self, schema: Any) -> Iterator[Any]:
        landings = self._file.plan.landings
        try:
            batches = self._file.parquet.iter_batches(
                batch_size=_BATCH_ROWS, columns=[landing.source for landing in landings]
            )
            for batch in batches:
                self.rows += batch.num_rows
                yield pa.RecordBatch.from_arrays(
                    [
                        _converted(self._file.name, landing, batch.column(landing.source))
                        for landing in landings
                    ],
                    schema=schema,
                )
        except QuicksilverError as error:
            self.failure = error
            raise
        except (pa.ArrowException, OSError) as error:
            first = str(error).split("\n")[0]
            self.failure = BronzeFileError(
                f"{self._file.name} is damaged ({first}); correct it and upload it again"
            )
            raise self.failure from error


def _converted(file: str, landing: ColumnMapping, values: Any) -> Any:
    """A column's values in the type that bronze has for them.

    Raises:
        BronzeFileError: a value does not fit.
    """
    if values.type == landing.arrow:
        return values
    try:
        if pt.is_dictionary(values.type):
            values = values.dictionary_decode()
        if pt.is_nested(values.type) or pt.is_duration(values.type) or pt.is_interval(values.type):
            return pa.array(
                [None if v is None else json.dumps(v, default=str) for v in values.to_pylist()],
                type=pa.string(),
            )
        if pt.is_floating(values.type) and pt.is_integer(landing.arrow):
            # An empty id written by pandas is a NaN.
            values = _compute.if_else(_compute.is_nan(values), pa.scalar(None, values.type), values)
        # Nanoseconds beyond Postgres' microseconds are the one thing that may be cut.
        return values.cast(landing.arrow, safe=not pt.is_timestamp(values.type))
    except (pa.ArrowException, OverflowError) as error:
        first = str(error).split("\n")[0]
        raise BronzeFileError(
            f"{file}: column {landing.source} does not fit {landing.sql_type} ({first});"
            " correct the file and upload it again"
        ) from error
