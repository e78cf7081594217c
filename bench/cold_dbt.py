"""dbt as it is usually run: `dbt build` in a subprocess of its own, its target folder kept.

Same project, same selection, same warehouse; the parsed project is reused from the target folder,
as dbt does by itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from quicksilver.build.dbt import NodeResult, warehouse_environment
from quicksilver.build.dbt_project import analytics
from quicksilver.settings import Settings


def target_folder() -> Path:
    """Where dbt keeps its partial parse, its compiled SQL and its results."""
    return Path(os.environ["QUICKSILVER_HOME"]) / "cold-dbt"


def run(
    settings: Settings,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    select: str,
    exclude: str = "resource_type:unit_test",
    time_limit: timedelta = timedelta(minutes=30),
) -> list[NodeResult]:
    """As `quicksilver.build.dbt.run`, in a subprocess.

    Raises:
        RuntimeError: dbt did not get as far as its nodes; with the end of what it printed.
    """
    target = target_folder()
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("dbt")), *command,
            "--project-dir", str(analytics()),
            "--profiles-dir", str(analytics()),
            "--target-path", str(target),
            "--log-path", str(target),
            "--select", *select.split(),
            "--exclude", *exclude.split(),
        ],
        env={**os.environ, **warehouse_environment(settings, time_limit), **environment},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"dbt ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr}")
    return results(target)


def results(target: Path) -> list[NodeResult]:
    """How each node of the last run ended, in the order of their ends."""
    nodes: dict[str, Any] = json.loads((target / "manifest.json").read_bytes())["nodes"]
    found: list[NodeResult] = []
    for result in json.loads((target / "run_results.json").read_bytes())["results"]:
        node = nodes.get(result["unique_id"])
        if node is None:
            continue  # an exposure: nothing is built for it
        kind = node["resource_type"]
        rows = (result["adapter_response"] or {}).get("rows_affected") or 0
        config = node["config"]
        found.append(
            NodeResult(
                unique_id=result["unique_id"],
                name=node["name"],
                kind=kind,
                status=result["status"],
                seconds=result["execution_time"],
                rows=int(result["failures"] or 0) if kind == "test" else int(rows),
                message=str(result["message"] or ""),
                compiled=result.get("compiled_code") or "",
                schema=node["schema"],
                is_published=config["materialized"] == "partition"
                and config["meta"].get("published", True),
            )
        )
    return found


def executed_sql(target: Path) -> list[Path]:
    """The SQL files of the last run, as executed, in its order."""
    run_folder = target / "run" / "quicksilver"
    ordered = [result.name for result in results(target)]
    files = {path.stem: path for path in run_folder.rglob("*.sql")}
    return [files[name] for name in ordered if name in files]
