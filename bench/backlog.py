"""Many partitions at once: from the first PUT until the last one is silver."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from bench.months import small_month
from bench.report import Figure, Outcome
from bench.stage import SINGLE, WARM, BenchStage
from tests.support.waiting import until

_ROWS = 10_000
_PARTITIONS, _SINGLE_PARTITIONS = 200, 16


def measure(stage: BenchStage) -> Outcome:
    """Partitions a second with a full backlog; one run each before and after it, as a baseline."""
    count, single_count = (40, 6) if stage.quick else (_PARTITIONS, _SINGLE_PARTITIONS)
    with stage.declared(SINGLE):
        before, alone = _build(stage, single_count)
    stage.say(f"backlog: {before:.2f} partitions/s, one run each")
    together, shared = _build(stage, count)
    stage.say(f"backlog: {together:.2f} partitions/s, {count} at once")
    with stage.declared(SINGLE):
        after, more = _build(stage, single_count)
    stage.say(f"backlog: {after:.2f} partitions/s, one run each")
    # So many partitions in so many seconds: the mean that both rounds together are.
    single = 2 / (1 / before + 1 / after)
    figure = Figure(
        f"{count} partitions at once, all built", together, "partitions/s",
        "≥ 4 x one run each", None, "one run each", single, together / single, count,
    )  # fmt: skip
    return Outcome(
        [figure],
        {
            "rows": _ROWS,
            "together_per_second": together,
            "single_per_second": [before, after],
            "runs": {"together": _runs(stage, shared), "one each": _runs(stage, alone + more)},
            "step_seconds": {
                "together": _steps(stage, shared),
                "one each": _steps(stage, alone + more),
            },
        },
    )


def _runs(stage: BenchStage, months: list[date]) -> int:
    """How many runs the partitions took."""
    rows = stage.ledger(
        "select count(distinct flow_run_id) as runs from quicksilver.build"
        " where dataset = %s and partition = any(%s)",
        WARM,
        [str(dt) for dt in months],
    )
    return rows[0]["runs"]


def _steps(stage: BenchStage, months: list[date]) -> dict[str, float]:
    """Mean seconds of each step that the builds have noted, per partition."""
    rows = stage.ledger(
        "select t.key as step,"
        " avg(t.value::float / (b.details ->> 'together')::int)::float as seconds"
        " from quicksilver.build as b cross join jsonb_each_text(b.details -> 'timings') as t"
        " where b.dataset = %s and b.partition = any(%s) group by t.key",
        WARM,
        [str(dt) for dt in months],
    )
    return {row["step"]: round(row["seconds"], 4) for row in rows}


def _build(stage: BenchStage, count: int) -> tuple[float, list[date]]:
    months = [next(stage.dts) for _ in range(count)]
    bodies = [(dt, small_month(dt, _ROWS)) for dt in months]
    began = time.time()
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        for one in [pool.submit(stage.put, WARM, dt, body) for dt, body in bodies]:
            one.result()

    def ask() -> float | None:
        row = stage.ledger(
            "select count(*) filter (where state = 'built') as built,"
            " count(*) filter (where state = 'failed') as failed,"
            " extract(epoch from max(built_at))::float as last"
            " from quicksilver.partition where dataset = %s and dt = any(%s)",
            WARM,
            months,
        )[0]
        if row["failed"]:
            raise RuntimeError(f"{row['failed']} partitions failed")
        return row["last"] if row["built"] == count else None

    ended: float = until(ask, f"{count} partitions", within=420, every=0.2)
    return count / (ended - began), months
