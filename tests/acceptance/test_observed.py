"""What operators' own systems see of a real stack: traces, metrics, logs, a lane that breaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from minio.notificationconfig import NotificationConfig

from tests.support.checkout import PROJECT
from tests.support.full_stack import BUCKET, DATASET, FullStack
from tests.support.otlp import Collector, Span
from tests.support.waiting import until

DT = "2021-01-01"
SPANS = {"receive", "dispatch", "silver-build", "begin", "open", "load", "dbt", "publish"}


@pytest.fixture(scope="module")
def observed(full_stack: FullStack) -> tuple[FullStack, Collector]:
    """The stack when its first partition is built: these tests come before all others of it."""
    assert not full_stack.ledger("select * from quicksilver.build"), "others were here before"
    full_stack.put_month(2021, 1)
    until(lambda: full_stack.partition(DT).get("state") == "built", "the build", within=120)
    until(lambda: ended(full_stack), "the end of its run")
    return full_stack, full_stack.collector


def ended(stack: FullStack) -> bool:
    return all(b["finished_at"] for b in stack.ledger("select * from quicksilver.build"))


def scraped(stack: FullStack, name: str) -> dict[str, float]:
    """A metric's samples by their labels as text."""
    lines = stack.call("GET", "/metrics").text.splitlines()
    found = [line.removeprefix(name).rsplit(" ", 1) for line in lines if line.startswith(name)]
    return {labels: float(number) for labels, number in found}


def log_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a log; other programs write into it too."""
    lines = path.read_text(errors="replace").splitlines()
    # A worker puts what its runs write into lines of its own.
    found = [line[line.find("{") :] for line in lines if '"event"' in line]
    return [json.loads(line) for line in found]


def test_one_trace_through_the_prefect_run(observed: tuple[FullStack, Collector]) -> None:
    stack, collector = observed

    def traced() -> list[Span]:
        mine = [s for s in collector.spans if s.name == "silver-build"]
        if not mine:
            return []
        found = [s for s in collector.spans if s.trace == mine[0].trace]
        return found if {s.name for s in found} >= SPANS else []

    spans = {span.name: span for span in until(traced, "the whole trace")}
    assert spans["dispatch"].parent == spans["receive"].id
    assert spans["silver-build"].parent == spans["dispatch"].id
    assert spans["receive"].service == "quicksilver"
    assert spans["publish"].service == "quicksilver-flow"
    (build,) = stack.ledger("select * from quicksilver.build")
    assert spans["silver-build"].attributes["quicksilver.flow_run_id"] == str(build["flow_run_id"])
    assert spans["receive"].begin <= spans["dispatch"].begin <= spans["silver-build"].begin
    assert spans["load"].end <= spans["dbt"].end <= spans["publish"].end
    assert spans["publish"].end <= spans["silver-build"].end + 0.05


def test_metrics_of_a_real_build(observed: tuple[FullStack, Collector]) -> None:
    stack, _ = observed
    name = f'quicksilver_from_put_seconds_count{{dataset="{DATASET}",stage='
    assert scraped(stack, name) == {
        f'"{stage}"}}': 1.0 for stage in ("received", "dispatched", "started", "silver")
    }
    until(
        lambda: set(scraped(stack, "quicksilver_lane_up").values()) == {1.0},
        "both lanes' canary",
        within=60,
    )
    assert all(lag < 8 for lag in scraped(stack, "quicksilver_canary_lag_seconds").values())


def test_the_log_has_json_lines_of_service_and_run(
    observed: tuple[FullStack, Collector],
) -> None:
    stack, _ = observed
    (build,) = stack.ledger("select * from quicksilver.build")
    supervisor = stack.stack.supervisor
    names = {"dataset": DATASET, "partition": DT, "generation": 1}
    run = {**names, "flow_run_id": str(build["flow_run_id"])}
    fired = [line for line in log_lines(supervisor.log("service")) if line["event"] == "fired"]
    assert [{k: line[k] for k in run} for line in fired] == [run]
    began = [line for line in log_lines(supervisor.log("worker")) if line["event"] == "build began"]
    assert [{k: line[k] for k in run} for line in began] == [run]


def test_status_proof_on_the_command_line(observed: tuple[FullStack, Collector]) -> None:
    stack, _ = observed
    stack.call("POST", "/api/reconcile").raise_for_status()
    command = [sys.executable, "-m", "quicksilver.cli.main", "status", "--proof"]

    def ask(*more: str) -> str:
        done = subprocess.run(
            [*command, *more],
            env={**os.environ, **stack.env, "COLUMNS": "200"},
            cwd=PROJECT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def compared() -> dict[str, Any] | None:
        answer = json.loads(ask("--json"))
        (row,) = [row for row in answer["proof"] if row["dataset"] == DATASET]
        return {**answer, "row": row} if row["in_bronze"] else None

    answer = until(compared, "the comparison")
    row = answer["row"]
    assert (row["in_bronze"], row["in_ledger"], row["built"]) == (1, 1, 1)
    (origin,) = answer["origins"]
    assert (origin["objects"], origin["fast"], origin["only_sweep"]) == (1, 1, 0)
    assert "none" in ask()


def test_a_lane_that_breaks_alerts_sweeps_more_often_and_recovers(
    observed: tuple[FullStack, Collector],
) -> None:
    stack, _ = observed
    rules = stack.minio.get_bucket_notification(BUCKET)
    durable = [r for r in rules.queue_config_list if "DURABLE" in (r.queue or "")]
    stack.minio.set_bucket_notification(BUCKET, NotificationConfig(queue_config_list=durable))
    try:
        (alert,) = until(
            lambda: stack.ledger("select * from quicksilver.alert where cleared_at is null"),
            "the alert",
            within=120,
        )
        assert (alert["kind"], alert["subject"]) == ("lane", f"{BUCKET}/fast")
        assert "no notification rule for QUICKSILVER_FAST" in alert["text"]
        assert "swept every 120 s" in alert["text"]
        # What lands meanwhile is told of by the other lane.
        stack.put_month(2021, 2)
        until(lambda: stack.partition("2021-02-01").get("state") == "built", "a build", within=120)
    finally:
        stack.minio.set_bucket_notification(BUCKET, rules)
    until(
        lambda: not stack.ledger("select * from quicksilver.alert where cleared_at is null"),
        "the end of the alert",
        within=120,
    )
    changes = [
        line["sweep_interval"]
        for line in log_lines(stack.stack.supervisor.log("service"))
        if "sweep_interval" in line
    ]
    assert changes == [120.0, 300.0]
