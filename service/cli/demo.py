"""`quicksilver demo`: the main job on the embedded stack, end to end, with its own counts checked.

Twelve months are ingested by the daily deployment; each landing becomes an event, each event a
Prefect run, each run a silver partition. Then one month is overwritten, and built once more.
"""

import os
import shutil
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console

from quicksilver.cli.demo_report import report
from quicksilver.cli.demo_stage import CORRECTED, MONTHS, YEAR, DemoFailedError, Stack
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.partition import prefixes
from quicksilver.errors import SettingsError
from quicksilver.flows.nyc_tlc.generated import write_generated_year
from quicksilver.flows.nyc_tlc.ingest import DATASET
from quicksilver.flows.nyc_tlc.source import SourceUnavailableError, file_name, open_source
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings, load_settings
from quicksilver.stack import EmbeddedStack
from quicksilver.stack.commands import worker_limit
from quicksilver.stack.initialise import initialise_child, initialise_store

# How many rows the correction lacks.
_DROPPED = 100

# Full-size months over a slow line take minutes each; the demo's own twelve take one in all.
_PATIENCE = 3600.0

Show = Callable[[str], None]


def run_demo(settings: Settings, console: Console) -> None:
    """Run the demo in a fresh home of its own, and print its summary.

    Raises:
        DemoFailedError: a count is off, or a run did not complete.
        SettingsError: `TLC_SOURCE` lacks what the demo needs; nothing was started.
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
        problems = report(stack, console)
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
