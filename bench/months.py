"""Months to put into bronze: small ones as the project invents them, and one of full size."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quicksilver.flows.nyc_tlc.generated import generate_month

# As in TLC's own files since 2022.
_ROW_GROUP = 1_000_000

_compute: Any = pc


def months() -> Iterator[date]:
    """First days of months, each once: a partition of its own for every PUT of a bench."""
    year, month = 1971, 1
    while True:
        yield date(year, month, 1)
        month += 1
        if month > 12:
            year, month = year + 1, 1


def small_month(dt: date, rows: int = 10_000) -> bytes:
    """A month as parquet."""
    body = BytesIO()
    pq.write_table(generate_month(dt.year, dt.month, rows), body, compression="zstd")
    return body.getvalue()


def write_full_month(path: Path, dt: date, rows: int) -> None:
    """A month of millions of distinct trips, in row groups as TLC writes them.

    A small month, repeated; every copy of a trip gets a fare, pickup and dropoff of its own, so
    that rows are as distinct as real ones. Made by columns, since by rows it would take minutes.
    """
    base: Any = generate_month(dt.year, dt.month, 20_000, layout="2025")
    schema = base.schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        left = rows
        while left:
            take = min(left, _ROW_GROUP)
            copies = -(-take // base.num_rows)
            table = pa.concat_tables([base] * copies).slice(0, take).combine_chunks()
            columns: dict[str, Any] = dict(zip(schema.names, table.columns, strict=True))
            seconds = _compute.floor(_compute.multiply(_compute.random(take), 3_000))
            shift = _compute.cast(_compute.multiply(seconds, 1_000_000), pa.int64())
            micros = _compute.cast(shift, pa.duration("us"))
            for name in ("tpep_pickup_datetime", "tpep_dropoff_datetime"):
                columns[name] = _compute.add(columns[name], micros)
            cents = _compute.round(_compute.multiply(_compute.random(take), 20), 2)
            for name in ("fare_amount", "total_amount"):
                columns[name] = _compute.round(_compute.add(columns[name], cents), 2)
            writer.write_table(
                pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema),
                row_group_size=_ROW_GROUP,
            )
            left -= take
