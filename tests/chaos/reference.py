"""Builds what is asked for on stdin, one after the other and undisturbed; digests to stdout."""

import asyncio
import json
import sys
from datetime import date
from typing import Any

import psycopg

from quicksilver.build.partition import build_partition
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.settings import load_settings
from tests.chaos.stage import DATASET, digests


async def main() -> None:
    """Build each job into the warehouse of the environment."""
    settings = load_settings()
    dataset = load_datasets(settings.datasets_file).get(DATASET)
    jobs: list[dict[str, Any]] = json.load(sys.stdin)
    found: list[Any] = []
    for number, job in enumerate(jobs, 1):
        dt = date.fromisoformat(job["dt"])
        manifest = [ManifestFile(job["key"], job["etag"], None, job["size"])]
        await build_partition(settings, dataset, job["dt"], number, 1, manifest)
        with psycopg.connect(settings.warehouse_url.get_secret_value()) as connection:
            found.append(digests(connection, dt))
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
