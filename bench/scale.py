"""What questions to a ledger of 100,000 partitions cost beside the same with 100.

Two ledgers of their own on the stack's Postgres, written by SQL, and a service before each; every
question is put to both in turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from typing import Any

import psycopg

from bench.receiver import serving
from bench.report import Figure, Outcome, median
from bench.stage import WARM, BenchStage, fresh_database
from quicksilver.domain.datasets import Datasets, load_datasets
from quicksilver.ledger import Ledger
from quicksilver.ledger.migrate import migrate
from quicksilver.support import clock
from quicksilver.support.http import local_http_client
from quicksilver.support.postgres import Database

_FEW, _MANY, _ROUNDS = 100, 100_000, 7
# A person waits for a page, and a dispatcher for its claim, no longer than this at any size.
_LIMIT_MS = 500.0

_ROUTES = {
    "the overview": "/",
    "a page of partitions": f"/partitions?dataset={WARM}",
    "GET /api/partitions": f"/api/partitions?dataset={WARM}&limit=100",
    "GET /metrics": "/metrics",
}
# One in a hundred waits, as after a bad night.
_PARTITIONS = (
    "insert into quicksilver.partition (dataset, partition, dt, generation, built_generation,"
    " state, built_manifest, dirty_since, changed_at, built_at)"
    " select %(name)s, (date '1700-01-01' + n)::text, date '1700-01-01' + n, 1,"
    " case when n %% 100 = 0 then 0 else 1 end,"
    " case when n %% 100 = 0 then 'pending' else 'built' end, '[]',"
    " case when n %% 100 = 0 then now() end, now(),"
    " case when n %% 100 > 0 then now() end from generate_series(0, %(count)s - 1) as n"
)


def measure(stage: BenchStage) -> Outcome:
    """Ask both ledgers the same, in turn."""
    sizes = (_FEW, 2_000) if stage.quick else (_FEW, _MANY)
    urls = {size: _ledger(stage, size) for size in sizes}
    datasets = load_datasets(stage.settings.datasets_file)
    found: dict[str, dict[int, list[float]]] = {}
    with ExitStack() as stack:
        ports = {
            size: stack.enter_context(serving(stage, "stored", url))[0]
            for size, url in urls.items()
        }
        for number in range(_ROUNDS + 1):
            for size, port in ports.items():
                for name, seconds in {
                    **_ask_service(stage, port),
                    **asyncio.run(_ask_ledger(urls[size], datasets, number)),
                }.items():
                    if number:  # both are warm
                        found.setdefault(name, {}).setdefault(size, []).append(seconds * 1000)
    few, many = sizes
    figures = [
        _figure(name, few, many, median(by_size[few]), median(by_size[many]))
        for name, by_size in found.items()
    ]
    return Outcome(figures, {name: {str(n): v for n, v in f.items()} for name, f in found.items()})


def _figure(name: str, few: int, many: int, small: float, large: float) -> Figure:
    return Figure(
        f"{name}, {many:,} partitions", large, "ms", f"≤ {_LIMIT_MS:.0f} ms", large <= _LIMIT_MS,
        f"{few:,} partitions", small, large / small, _ROUNDS,
    )  # fmt: skip


def _ledger(stage: BenchStage, size: int) -> str:
    url = fresh_database(stage, "ledger", f"bench_scale_{size}")
    asyncio.run(migrate(url))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_PARTITIONS, {"name": WARM, "count": size})
        connection.execute("vacuum (analyze)")
    return url


def _ask_service(stage: BenchStage, port: int) -> dict[str, float]:
    token = stage.settings.operator_tokens[0].get_secret_value()
    found: dict[str, float] = {}
    with local_http_client() as client:
        for name, path in _ROUTES.items():
            began = time.perf_counter()
            answer = client.get(
                f"http://127.0.0.1:{port}{path}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
            )
            found[name] = time.perf_counter() - began
            answer.raise_for_status()
    return found


async def _ask_ledger(url: str, datasets: Datasets, number: int) -> dict[str, float]:
    database = Database(url)
    await database.open()
    ledger = Ledger(database, datasets)
    try:
        await ledger.views.partitions(dataset=WARM, limit=1)  # a connection is open
        names = [str(date(1700, 1, 1) + timedelta(days=n)) for n in range(100)]
        if not number:
            await ledger.proof.record_sweep(
                WARM, clock.now(), listed=100, found=0, gone=0, names=names
            )
        questions: Sequence[tuple[str, Callable[[], Awaitable[Any]]]] = (
            (
                "a claim",
                lambda: ledger.claims.claim(
                    "bench", slots=4 * (number + 1), lease=timedelta(minutes=5)
                ),
            ),
            ("what a gate asks", lambda: ledger.gates.members([WARM])),
            ("the proof", ledger.proof.compare),
        )
        found: dict[str, float] = {}
        for name, ask in questions:
            began = time.perf_counter()
            await ask()
            found[name] = time.perf_counter() - began
        return found
    finally:
        await database.close()
