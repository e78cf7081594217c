"""PUT → silver beside polling and the stock engine; PUT → created; create → first line.

Rounds are interleaved: the sensor of baseline (a) sleeps most of its round, and while it sleeps the
warm way is measured; it is left alone when it is about to poll.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from bench import limits
from bench.months import small_month
from bench.report import Figure, Outcome, median, percentile, spread
from bench.stage import NOBODY, POLLING, STOCK, WARM, BenchStage, key_of, seconds_between
from tests.support.waiting import until

# One warm build and its run's end take less; the sensor's poll must not fall into one.
_CLEAR = 5.0
_ROUNDS, _WARM_PER_ROUND, _CREATED = 3, 10, 120


@dataclass
class _Sensor:
    """A run of the polling pattern that waits for its partition."""

    dt: date
    began: float
    body: bytes


@dataclass
class _Times:
    """Seconds; `builds` are the ledger's rows."""

    warm: list[float] = field(default_factory=list[float])
    stock: list[float] = field(default_factory=list[float])
    polling: list[float] = field(default_factory=list[float])
    put: list[float] = field(default_factory=list[float])
    warm_builds: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    stock_builds: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def measure(stage: BenchStage) -> Outcome:
    """Take all figures about time from PUT on."""
    rounds, warm_per_round = (1, 4) if stage.quick else (_ROUNDS, _WARM_PER_ROUND)
    poll = 10.0 if stage.quick else 30.0
    times = _Times()
    # The first run of each way fills caches on disk, and is not counted.
    rehearsal = _sensor(stage, 1.0)
    stage.put(POLLING, rehearsal.dt, rehearsal.body)
    stage.await_silver(POLLING, rehearsal.dt)
    for _ in range(3):
        _warm(stage, _Times())
    _stock(stage, _Times())
    sensors = [_sensor(stage, poll) for _ in range(rounds)]
    # One PUT at a random moment of each third of the sensor's pause, to reduce variance.
    dice = random.Random(5)
    for number, sensor in enumerate(sensors):
        phase = (number + dice.random()) / rounds * poll
        _round(stage, sensor, phase, poll, warm_per_round, times)
        stage.say(
            f"round {number + 1}: warm {median(times.warm):.2f} s,"
            f" stock {times.stock[-1]:.1f} s, polling {times.polling[-1]:.1f} s"
        )
    created, alone = _created(stage, 10 if stage.quick else _CREATED)
    outcome = _outcome(times, created, alone, quick=stage.quick)
    figures, outcome.raw["limits"] = limits.measure(stage, times.put, alone, times.warm)
    outcome.figures += figures
    return outcome


def _round(
    stage: BenchStage, sensor: _Sensor, phase: float, poll: float, count: int, times: _Times
) -> None:
    now = time.time()
    cycles = -(-(now + 1 - sensor.began - phase) // poll)
    put_at = sensor.began + phase + cycles * poll
    done = 0
    while (left := put_at - time.time()) > 0:
        if left > _CLEAR and done < count:
            _warm(stage, times)
            done += 1
        else:
            time.sleep(min(left, 0.5))
    began = stage.put(POLLING, sensor.dt, sensor.body)
    polls_at = sensor.began + (cycles + 1) * poll
    while polls_at - time.time() > _CLEAR and done < count:
        _warm(stage, times)
        done += 1
    times.polling.append(stage.await_silver(POLLING, sensor.dt) - began)
    time.sleep(2.0)  # the end of that run
    _stock(stage, times)
    for _ in range(count - done):
        _warm(stage, times)


def _warm(stage: BenchStage, times: _Times) -> None:
    dt = next(stage.dts)
    body = small_month(dt)
    began = stage.put(WARM, dt, body)
    times.put.append(time.time() - began)
    times.warm.append(stage.await_silver(WARM, dt) - began)
    row = stage.await_end(WARM, dt)
    row["began"] = began
    times.warm_builds.append(row)


def _stock(stage: BenchStage, times: _Times) -> None:
    dt = next(stage.dts)
    body = small_month(dt)
    with stage.declared(STOCK):
        began = stage.put(WARM, dt, body)
        times.stock.append(stage.await_silver(WARM, dt) - began)
        times.stock_builds.append(stage.await_end(WARM, dt))


def _sensor(stage: BenchStage, poll: float) -> _Sensor:
    """Start a run of the polling pattern, and wait until it has polled for the first time."""
    dt = next(stage.dts)
    deployment = stage.call("GET", "/deployments/name/polling-pattern/stock")["id"]
    parameters = {
        "prefix": key_of(POLLING, dt).rpartition("/")[0] + "/",
        "dt": dt.isoformat(),
        # The id comes from the ledger's own sequence, which the warehouse shares.
        "build": stage.ledger(
            "select nextval(pg_get_serial_sequence('quicksilver.build', 'id')) as id"
        )[0]["id"],
        "poll_seconds": poll,
    }
    run = stage.call(
        "POST", f"/deployments/{deployment}/create_flow_run", {"parameters": parameters}
    )["id"]
    body = {"flow_runs": {"id": {"any_": [run]}}}

    def ask() -> str | None:
        state = stage.call("GET", f"/flow_runs/{run}")["state"]
        if state["type"] in ("FAILED", "CRASHED"):
            raise RuntimeError(f"the polling pattern failed: {state['message']}")
        found = stage.call("POST", "/task_runs/filter", body)
        return found[0]["start_time"] if found else None

    began: str = until(ask, "the sensor's first poll", within=120, every=0.3)
    return _Sensor(dt, datetime.fromisoformat(began).timestamp(), small_month(dt))


def _created(stage: BenchStage, count: int) -> tuple[list[float], list[float]]:
    """PUT → run created, in a pool without a worker; and Prefect's own call alone, in turn."""
    found: list[float] = []
    alone: list[float] = []
    parameters = {"dataset": NOBODY, "dt": "1970-01-01"}
    nobody = stage.call("GET", "/deployments/name/silver-build/nobody")["id"]
    for number in range(count):
        dt = next(stage.dts)
        began = stage.put(NOBODY, dt, b"%d is never read" % number)

        def ask(dt: date = dt) -> datetime | None:
            rows = stage.ledger(
                "select dispatched_at from quicksilver.build where dataset = %s and partition = %s",
                NOBODY,
                str(dt),
            )
            return rows[0]["dispatched_at"] if rows else None

        found.append(until(ask, f"the run of {NOBODY}/{dt}", within=120).timestamp() - began)
        # Frees the slot, since there is no worker to do it.
        stage.change_ledger(
            "with ended as (update quicksilver.build set state = 'cancelled', finished_at = now()"
            " where dataset = %s and partition = %s returning dataset, partition)"
            " update quicksilver.partition as p set state = 'built', built_generation = generation"
            " from ended as e where p.dataset = e.dataset and p.partition = e.partition",
            NOBODY,
            str(dt),
        )
        began = time.time()
        stage.call("POST", f"/deployments/{nobody}/create_flow_run", {"parameters": parameters})
        alone.append(time.time() - began)
        time.sleep(0.05)
    return found, alone


def _outcome(times: _Times, created: list[float], alone: list[float], *, quick: bool) -> Outcome:
    warm, stock, polling = median(times.warm), median(times.stock), median(times.polling)
    slowest = percentile(times.warm, 95)
    starts = [_start(row) for row in times.warm_builds]
    stock_starts = [_start(row) for row in times.stock_builds]
    start, stock_start = median(starts), median(stock_starts)
    late = percentile(starts, 95)
    half, most = percentile(created, 50) * 1000, percentile(created, 99) * 1000
    count = len(times.warm)
    scaled = " (quick: polled every 10 s)" if quick else ""
    figures = [
        Figure(
            "PUT → silver, p50", warm, "s", "≤ 0.6 s, ≥ 30 x faster than (a)",
            warm <= 0.6 and polling / warm >= 30,
            f"(a) polling every 30 s{scaled}", polling, polling / warm, count,
            spread=spread(times.warm),
        ),
        Figure(
            "PUT → silver, p50", warm, "s", "≥ 9 x faster than (b)", stock / warm >= 9,
            "(b) stock engine, 10 s poll", stock, stock / warm, count,
            spread=spread(times.stock),
        ),
        Figure("PUT → silver, p95", slowest, "s", "≤ 1.0 s", slowest <= 1.0, samples=count),
        Figure(
            "PUT → run created, p50", half, "ms", "≤ 1.2 x the create call",
            half <= 1200 * median(alone),
            "Prefect's create call alone", median(alone) * 1000,
            half / median(alone) / 1000, len(created), spread=spread(created),
        ),
        Figure(
            "PUT → run created, p99", most, "ms", "≤ 100 ms", most <= 100,
            "Prefect's create call alone", percentile(alone, 99) * 1000,
            most / percentile(alone, 99) / 1000, len(created), spread=spread(alone),
        ),
        Figure(
            "create → first line of flow code, p50", start, "s", "≤ 0.15 s", start <= 0.15,
            "(b) stock engine, 10 s poll", stock_start, stock_start / start, count,
            spread=spread(starts),
        ),
        Figure(
            "create → first line of flow code, p95", late, "s", "≤ 0.3 s", late <= 0.3,
            samples=count,
        ),
    ]  # fmt: skip
    raw = {
        "warm": times.warm,
        "stock": times.stock,
        "polling": times.polling,
        "created": created,
        "create_alone": alone,
        "start": starts,
        "stock_start": stock_starts,
        "budget_ms": budget(times.put, times.warm_builds),
        "dbt_nodes_ms": _nodes(times.warm_builds),
    }
    return Outcome(figures, raw)


def _start(row: dict[str, Any]) -> float:
    return seconds_between(row["dispatched_at"], row["started_at"])


def budget(puts: list[float], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds of each step from PUT to silver, each the median over the builds."""
    laps: dict[str, list[float]] = {}
    for put, row in zip(puts, rows, strict=True):
        began = datetime.fromtimestamp(row["began"], row["received_at"].tzinfo)
        timings = row["details"]["timings"]
        known = sum(timings.get(step, 0.0) for step in ("begin", "open", "load", "dbt", "publish"))
        steps = {
            "PUT": put,
            "event": max(0.0, seconds_between(began, row["received_at"]) - put),
            "commit": seconds_between(row["received_at"], row["claimed_at"]),
            "create": seconds_between(row["claimed_at"], row["dispatched_at"]),
            "start": _start(row),
            "begin": timings.get("begin", 0.0) + timings.get("open", 0.0),
            "load": timings["load"],
            "dbt": timings["dbt"],
            "publish": timings["publish"],
            "mark": max(0.0, seconds_between(row["started_at"], row["published_at"]) - known),
        }
        for name, seconds in steps.items():
            laps.setdefault(name, []).append(seconds * 1000)
    return {name: round(median(values), 1) for name, values in laps.items()}


def _nodes(rows: list[dict[str, Any]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in rows:
        for node in row["details"]["dbt"]:
            found.setdefault(node["name"], []).append(node["seconds"] * 1000)
    return {name: round(median(values), 1) for name, values in found.items()}
