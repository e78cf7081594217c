"""A PUT to MinIO, through the real webhook, until its rows are in silver."""

import os
import signal
import subprocess
import sys
import time
from io import BytesIO
from typing import Any

import httpx

from quicksilver.support.prefect_http import prefect_auth
from tests.support.checkout import PROJECT
from tests.support.full_stack import BUCKET, DATASET, FullStack
from tests.support.waiting import until

COUNTS = """
select
    (select count(*) from bronze.yellow_tripdata where dt = %s) as bronze,
    (select count(*) from silver.yellow_trips where dt = %s) as silver,
    (select count(*) from silver.yellow_trips_rejected where dt = %s) as rejected
"""


def built(stack: FullStack, dt: str, generation: int, within: float = 120) -> dict[str, Any]:
    """Wait until a partition is built at a generation."""

    def ask() -> dict[str, Any] | None:
        row = stack.partition(dt)
        assert row.get("state") != "failed", row["error"]
        return row if row.get("built_generation", 0) >= generation else None

    return until(ask, f"{dt} at generation {generation}", within=within)


def builds_of(stack: FullStack, dt: str) -> list[dict[str, Any]]:
    return stack.ledger("select * from quicksilver.build where partition = %s order by id", dt)


def settled(stack: FullStack, dt: str) -> list[dict[str, Any]]:
    """The partition's builds, once all of their runs have ended."""
    until(
        lambda: all(build["finished_at"] for build in builds_of(stack, dt)),
        f"the end of the runs of {dt}",
    )
    return builds_of(stack, dt)


def test_put_becomes_silver(full_stack: FullStack) -> None:
    full_stack.put_month(2020, 1)
    row = built(full_stack, "2020-01-01", 1)
    counts = full_stack.warehouse(COUNTS, *["2020-01-01"] * 3)[0]
    assert counts["bronze"] == 300
    assert counts["bronze"] == counts["silver"] + counts["rejected"]
    assert row["rows_silver"] == counts["silver"]
    steps = [row["timeline"][step] for step in ("received_at", "dispatched_at", "started_at")]
    assert all(steps)
    assert sorted(steps) == steps
    (build,) = settled(full_stack, "2020-01-01")
    assert build["state"] == "succeeded"
    assert full_stack.run_state(str(build["flow_run_id"]))["type"] == "COMPLETED"
    assert build["idempotency_key"].startswith(f"{DATASET}/2020-01-01:1:1@")


def test_both_lanes_count_once_and_the_same_content_builds_nothing(full_stack: FullStack) -> None:
    full_stack.put_month(2020, 2)
    built(full_stack, "2020-02-01", 1)
    both = until(
        lambda: full_stack.ledger(
            "select * from quicksilver.event where partition = '2020-02-01'"
            " and fast_at is not null and durable_at is not null"
        ),
        "both lanes' copies",
    )
    assert len(both) == 1
    assert both[0]["deliveries"] == 2
    assert both[0]["reason"] == "fired"
    full_stack.put_month(2020, 2)
    until(
        lambda: full_stack.ledger(
            "select * from quicksilver.event"
            " where partition = '2020-02-01' and reason = 'unchanged'"
        ),
        "the second PUT's event",
    )
    assert full_stack.partition("2020-02-01")["generation"] == 1
    assert len(settled(full_stack, "2020-02-01")) == 1


def test_an_overwrite_is_built_once_and_replaces(full_stack: FullStack) -> None:
    full_stack.put_month(2020, 3)
    built(full_stack, "2020-03-01", 1)
    full_stack.put_month(2020, 3, rows=200, seed=1)
    built(full_stack, "2020-03-01", 2)
    counts = full_stack.warehouse(COUNTS, *["2020-03-01"] * 3)[0]
    assert counts["bronze"] == 200
    assert [build["state"] for build in settled(full_stack, "2020-03-01")] == ["succeeded"] * 2


def test_partitions_at_once_all_succeed_at_the_first_attempt(full_stack: FullStack) -> None:
    months = range(4, 10)
    for month in months:
        full_stack.put_month(2020, month)
    for month in months:
        built(full_stack, f"2020-{month:02d}-01", 1)
        assert [b["attempt"] for b in settled(full_stack, f"2020-{month:02d}-01")] == [1]


def test_a_broken_file_fails_with_a_sentence_and_a_better_one_heals(full_stack: FullStack) -> None:
    full_stack.put_month(2020, 10)
    built(full_stack, "2020-10-01", 1)
    before = full_stack.warehouse(COUNTS, *["2020-10-01"] * 3)
    key = "bronze/nyc_tlc/yellow_tripdata/dt=2020-10-01/data.parquet"
    full_stack.minio.put_object(BUCKET, key, BytesIO(b"no parquet"), 10)
    error = until(
        lambda: full_stack.partition("2020-10-01").get("error"), "the failed build", within=120
    )
    assert "data.parquet" in error
    assert full_stack.warehouse(COUNTS, *["2020-10-01"] * 3) == before
    # Failed at once: the same bytes would be as bad later.
    failed = full_stack.partition("2020-10-01")
    assert (failed["state"], failed["attempts"]) == ("failed", 1)
    full_stack.put_month(2020, 10, seed=2)
    until(lambda: full_stack.partition("2020-10-01")["generation"] == 3, "the better file's event")
    built(full_stack, "2020-10-01", 3)


def test_prefects_own_retry_rebuilds_or_says_why_not(full_stack: FullStack) -> None:
    dt, key = "2021-05-01", "bronze/nyc_tlc/yellow_tripdata/dt=2021-05-01/data.parquet"
    full_stack.minio.put_object(BUCKET, key, BytesIO(b"no parquet"), 10)
    until(lambda: full_stack.partition(dt).get("state") == "failed", "the failure", within=120)
    (first,) = settled(full_stack, dt)
    run = str(first["flow_run_id"])
    assert full_stack.prefect("GET", f"/flow_runs/{run}")["tags"].count(f"dataset:{DATASET}") == 1
    retry(full_stack, run)
    until(lambda: len(builds_of(full_stack, dt)) == 2, "the rebuild", within=120)
    again = settled(full_stack, dt)[1]
    assert (again["asked_by"], again["generation"]) == ("Retry in Prefect", 2)
    # The bytes are as bad as before: the run is red, and the partition is failed.
    state = until(
        lambda: (s := full_stack.run_state(run))["type"] == "FAILED" and s, "its end", within=120
    )
    assert "data.parquet" in state["message"]
    assert full_stack.partition(dt)["state"] == "failed"
    full_stack.put_month(2021, 5)
    until(lambda: full_stack.partition(dt).get("built_generation") == 3, "silver", within=120)
    settled(full_stack, dt)
    retry(full_stack, run)
    state = until(
        lambda: (s := full_stack.run_state(run))["type"] == "COMPLETED" and s, "its end", within=120
    )
    assert "is built at generation 3" in state["message"]


def retry(stack: FullStack, run: str) -> None:
    """What the button Retry of Prefect's pages does."""
    state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
    stack.prefect("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})


def test_polling_with_the_webhook_alive_builds_once(full_stack: FullStack) -> None:
    run = full_stack.run_deployment(
        "silver-after-bronze/polling-fallback", {"dt": "2020-11-01", "poll_seconds": 0.5}
    )
    full_stack.put_month(2020, 11)
    until(lambda: full_stack.run_state(run)["type"] == "COMPLETED", "the polling flow", within=120)
    assert full_stack.partition("2020-11-01")["state"] == "built"
    assert len(settled(full_stack, "2020-11-01")) == 1


def test_polling_names_the_prefix_when_nothing_lands(full_stack: FullStack) -> None:
    run = full_stack.run_deployment(
        "silver-after-bronze/polling-fallback",
        {"dt": "1999-01-01", "poll_seconds": 0.1, "timeout_minutes": 0.01},
    )
    state = until(
        lambda: (s := full_stack.run_state(run))["type"] == "FAILED" and s, "the time-out"
    )
    assert "dt=1999-01-01" in state["message"]


def test_a_stopped_service_loses_nothing_and_polling_builds_by_itself(
    full_stack: FullStack,
) -> None:
    supervisor = full_stack.stack.supervisor
    supervisor.stop_program("service")
    try:
        # More than once: nobody but the flow itself ends the build before.
        for rows in (300, 200):
            full_stack.put_month(2020, 12, rows=rows)
            run = full_stack.run_deployment(
                "silver-after-bronze/polling-fallback", {"dt": "2020-12-01", "poll_seconds": 0.5}
            )
            until(
                lambda run=run: full_stack.run_state(run)["type"] == "COMPLETED",
                "the polling flow with no service",
                within=150,
            )
            counts = full_stack.warehouse(COUNTS, *["2020-12-01"] * 3)[0]
            assert counts["bronze"] == rows
    finally:
        supervisor.start(full_stack.stack._programs["service"])  # pyright: ignore[reportPrivateUsage]
    built(full_stack, "2020-12-01", 2)
    assert [b["state"] for b in settled(full_stack, "2020-12-01")] == ["succeeded"] * 2


def test_a_killed_service_comes_back_and_goes_on(full_stack: FullStack) -> None:
    pid = full_stack.stack.supervisor.status("service").pid
    os.kill(pid, signal.SIGKILL)
    full_stack.put_month(2021, 1)
    built(full_stack, "2021-01-01", 1)


def test_the_example_automation_fires_its_deployment_for_a_built_partition(
    full_stack: FullStack,
) -> None:
    name = "quicksilver example: report each built partition"
    done = subprocess.run(
        [sys.executable, "-m", "quicksilver.cli.main", "init", "--no-lanes", "--example"],
        env={**os.environ, **full_stack.env},
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"automation '{name}': made" in done.stdout.replace("\n", "")
    try:
        run = reported(full_stack)
        dt = run["parameters"]["dt"]
        assert run["parameters"] == {"dataset": DATASET, "dt": dt}
        until(
            lambda: full_stack.run_state(run["id"])["type"] == "COMPLETED", "the report", within=120
        )
        made = full_stack.prefect(
            "POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
        )
        assert f"# {DATASET} {dt}" in made[0]["data"]
        assert "| bronze | 30 |" in made[0]["data"]
    finally:
        for automation in full_stack.prefect(
            "POST", "/automations/filter", {"automations": {"name": {"any_": [name]}}}
        ):
            url = f"{full_stack.env['PREFECT_API_URL']}/automations/{automation['id']}"
            auth = prefect_auth(full_stack.env)
            httpx.delete(url, trust_env=False, auth=auth).raise_for_status()


def reported(stack: FullStack) -> dict[str, Any]:
    """The first run of the example's deployment for a partition that was built.

    Prefect's events may be lost, and it takes up a new automation after a while: one more month
    lands until one is reported.
    """
    asked = {"flows": {"name": {"any_": ["partition-report"]}}}
    for month in range(1, 13):
        dt = f"2018-{month:02d}-01"
        stack.put_month(2018, month, rows=30)
        built(stack, dt, 1)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            for run in stack.prefect("POST", "/flow_runs/filter", asked):
                if run["parameters"].get("dt") == dt:
                    return run
            time.sleep(0.1)
    raise AssertionError("no run of partition-report for any of twelve partitions")
