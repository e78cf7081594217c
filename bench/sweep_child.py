"""One comparison of bronze with the ledger in a process of its own: `python -m bench.sweep_child`.

Prints one JSON line: seconds, partitions that lost objects, the memory that it took above what the
process had, and the longest stall of its event loop. The listing is made up, in pages as MinIO's
are: a bucket of a million objects would take longer to fill than the whole bench. The ledger is
real.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.manifest import ListedObject
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.roles.sweep import Sweep
from quicksilver.settings import load_settings
from quicksilver.support.postgres import Database

# As `bench.sweeps` wrote them.
WHEN = datetime(2024, 1, 1, tzinfo=UTC)

_TICK = 0.005


def dataset(name: str) -> Dataset:
    """A dataset whose partitions are named by a number."""
    return Dataset.model_validate(
        {
            "name": name,
            "bucket": "lake",
            "key": f"{name}/dt={{dt}}/part={{part}}/{{file}}",
            "deployment": "silver-build/nobody",
        }
    )


def key_of(name: str, number: int) -> str:
    """The key of an object, the only one of its partition."""
    return f"{name}/dt=2024-01-01/part={number:07}/data.parquet"


class _Listing(Bronze):
    """A bucket that holds the first so many objects of each dataset."""

    def __init__(self, objects: int) -> None:
        self._objects = objects

    def walk(self, bucket: str, prefix: str, *, start: str = "") -> Iterator[ListedObject]:
        del bucket
        name = prefix.partition("/")[0]
        first = int(start.partition("part=")[2][:7] or 0)
        for number in range(first, self._objects):
            yield ListedObject(key_of(name, number), f"{number:032x}", 1, WHEN)


async def _longest_stall(is_over: asyncio.Event) -> tuple[float, float]:
    """The event loop's longest stall in seconds, and its own processor time within that."""
    longest = busy = 0.0
    while not is_over.is_set():
        began, used = time.perf_counter(), time.thread_time()
        await asyncio.sleep(_TICK)
        longest = max(longest, time.perf_counter() - began - _TICK)
        busy = max(busy, time.thread_time() - used)
    return longest, busy


def _memory(field: str) -> float:
    """Megabytes of this process, as the kernel counts them."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


async def main() -> None:
    """Compare the datasets side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--objects", type=int, required=True, help="of each that bronze holds")
    options = parser.parse_args()
    settings = load_settings()
    datasets = Datasets(datasets=tuple(map(dataset, options.datasets)), path=Path())
    database = Database(settings.database_url.get_secret_value())
    await database.open()
    try:
        sweep = Sweep(settings, Ledger(database, datasets), _Listing(options.objects))
        is_over = asyncio.Event()
        watch = asyncio.create_task(_longest_stall(is_over))
        # The peak counts from here on.
        await asyncio.to_thread(Path("/proc/self/clear_refs").write_text, "5", encoding="utf-8")
        idle, began, used = _memory("VmRSS"), time.perf_counter(), time.process_time()
        results = await sweep.run_once()
        seconds, used = time.perf_counter() - began, time.process_time() - used
        is_over.set()
        stall, busy = await watch
        said = {
            "seconds": seconds,
            "listed": sum(result.listed for result in results),
            "found": sum(result.found for result in results),
            "gone": sum(result.gone for result in results),
            "memory_mb": _memory("VmHWM") - idle,
            "stall_ms": stall * 1000,
            "busy_ms": busy * 1000,
            "cpu_seconds": used,
        }
        print(json.dumps(said))
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
