"""Invented months in TLC's own layout, for use without a source: same columns, same kinds of flaws.

The same arguments give the same table, so an ingest that runs twice lands nothing the second time.
Every file says in its parquet metadata that it was generated.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from quicksilver.build.columns import ArrowSchema, ArrowTable, ArrowType
from quicksilver.flows.nyc_tlc.source import file_name

Layout = Literal["2019", "2025"]
Row = dict[str, object]

NOTE = {b"quicksilver.generated": b"invented trips, not TLC's records"}

_MONEY = pa.float64()


@dataclass(frozen=True, slots=True)
class Flaws:
    """How many rows of a generated month carry which flaw; no row carries two."""

    negative_total: int = 0
    zero_length: int = 0
    """Dropoff at the very moment of pickup."""
    outside_month: int = 0
    """Pickup more than a day before or after the month."""
    duplicate: int = 0
    """Exact copies of other rows of the month."""
    just_before: int = 0
    """Pickup in the last minutes before the month, as TLC's months have them: no flaw to reject."""
    unknown_meter: int = 0
    """No vendor, passengers, rate, flag and payment type: no flaw to reject either."""

    @property
    def total(self) -> int:
        """All rows that are unlike the rest."""
        return (
            self.negative_total
            + self.zero_length
            + self.outside_month
            + self.duplicate
            + self.just_before
            + self.unknown_meter
        )


def usual_flaws(rows: int) -> Flaws:
    """As many flaws as real months have, by the size of the month."""
    return Flaws(
        negative_total=rows * 20 // 10_000,
        zero_length=rows * 10 // 10_000,
        outside_month=rows * 5 // 10_000,
        duplicate=rows * 15 // 10_000,
        just_before=rows * 3 // 10_000,
        unknown_meter=rows * 60 // 10_000,
    )


def generate_month(
    year: int,
    month: int,
    rows: int = 10_000,
    seed: int = 0,
    layout: Layout = "2019",
    flaws: Flaws | None = None,
) -> ArrowTable:
    """An invented month of `rows` trips, shuffled, with exactly the flaws asked for.

    Raises:
        ValueError: when the flaws leave no row without one.
    """
    flaws = usual_flaws(rows) if flaws is None else flaws
    plain = rows - flaws.total
    if plain < 1:
        raise ValueError(f"{flaws.total} flawed rows do not fit in a month of {rows}")
    # Invented taxi trips guard nothing; what matters is that the same seed gives the same month.
    dice = random.Random(f"{seed}/{year}-{month:02d}")  # noqa: S311
    first = date(year, month, 1)
    trips = [_trip(dice, first) for _ in range(rows - flaws.duplicate)]
    rest = iter(trips[plain:])
    for _ in range(flaws.negative_total):
        _negate(next(rest))
    for _ in range(flaws.zero_length):
        trip = next(rest)
        trip["tpep_dropoff_datetime"] = trip["tpep_pickup_datetime"]
        trip["trip_distance"] = 0.0
    for number in range(flaws.outside_month):
        _move(next(rest), timedelta(days=40 if number % 2 else -4000))
    for _ in range(flaws.just_before):
        trip = next(rest)
        start = datetime(first.year, first.month, 1) - timedelta(seconds=dice.randint(1, 1200))  # noqa: DTZ001  TLC writes local time
        _move(trip, start - _pickup(trip))
    for _ in range(flaws.unknown_meter):
        trip = next(rest)
        for name in _METER:
            trip[name] = None
    trips += dice.choices(trips[:plain], k=flaws.duplicate)
    dice.shuffle(trips)
    return _table(trips, layout)


def write_generated_year(
    folder: Path,
    year: int,
    months: Iterable[int] = range(1, 13),
    rows: int = 10_000,
    seed: int = 0,
    layout: Layout = "2019",
) -> list[Path]:
    """Write invented months under TLC's file names; the folder then serves as `TLC_SOURCE`."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for month in months:
        path = folder / file_name(date(year, month, 1))
        draft = path.with_suffix(".part")
        pq.write_table(generate_month(year, month, rows, seed, layout), draft, compression="zstd")
        draft.replace(path)
        written.append(path)
    return written


_METER = ("VendorID", "passenger_count", "RatecodeID", "store_and_fwd_flag", "payment_type")


def _trip(dice: random.Random, first: date) -> Row:
    days = ((first + timedelta(days=31)).replace(day=1) - first).days
    pickup = datetime(first.year, first.month, 1) + timedelta(  # noqa: DTZ001  TLC writes local time
        seconds=dice.randrange(days * 86_400)
    )
    # New York changes its clocks on Sundays at two: without trips then, none is invented in an
    # hour that did not exist, and the flaws stay as many as were asked for.
    if pickup.weekday() == 6 and pickup.hour < 4:
        pickup += timedelta(hours=6)
    seconds = dice.randint(120, 3_300)
    miles = round(0.3 + seconds / 3_600 * dice.uniform(6, 18), 2)
    fare = round(2.5 + miles * 2.5 + seconds / 120, 2)
    tip = round(fare * dice.choice((0, 0.15, 0.2, 0.25)), 2)
    tolls = 6.12 if dice.random() < 0.05 else 0.0
    extra = dice.choice((0.0, 0.5, 1.0, 2.5))
    return {
        "VendorID": dice.choice((1, 2)),
        "tpep_pickup_datetime": pickup,
        "tpep_dropoff_datetime": pickup + timedelta(seconds=seconds),
        "passenger_count": dice.choice((1, 1, 1, 2, 3, 5)),
        "trip_distance": miles,
        "RatecodeID": 1,
        "store_and_fwd_flag": "Y" if dice.random() < 0.01 else "N",
        "PULocationID": dice.randint(1, 263),
        "DOLocationID": dice.randint(1, 263),
        "payment_type": 1 if tip else dice.choice((1, 2)),
        "fare_amount": fare,
        "extra": extra,
        "mta_tax": 0.5,
        "tip_amount": tip,
        "tolls_amount": tolls,
        "improvement_surcharge": 0.3,
        "total_amount": round(fare + extra + 0.5 + tip + tolls + 0.3 + 2.5, 2),
        "congestion_surcharge": 2.5,
        "airport_fee": None,
    }


def _pickup(trip: Row) -> datetime:
    pickup = trip["tpep_pickup_datetime"]
    assert isinstance(pickup, datetime)  # noqa: S101  for the type checker
    return pickup


def _move(trip: Row, by: timedelta) -> None:
    pickup, dropoff = _pickup(trip), trip["tpep_dropoff_datetime"]
    assert isinstance(dropoff, datetime)  # noqa: S101  for the type checker
    trip["tpep_pickup_datetime"] = pickup + by
    trip["tpep_dropoff_datetime"] = dropoff + by


def _negate(trip: Row) -> None:
    """A refund, as TLC writes it: every amount with its sign turned."""
    for name, value in trip.items():
        if isinstance(value, float) and name not in ("trip_distance", "passenger_count"):
            trip[name] = -value
    trip["payment_type"] = 4


def _table(trips: list[Row], layout: Layout) -> ArrowTable:
    if layout == "2025":
        for trip in trips:
            trip["Airport_fee"] = 0.0
            trip["cbd_congestion_fee"] = 0.75
    schema = _schema(layout)
    columns = [
        pa.array([trip[name] for trip in trips], schema.field(name).type) for name in schema.names
    ]
    return pa.Table.from_arrays(columns, schema=schema).replace_schema_metadata(NOTE)


def _schema(layout: Layout) -> ArrowSchema:
    recent = layout == "2025"
    identity: ArrowType = pa.int32() if recent else pa.int64()
    # Before TLC cleaned its pipeline, a column of integers with gaps became one of doubles.
    count: ArrowType = pa.int64() if recent else pa.float64()
    fields: list[tuple[str, ArrowType]] = [
        ("VendorID", identity),
        ("tpep_pickup_datetime", pa.timestamp("us")),
        ("tpep_dropoff_datetime", pa.timestamp("us")),
        ("passenger_count", count),
        ("trip_distance", _MONEY),
        ("RatecodeID", count),
        ("store_and_fwd_flag", pa.large_string() if recent else pa.string()),
        ("PULocationID", identity),
        ("DOLocationID", identity),
        ("payment_type", pa.int64()),
        ("fare_amount", _MONEY),
        ("extra", _MONEY),
        ("mta_tax", _MONEY),
        ("tip_amount", _MONEY),
        ("tolls_amount", _MONEY),
        ("improvement_surcharge", _MONEY),
        ("total_amount", _MONEY),
        ("congestion_surcharge", _MONEY),
    ]
    if recent:
        fields += [("Airport_fee", _MONEY), ("cbd_congestion_fee", _MONEY)]
    else:
        fields.append(("airport_fee", pa.null()))
    return pa.schema(fields)
