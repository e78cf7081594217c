"""`quicksilver demo`: the main job on the embedded stack, end to end, with its own counts checked.

Twelve months are ingested by the daily deployment; each landing becomes an event, each event a
Prefect run, each run a silver partition. Then one month is overwritten, and built once more.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psycopg
import pyarrow.parquet as pq
from psycopg.rows import dict_row
from rich.console import Console

from quicksilver.cli.listing import Listing
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.partition import prefixes
from quicksilver.errors import QuicksilverError, SettingsError
from quicksilver.flows.nyc_tlc.generated import write_generated_year
from quicksilver.flows.nyc_tlc.ingest import DATASET
from quicksilver.flows.nyc_tlc.source import SourceUnavailableError, file_name, open_source
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings, load_settings
from quicksilver.stack import EmbeddedStack
from quicksilver.stack.commands import worker_limit
from quicksilver.stack.initialise import initialise_child, initialise_store
from quicksilver.support.http import local_http_client
from quicksilver.support.prefect_http import prefect_auth

YEAR = 2019
MONTHS = [date(YEAR, month, 1) for month in range(1, 13)]
# Overwritten at the end, with all but its last rows: a correction as TLC publishes them.
CORRECTED = date(YEAR, 7, 1)
_DROPPED = 100

# Full-size months over a slow line take minutes each; the demo's own twelve take one in all.
_PATIENCE = 3600.0

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

Show = Callable[[str], None]


class DemoFailedError(QuicksilverError):
    """Something did not come out as it must; the message lists what."""


@dataclass(frozen=True, slots=True)
class Stack:
    """How to reach the running stack."""

    settings: Settings
    env: Mapping[str, str]

    def ledger(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of the ledger."""
        return _rows(self.env["QUICKSILVER_DATABASE_URL"], statement, parameters)

    def warehouse(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of the warehouse."""
        return _rows(self.env["QUICKSILVER_WAREHOUSE_URL"], statement, parameters)

    def prefect(self, method: str, path: str, body: Any = None) -> Any:
        """Prefect's own API, as any client may call it."""
        answer = local_http_client().request(
            method,
            f"{self.env['PREFECT_API_URL']}{path}",
            json=body,
            auth=prefect_auth(self.env),
        )
        answer.raise_for_status()
        return answer.json()


def _rows(url: str, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=cast("Any", dict_row)) as connection:
        found = connection.execute(cast("Any", statement), parameters).fetchall()
    return cast("list[dict[str, Any]]", found)


def run_demo(settings: Settings, console: Console) -> None:
    """Run the demo in a fresh home of its own, and print its summary.

    Raises:
        DemoFailedError: a count is off, or a run did not complete.
        SettingsError: `TLC_SOURCE` has not what the demo needs; nothing was started.
        StackError: the embedded stack did not start.
    """
    home = settings.home.expanduser().resolve() / "demo"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, mode=0o700)

    def show(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    os.environ["TLC_SOURCE"] = choose_source(settings, home, show)
    began = time.monotonic()
    with EmbeddedStack(
        home,
        after_servers=[initialise_child],
        after_store=[initialise_store],
        limit=worker_limit(settings),
        say=show,
        store=settings.store,
    ) as embedded:
        env = embedded.environment()
        os.environ.update(env)
        stack = Stack(load_settings(), env)
        show(f"stack up after {time.monotonic() - began:.0f} s; ingesting {YEAR}")
        _ingest(stack, show)
        _overwrite(stack, show)
        problems = _report(stack, console)
    show(f"the stack is stopped; its state stays in {home} until the next demo")
    if problems:
        raise DemoFailedError("the demo's counts are off: " + "; ".join(problems))
    show(f"all as it must be, in {time.monotonic() - began:.0f} s")


def choose_source(settings: Settings, home: Path, show: Show) -> str:
    """`TLC_SOURCE` if it has the year; where that is TLC's own and out of reach, generated months.

    Raises:
        SettingsError: another source than TLC's own lacks a month, or does not answer.
    """
    where = settings.tlc_source
    is_official = where == Settings.model_fields["tlc_source"].default
    source = open_source(where)
    try:
        missing = [file_name(month) for month in MONTHS if not source.publishes(month)]
    except SourceUnavailableError as error:
        if not is_official:
            raise SettingsError(f"TLC_SOURCE: {error}") from error
        missing = [str(error)]
    if not missing:
        show(
            "source: TLC's official files, full size: this takes a while"
            if is_official
            else f"source: {source} (TLC_SOURCE)"
        )
        return where
    if not is_official:
        raise SettingsError(
            f"TLC_SOURCE: {source} lacks {len(missing)} of the {len(MONTHS)} months of {YEAR}"
            f" that the demo ingests: {', '.join(missing)}"
        )
    generated = home / "generated"
    write_generated_year(generated, YEAR)
    show("source: TLC's own is out of reach; twelve small months of its layout were GENERATED")
    return str(generated)


def _ingest(stack: Stack, show: Show) -> None:
    deployment = stack.prefect("GET", "/deployments/name/ingest-nyc-tlc/daily")
    run = stack.prefect(
        "POST",
        f"/deployments/{deployment['id']}/create_flow_run",
        {"parameters": {"year": YEAR}, "name": f"demo ingest {YEAR}"},
    )
    built = -1

    def ingested() -> bool:
        nonlocal built
        now = _count_built(stack, 1)
        if now > built:
            built = now
            show(f"  {built} of 12 partitions built")
        state = stack.prefect("GET", f"/flow_runs/{run['id']}")["state"]
        if state["type"] in ("FAILED", "CRASHED", "CANCELLED"):
            raise DemoFailedError(f"the ingest ended {state['name']}: {state['message']}")
        return state["type"] == "COMPLETED" and built == 12

    _until(ingested, "the ingest and its twelve partitions")
    _until(lambda: _settled(stack), "the last runs to end")


def _overwrite(stack: Stack, show: Show) -> None:
    show(f"overwriting {CORRECTED} without its last {_DROPPED} rows")
    dataset = load_datasets(stack.settings.datasets_file).get(DATASET)
    key = prefixes(dataset, CORRECTED.isoformat())[0] + "data.parquet"
    client = minio_client(stack.settings)
    response = client.get_object(dataset.bucket, key)
    table = pq.read_table(BytesIO(response.read()))
    response.close()
    corrected = BytesIO()
    pq.write_table(table.slice(0, table.num_rows - _DROPPED), corrected)
    size = corrected.tell()
    corrected.seek(0)
    client.put_object(dataset.bucket, key, corrected, size)
    _until(lambda: _count_built(stack, 2) == 1, "the overwritten month")
    _until(lambda: _settled(stack), "its run to end")


def _count_built(stack: Stack, generation: int) -> int:
    rows = stack.ledger(
        "select count(*) as n from quicksilver.partition"
        " where built_generation = generation and generation >= %(generation)s",
        generation=generation,
    )
    return int(rows[0]["n"])


def _settled(stack: Stack) -> bool:
    rows = stack.ledger("select count(*) as n from quicksilver.build where finished_at is null")
    return rows[0]["n"] == 0


def _until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise DemoFailedError(f"{what} did not come within {_PATIENCE:g} s")
        time.sleep(0.25)


def _report(stack: Stack, console: Console) -> list[str]:
    """Print the table and the totals; what is off, in words."""
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
        landed = sum(_rows_in(stack, f["key"]) for f in build["manifest"])
        if landed != counts.get(dt, {}).get("bronze"):
            problems.append(f"{dt}: {landed} rows landed, {counts.get(dt)} in the warehouse")
    expected = sorted([*MONTHS, CORRECTED])
    if sorted(build["dt"] for build in builds) != expected:
        problems.append(f"{len(builds)} builds instead of 13")
    bad = [b for b in builds if b["state"] != "succeeded"]
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


def _rows_in(stack: Stack, key: str) -> int:
    dataset = load_datasets(stack.settings.datasets_file).get(DATASET)
    response = minio_client(stack.settings).get_object(dataset.bucket, key)
    try:
        return pq.ParquetFile(BytesIO(response.read())).metadata.num_rows
    finally:
        response.close()
