"""Many partitions at once: from the first PUT until the last one is silver."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from bench.months import small_month
from bench.report import Figure, Outcome
from bench.stage import STOCK, WARM, Stage, until

# As many rows as make the work of a partition that of its run, not of its rows.
_ROWS = 1_000
_PARTITIONS, _STOCK_PARTITIONS = 200, 8


def measure(stage: Stage) -> Outcome:
    """Partitions a second with a full backlog; the stock engine does a few, in the same run."""
    count, stock_count = (12, 3) if stage.quick else (_PARTITIONS, _STOCK_PARTITIONS)
    stock = _build(stage, STOCK, stock_count)
    stage.say(f"backlog: {stock:.2f} partitions/s with the stock engine")
    warm = _build(stage, WARM, count)
    figure = Figure(
        f"{count} partitions at once, all built", warm, "partitions/s",
        "≥ 4 x one run each", None, "(b) stock engine, one run each", stock, warm / stock, count,
    )  # fmt: skip
    return Outcome([figure], {"warm_per_second": warm, "stock_per_second": stock})


def _build(stage: Stage, dataset: str, count: int) -> float:
    months = [next(stage.dts) for _ in range(count)]
    bodies = [(dt, small_month(dt, _ROWS)) for dt in months]
    began = time.time()
    with ThreadPoolExecutor(8) as pool:
        for one in [pool.submit(stage.put, dataset, dt, body) for dt, body in bodies]:
            one.result()

    def ask() -> float | None:
        row = stage.ledger(
            "select count(*) filter (where state = 'built') as built,"
            " count(*) filter (where state = 'failed') as failed,"
            " extract(epoch from max(built_at))::float as last"
            " from quicksilver.partition where dataset = %s and dt = any(%s)",
            dataset,
            months,
        )[0]
        if row["failed"]:
            raise RuntimeError(f"{row['failed']} partitions of {dataset} failed")
        return row["last"] if row["built"] == count else None

    ended: float = until(ask, f"{count} partitions of {dataset}", within=420, every=0.2)
    return count / (ended - began)
