"""Partitions and gates as the API and the command line give them."""

from typing import Any, Literal

from quicksilver.operators.gates import GateView
from quicksilver.support.postgres import Row


def timeline(row: Row) -> dict[str, Any]:
    """A partition's way from PUT to silver, as the API gives it."""
    return {
        name: row[name].isoformat() if row[name] else None
        for name in (
            "put_at",
            "received_at",
            "dispatched_at",
            "started_at",
            "loaded_at",
            "built_at",
        )
    }


State = Literal["waiting", "pending", "running", "built", "failed", "paused"]


def shown(row: Row) -> dict[str, Any]:
    """A partition as the API gives it."""
    return {
        "dataset": row["dataset"],
        "partition": row["partition"],
        "dt": row["dt"].isoformat() if row["dt"] else None,
        "state": row["shown_state"],
        "generation": row["generation"],
        "built_generation": row["built_generation"],
        "attempts": row["attempts"],
        "flow_run_id": str(row["flow_run_id"]) if row["flow_run_id"] else None,
        "error": row["error"],
        "wait_reason": row["wait_reason"],
        "gone_at": row["gone_at"].isoformat() if row["gone_at"] else None,
        "rows_bronze": row["rows_bronze"],
        "rows_silver": row["rows_silver"],
        "rows_rejected": row["rows_rejected"],
        "timeline": timeline(row),
    }


def shown_gate(view: GateView) -> dict[str, Any]:
    """A gate's set as the API gives it; `generation` is None while anything is missing."""
    found, fired = view.found, view.fired
    return {
        "gate": found.gate.name,
        "set": found.key,
        "deployment": found.gate.deployment,
        "state": view.state,
        "missing": [
            {"dataset": m.dataset, "partition": m.partition, "state": m.state}
            for m in found.missing
        ],
        "generation": found.generation if found.is_complete else None,
        "fired_generation": fired["generation"] if fired else None,
        "fired_at": fired["fired_at"].isoformat() if fired else None,
        "flow_run_id": str(fired["flow_run_id"]) if fired and fired["flow_run_id"] else None,
    }
