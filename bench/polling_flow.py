"""Baseline (a), as a user would write it without events: a sensor that polls, then dbt by itself.

One flow run a partition, on a stock worker. What it does in the warehouse is what Quicksilver's
build does (same load, same models, same tests, same commit); only the way there is the usual one.
"""

from __future__ import annotations

import asyncio
import time
from datetime import date

from prefect import flow, task

from bench import cold_dbt
from quicksilver.build import dbt
from quicksilver.build.partition import build_partition
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.lake.bronze import Bronze
from quicksilver.settings import Settings, load_settings


@task(name="wait_for_partition")
async def wait_for_partition(bucket: str, prefix: str, poll_seconds: float) -> list[ManifestFile]:
    """List the prefix every `poll_seconds` until something lies there."""
    bronze = Bronze(load_settings())
    give_up = time.monotonic() + 900
    while time.monotonic() < give_up:
        found = await bronze.list_folder(bucket, prefix)
        if found:
            return [ManifestFile(one.key, one.etag, None, one.size) for one in found]
        await asyncio.sleep(poll_seconds)
    raise TimeoutError(f"nothing landed under {bucket}/{prefix}")


@flow(name="polling-pattern")
async def polling_pattern(prefix: str, dt: date, build: int, poll_seconds: float = 30) -> int:
    """Wait for a partition of `bench.polling`, load it, and run `dbt build` in a subprocess."""
    settings: Settings = load_settings()
    declared = load_datasets(settings.datasets_file).get("nyc_tlc.yellow_tripdata")
    dataset = declared.model_copy(update={"name": "bench.polling"})
    manifest = await wait_for_partition(dataset.bucket, prefix, poll_seconds)
    dbt.run = cold_dbt.run
    result = await build_partition(
        settings, dataset, dt.isoformat(), build_id=build, generation=1, manifest=manifest
    )
    return result.rows_silver
