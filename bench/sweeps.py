"""What a comparison of bronze with the ledger costs when there is much of both.

A ledger of its own on the stack's Postgres, written by SQL; the comparison runs in a process of its
own (`bench/sweep_child.py`), so that memory and stalls are its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import psycopg

from bench.report import Figure, Outcome
from bench.stage import BenchStage, fresh_database
from bench.sweep_child import WHEN
from quicksilver.ledger.migrate import migrate
from tests.support.checkout import PROJECT

_KNOWN, _GONE = 1_000_000, 100_000
# What is known lies in so many datasets: they are compared side by side.
_DATASETS = ("known_1", "known_2", "known_3", "known_4")

_PARTITIONS = (
    "insert into quicksilver.partition"
    " (dataset, partition, dt, generation, built_generation, state, built_manifest)"
    " select %(name)s, '2024-01-01/part=' || lpad(n::text, 7, '0'), '2024-01-01', 1, 1, 'built',"
    " '[]' from generate_series(0, %(count)s - 1) as n"
)
_OBJECTS = (
    "insert into quicksilver.object"
    " (dataset, partition, bucket, key, etag, size, last_modified, found_by, seen_at)"
    " select %(name)s, '2024-01-01/part=' || lpad(n::text, 7, '0'), 'lake',"
    " %(name)s || '/dt=2024-01-01/part=' || lpad(n::text, 7, '0') || '/data.parquet',"
    " lpad(to_hex(n), 32, '0'), 1, %(when)s, 'fast', %(when)s"
    " from generate_series(0, %(count)s - 1) as n"
)


def measure(stage: BenchStage) -> Outcome:
    """Compare what is all there, then what is all gone."""
    known, gone = (40_000, 4_000) if stage.quick else (_KNOWN, _GONE)
    url = fresh_database(stage, "ledger", "bench_sweeps")
    asyncio.run(migrate(url))
    each = known // len(_DATASETS)
    with psycopg.connect(url, autocommit=True) as connection:
        for name, count in {**dict.fromkeys(_DATASETS, each), "gone": gone}.items():
            values = {"name": name, "count": count, "when": WHEN}
            connection.execute(_PARTITIONS, values)
            connection.execute(_OBJECTS, values)
        connection.execute("vacuum (analyze)")
    stage.say(f"sweeps: {known:,} objects and {gone:,} lost partitions are in the ledger")
    there = _compare(stage, url, _DATASETS, each)
    lost = _compare(stage, url, ("gone",), 0)
    if (there["listed"], there["found"], lost["gone"]) != (known, 0, gone):
        raise RuntimeError(f"the sweep saw something else: {there}, {lost}")
    stall = max(there["stall_ms"], lost["stall_ms"])
    busy = max(there["busy_ms"], lost["busy_ms"])
    figures = [
        Figure(
            f"sweep of {known:,} known objects", there["seconds"], "s", "≤ 15 s",
            there["seconds"] <= 15, note=f"{there['cpu_seconds']:.1f} s of a core in Python",
        ),
        Figure(
            f"sweep of {known:,} known objects, memory above idle", there["memory_mb"], "MB",
            "≤ 60 MB", there["memory_mb"] <= 60,
        ),
        Figure(
            f"sweep of {gone:,} gone partitions", lost["seconds"], "s", "≤ 60 s",
            lost["seconds"] <= 60, note=f"{lost['cpu_seconds']:.1f} s of a core in Python",
        ),
        Figure(
            "sweeps, longest stall of the loop",
            stall,
            "ms",
            "≤ 50 ms",
            stall <= 50,
            note=f"of which the loop itself worked {busy:.0f} ms at most",
        ),
    ]  # fmt: skip
    return Outcome(figures, {"known": there, "gone": lost})


def _compare(
    stage: BenchStage, url: str, datasets: tuple[str, ...], objects: int
) -> dict[str, Any]:
    with (stage.stack.home.logs / "bench-sweep.log").open("ab") as log:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bench.sweep_child", *datasets),
                *("--objects", str(objects)),
            ],
            env={**os.environ, **stage.env, "QUICKSILVER_DATABASE_URL": url},
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])
