"""Bronze into the warehouse: the manifest's files, batch by batch, into one scratch table.

Memory holds one batch of one file at a time. The table is new and the build's own, so nobody waits
for the load and a dead one leaves nothing that anybody reads.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import adbc_driver_postgresql
import adbc_driver_postgresql.dbapi as adbc
from adbc_driver_manager import AdbcConnection
from minio import Minio
from psycopg import sql
from psycopg.conninfo import make_conninfo

from quicksilver.build.formats.opening import open_source
from quicksilver.build.layout import ColumnBounds, declared_columns, declared_types, plan
from quicksilver.build.memory import limited
from quicksilver.build.stream import FileStream, OpenFile
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.manifest import ManifestFile
from quicksilver.errors import BronzeFileError, QuicksilverError, WarehouseUnavailableError
from quicksilver.lake.table_format import refuse_table_formats
from quicksilver.warehouse.cut import cut_of

# Of files that wait for their turn: larger ones are fetched again.
_KEPT_BYTES = 64 * 1024 * 1024
# SQLSTATEs of class 42 that say something of the tables, and nothing of the file.
_NOT_THE_FILES = ("42501", "42P01")
_CONTEXT = re.compile(r"COPY [^,]*, line (\d+), column ([^|\n]*)")


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file whose rows are left out, by the dataset's `on_bad_file: skip`, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded: rows, the columns that bronze has not seen before, the files left out."""

    rows: int
    new_columns: tuple[str, ...]
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()


def open_files(
    client: Minio,
    dataset: Dataset,
    manifest: Sequence[ManifestFile],
    present: Mapping[str, str],
    bounds: ColumnBounds = ColumnBounds(),  # noqa: B008  it is frozen
) -> list[OpenFile]:
    """Open every file and place its columns, before a byte goes to the warehouse.

    `present`: bronze's columns so far and their SQL types. Where the dataset skips bad files, one
    that cannot be opened is in the list with the reason.

    Raises:
        BronzeFileError, ManifestChangedError, BronzeUnavailableError.
    """
    columns = declared_columns(dataset)
    replaces = dataset.bad_text == "replace"
    skips = dataset.on_bad_file == "skip"
    reserved = cut_of(dataset).columns.keys()
    known = dict(present)
    opened: list[OpenFile] = []
    kept = 0
    data = [f for f in sorted(manifest) if f.key.rpartition("/")[2] != dataset.ready.marker]
    refuse_table_formats(client, dataset.bucket, (file.key for file in data))
    for file in data:
        name = f"s3://{dataset.bucket}/{file.key}"
        try:
            source = open_source(client, dataset, file, columns)
            placed = plan(
                columns,
                source.schema,
                known,
                name,
                source.rows,
                bounds=bounds,
                reserved=reserved,
                is_text=source.is_text,
            )
        except BronzeFileError as error:
            if not skips:
                raise
            opened.append(OpenFile(name, None, refused=error, skips=skips))
            continue
        known.update({landing.name: landing.sql_type for landing in placed.landings})
        kept += file.size
        if kept > _KEPT_BYTES:
            source.release()
        opened.append(OpenFile(name, source, placed, skips=skips, replaces=replaces))
    _refuse_all_bad(opened)
    return opened


def _refuse_all_bad(files: Sequence[OpenFile]) -> None:
    """Of a partition without one good file nothing can be built."""
    bad = [file.refused for file in files if file.refused is not None]
    if bad and len(bad) == len(files):
        raise bad[0]


def bronze_columns(
    dataset: Dataset, files: Sequence[OpenFile], present: Mapping[str, str], keys: Mapping[str, str]
) -> dict[str, str]:
    """Every column of the scratch table and its SQL type, in bronze's own order; `keys`, those
    that name the partition, first."""
    columns = dict(keys) | dict(present) | declared_types(declared_columns(dataset))
    for file in files:
        columns.update({landing.name: landing.sql_type for landing in file.plan.landings})
    return columns


def scratch_prefix(dataset: Dataset) -> str:
    """What a scratch table of bronze is called before the build's suffix; no model is called so."""
    return f"landed_{dataset.bronze_table.partition('.')[2]}"


def load_each(
    url: str,
    schema: str,
    tables: Mapping[str, Sequence[OpenFile]],
    *,
    memory: int | None = None,
) -> dict[str, Loaded | QuicksilverError]:
    """Stream the files of each of a schema's tables into it by COPY, a transaction each.

    Returns:
        By table what was loaded, or why it was not: then the table is as it was.

    Raises:
        WarehouseUnavailableError: Postgres does not answer.
    """
    done: dict[str, Loaded | QuicksilverError] = {}
    try:
        with closing(_connect(url)) as connection, limited(memory):
            for table, files in tables.items():
                try:
                    done[table] = _load(connection, schema, table, files)
                except QuicksilverError as error:
                    connection.rollback()
                    done[table] = error
    except adbc.Error as error:
        raise _unavailable(error) from error
    return done


def _load(
    connection: adbc.Connection, schema: str, table: str, files: Sequence[OpenFile]
) -> Loaded:
    rows = 0
    new: list[str] = []
    done: list[OpenFile] = []
    with connection.cursor() as cursor:
        for file in files:
            try:
                rows += _copy(cursor, schema, table, file)
            except BronzeFileError as error:
                if not file.skips:
                    raise
                connection.rollback()
                done.append(replace(file, refused=error))
                continue
            except QuicksilverError:
                connection.rollback()
                if any(other.skips for other in done):
                    cursor.execute(f"truncate {_quoted(schema, table)}")
                    connection.commit()
                raise
            if file.skips:
                # What a bad file behind it takes back is that file's alone.
                connection.commit()
            done.append(file)
            new.extend(name for name in file.plan.unknown if name not in new)
    _refuse_all_bad(done)
    connection.commit()
    skipped = [SkippedFile(file.name, str(file.refused)) for file in done if file.refused]
    notes = dict.fromkeys(note for file in done for note in file.plan.notes)
    return Loaded(rows, tuple(new), tuple(skipped), tuple(notes))


def _quoted(schema: str, table: str) -> str:
    return sql.Identifier(schema, table).as_string(None)


def _copy(cursor: Any, schema: str, table: str, file: OpenFile) -> int:
    """Load one file; its rows.

    Raises:
        BronzeFileError: it is not to be read, or Postgres does not take a value of it.
    """
    if file.refused is not None:
        raise file.refused
    stream = FileStream(file)
    if not file.plan.landings:
        # Rows of nothing that has a type are rows all the same.
        rows = stream.count()
        target = _quoted(schema, table)
        # A quoted name and a number.
        cursor.execute(f"insert into {target} select from generate_series(1, {rows})")  # nosec B608
        return rows
    try:
        cursor.adbc_ingest(table, stream.reader(), mode="append", db_schema_name=schema)
    except Exception as error:
        # The driver wraps what the reader raised beyond recognition.
        if stream.failure is not None:
            raise stream.failure from None
        if isinstance(error, adbc.Error) and _is_of_the_data(error):
            raise _refused_by_postgres(file, error) from error
        raise
    file.release()
    return stream.rows


def _is_of_the_data(error: adbc.Error) -> bool:
    """Whether an error is the file's: a value, a type or a limit, and no outage."""
    state = error.sqlstate or ""
    if state:
        return state[:2] in ("22", "42", "54") and state not in _NOT_THE_FILES
    # Without one the driver itself refuses a type or a value, or it has lost the connection.
    return isinstance(error, adbc.DataError | adbc.NotSupportedError | adbc.InternalError)


def _refused_by_postgres(file: OpenFile, error: adbc.Error) -> BronzeFileError:
    text = str(error)
    found = re.search(r"ERROR:\s+([^\n]*)", text)
    reason = found[1] if found else text.split("\n")[0]
    context = _CONTEXT.search(text)
    where = ""
    if context and file.source is not None:
        where = f", column {context[2]}, {file.source.place(int(context[1]) - 1)}"
    return BronzeFileError(
        f"{file.name}{where}: Postgres does not take it: {reason}; correct the file and upload it"
        " again"
    )


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
