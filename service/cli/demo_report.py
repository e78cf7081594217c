"""The demo's table, and the figures in it that are wrong."""

from collections.abc import Mapping
from datetime import date, datetime
from io import BytesIO
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
from rich.console import Console

from quicksilver.cli.demo_stage import CORRECTED, MONTHS, Stack
from quicksilver.cli.listing import Listing
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.states import BuildState
from quicksilver.lake.bronze import minio_client

_COUNTS = """
select
    dt,
    sum(bronze)::bigint as bronze,
    sum(silver)::bigint as silver,
    sum(rejected)::bigint as rejected
from (
    select dt, count(*) as bronze, 0 as silver, 0 as rejected
    from bronze.yellow_tripdata group by dt
    union all
    select dt, 0, count(*), 0 from silver.yellow_trips group by dt
    union all
    select dt, 0, 0, count(*) from silver.yellow_trips_rejected group by dt
) as counted
group by dt
"""


def report(stack: Stack, console: Console) -> list[str]:
    """Print the table and the totals; the wrong figures in words."""
    builds = stack.ledger("select *, partition::date as dt from quicksilver.build order by id")
    counts = {row["dt"]: row for row in stack.warehouse(_COUNTS)}
    ui = stack.env["PREFECT_API_URL"].removesuffix("/api")
    numbers = ("rows in", "silver", "rejected", "PUT → silver")
    listing = Listing(
        *("partition", *numbers, "run"), right=numbers, title="bronze landed, silver built"
    )
    for build in builds:
        listing.add(
            f"{build['dt']} g{build['generation']}",
            *(f"{build[name] or 0:,}" for name in ("rows_bronze", "rows_silver", "rows_rejected")),
            _seconds(build["put_at"], build["published_at"]),
            f"{ui}/runs/flow-run/{build['flow_run_id']}",
        )
    total = {
        name: sum(row[name] for row in counts.values()) for name in ("bronze", "silver", "rejected")
    }
    listing.sum_up(
        f"{len(counts)} partitions",
        *(f"{n:,}" for n in total.values()),
        "",
        f"{len(builds)} builds",
    )
    console.print(listing)
    return _problems(stack, builds, counts)


def _seconds(start: datetime | None, end: datetime | None) -> str:
    return f"{(end - start).total_seconds():.2f} s" if start and end else "-"


def _problems(
    stack: Stack, builds: list[dict[str, Any]], counts: Mapping[date, dict[str, Any]]
) -> list[str]:
    problems: list[str] = []
    if sorted(counts) != MONTHS:
        problems.append(f"the warehouse holds {len(counts)} partitions instead of twelve")
    for dt, row in counts.items():
        if row["bronze"] != row["silver"] + row["rejected"]:
            problems.append(
                f"{dt}: {row['bronze']} rows in bronze, {row['silver']} + {row['rejected']}"
            )
        if row["silver"] == 0:
            problems.append(f"{dt}: silver is empty")
    newest = {build["dt"]: build for build in builds}
    for dt, build in newest.items():
        landed = sum(_rows_in(stack, build["dataset"], f["key"]) for f in build["manifest"])
        if landed != counts.get(dt, {}).get("bronze"):
            problems.append(f"{dt}: {landed} rows landed, {counts.get(dt)} in the warehouse")
    expected = sorted([*MONTHS, CORRECTED])
    if sorted(build["dt"] for build in builds) != expected:
        problems.append(f"{len(builds)} builds instead of 13")
    bad = [b for b in builds if b["state"] != BuildState.SUCCEEDED]
    problems += [f"{b['dt']} g{b['generation']} ended {b['state']}: {b['error']}" for b in bad]
    runs: list[UUID] = [build["flow_run_id"] for build in builds]
    for run in runs:
        state = stack.prefect("GET", f"/flow_runs/{run}")["state"]
        if state["type"] != "COMPLETED":
            problems.append(f"run {run} is {state['name']}")
    yearly = stack.warehouse("select count(*) as n from gold.yearly_summary")
    if yearly[0]["n"] == 0:
        problems.append("gold.yearly_summary is empty")
    return problems


def _rows_in(stack: Stack, name: str, key: str) -> int:
    dataset = load_datasets(stack.settings.datasets_file).get(name)
    response = minio_client(stack.settings).get_object(dataset.bucket, key)
    try:
        return pq.ParquetFile(BytesIO(response.read())).metadata.num_rows
    finally:
        response.close()
