"""Misfits beside a healthy dataset: what is broken of each kind delays nobody else."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from io import BytesIO
from typing import Any

import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from quicksilver.build.columns import ArrowTable
from tests.chaos.flood import Check
from tests.chaos.stage import BUCKET, MONTHS, ChaosStage, StuckError, rows, seconds_until_well

# A partition of the healthy dataset is built so often alone, and twice as often beside the misfits.
_TIMES = 6

# Partitions of the vanished bucket and of the refused deployment.
_MANY = 2000

# What a healthy build may take beside the misfits: of what it takes alone.
_RATIO = 1.5

# Files that are no parquet, have a NUL in a text, or 1,570 columns that nobody declared.
_FILES = 21
_FILE = "unreadable"

_LOCKED = "locked"

DECLARED = f"""
  misfit.vanished:
    bucket: vanished
    key: in/dt={{dt}}/{{file}}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.misfit_vanished
  misfit.refused:
    bucket: datasets
    key: refused/dt={{dt}}/{{file}}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.misfit_refused
    parameters: {{dataset: "{{dataset}}", dt: "{{partition}}", generation: "no number"}}
  misfit.unknown:
    bucket: datasets
    key: unknown/dt={{dt}}/{{file}}
    deployment: nobody/there
    bronze_table: bronze.misfit_unknown
  misfit.{_FILE}:
    bucket: datasets
    key: {_FILE}/dt={{dt}}/{{file}}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.misfit_unreadable
  misfit.{_LOCKED}:
    bucket: datasets
    key: {_LOCKED}/dt={{dt}}/{{file}}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.misfit_locked
"""

_RAISE = """
insert into quicksilver.partition
    (dataset, partition, dt, generation, state, due_at, dirty_since, changed_at)
select %s, d::date::text, d::date, 1, 'pending', now(), now(), now()
from generate_series(date '2015-01-01', date '2015-01-01' + (%s - 1), interval '1 day') as d
returning 1
"""


@dataclass
class _Ways:
    """Seconds from PUT to silver."""

    alone: list[float] = field(default_factory=list[float])
    beside: list[float] = field(default_factory=list[float])


def run_misfits(stage: ChaosStage) -> list[Check]:
    """Measure the healthy dataset alone, then beside the misfits, with a kill in between."""
    ways = _Ways()
    healthy = MONTHS[0]
    stage.put(healthy, 0)
    stage.await_built(120)
    ways.alone = [_way(stage, healthy, number) for number in range(_TIMES)]
    lock = _lock(stage)
    stage.say(f"alone: {_told(ways.alone)}")
    _break(stage)
    checks: list[Check] = []
    try:
        for number in range(2 * _TIMES):
            if number == _TIMES:
                psutil.Process(stage.stack.supervisor.status("service").pid).kill()
                stage.say("the service is killed")
                # Its restart is nobody's way: measured is what comes after.
                stage.put(healthy, number)
                stage.await_built(120)
            ways.beside.append(_way(stage, healthy, number))
            stage.say(f"beside: {ways.beside[-1]:.1f} s")
        ratio = statistics.median(ways.beside) / statistics.median(ways.alone)
        note = (
            f"{len(ways.beside)} of {2 * _TIMES} built, {_told(ways.beside)},"
            f" {ratio:.2f} x of alone ({_told(ways.alone)})"
        )
        checks.append(("beside misfits", ratio <= _RATIO, note))
    except StuckError as error:
        checks.append(("beside misfits", False, str(error)))
    checks.append(_named(stage))
    lock.close()
    return checks


def _lock(stage: ChaosStage) -> psycopg.Connection[Any]:
    """Somebody's session that holds the table of a dataset, so that nothing of it is published."""
    _put(stage, _LOCKED, "2015-01-01", _rows(pa.table({"id": [1]})))
    state = (
        "select 1 from quicksilver.partition where dataset = 'misfit.locked' and state = 'built'"
    )
    seconds_until_well(lambda: {} if stage.ledger(state) else {_LOCKED: "not built"}, 120)
    session = psycopg.connect(stage.env["QUICKSILVER_WAREHOUSE_URL"])
    session.execute("lock table bronze.misfit_locked in access exclusive mode")
    _put(stage, _LOCKED, "2015-01-02", _rows(pa.table({"id": [2]})))
    return session


def _rows(table: ArrowTable) -> bytes:
    sink = BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _put(stage: ChaosStage, folder: str, dt: date | str, body: bytes) -> None:
    stage.lake.put_object(BUCKET, f"{folder}/dt={dt}/data.parquet", BytesIO(body), len(body))


def _way(stage: ChaosStage, dt: date, number: int) -> float:
    began = time.monotonic()
    stage.put(dt, number)
    stage.await_built(120)
    return time.monotonic() - began


def _break(stage: ChaosStage) -> None:
    """Thousands of partitions that cannot be listed or fired, and files that cannot be read."""
    lake = stage.lake
    for listed in lake.list_objects("vanished", recursive=True):
        lake.remove_object("vanished", listed.object_name or "")
    lake.remove_bucket("vanished")
    for name in ("misfit.vanished", "misfit.refused", "misfit.unknown"):
        rows(stage.env["QUICKSILVER_DATABASE_URL"], _RAISE, (name, _MANY))
    for number in range(20):
        dt = date(2015, 1, 1) + timedelta(days=number)
        # What Prefect refuses must be there to be listed.
        for folder in ("refused", "unknown"):
            _put(stage, folder, dt, b"no parquet")
    bad = [
        b"no parquet",
        _rows(pa.table({"name": ["a\x00b"]})),
        _rows(pa.table({f"column {n}": [n] for n in range(1570)})),
    ]
    for number in range(_FILES):
        dt = date(2015, 1, 1) + timedelta(days=number)
        _put(stage, _FILE, dt, bad[number % len(bad)])
    stage.say(f"{3 * _MANY} partitions that cannot be built, {_FILES} files that cannot be read")


def _named(stage: ChaosStage) -> Check:
    """Every misfit is named, with its reason, and an unreadable file is not tried again."""
    deadline = time.monotonic() + 120
    named: set[str] = set()
    failed: list[int] = []
    while time.monotonic() < deadline:
        found = stage.ledger("select subject from quicksilver.alert where cleared_at is null")
        named = {str(row[0]) for row in found}
        failed = [
            int(row[0])
            for row in stage.ledger(
                "select attempts from quicksilver.partition"
                " where dataset = %s and state = 'failed'",
                f"misfit.{_FILE}",
            )
        ]
        wanted = {"misfit.vanished", "misfit.refused", "misfit.unknown"}
        waits = stage.ledger(
            "select 1 from quicksilver.build where dataset = 'misfit.locked'"
            " and error like '%%waits to be published: session%%'"
        )
        if wanted <= named and len(failed) == _FILES and waits:
            once = sum(attempts == 1 for attempts in failed)
            note = f"3 by alerts, the lock by its holder; {_FILES} files failed, {once} at once"
            return "misfits are named", once == _FILES, note
        time.sleep(0.5)
    return (
        "misfits are named",
        False,
        f"alerts: {sorted(named)}; {len(failed)} of {_FILES} files failed",
    )


def _told(ways: list[float]) -> str:
    return f"p50 {statistics.median(ways):.1f} s, max {max(ways):.1f} s"
