"""A warm process that builds partitions on request: `python -m bench.build_child`.

One JSON line in (`partition`, `build`, `key`, `etag`, `size`), one out (seconds by step). No
Prefect, no ledger: what a build itself costs in the warehouse of the environment.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from bench.stage import WARM
from quicksilver.build.partition import build_partition
from quicksilver.build.preload import preload
from quicksilver.build.prepare import ensure_warehouse
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.settings import load_settings


async def main() -> None:
    """Answer until the input ends."""
    settings = load_settings()
    datasets = load_datasets(settings.datasets_file)
    dataset = datasets.get(WARM)
    preload()
    await ensure_warehouse(settings, datasets)
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        job: dict[str, Any] = json.loads(line)
        result = await build_partition(
            settings,
            dataset,
            job["partition"],
            build_id=job["build"],
            generation=1,
            manifest=[ManifestFile(job["key"], job["etag"], None, job["size"])],
        )
        answer = {"timings": result.timings, "rows": result.rows_bronze}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
