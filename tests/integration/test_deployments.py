"""`prefect deploy --all` on a real server: nobody is asked, and a second time changes nothing."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from quicksilver.domain.datasets import load_datasets
from quicksilver.support.prefect_http import prefect_auth
from tests.support.checkout import PROJECT

NAMES = (
    "ingest-nyc-tlc/daily",
    "ingest-nyc-tlc/fhv",
    "ingest-nyc-tlc/fhvhv",
    "ingest-nyc-tlc/green",
    "silver-build/nyc-tlc",
    "silver-after-bronze/polling-fallback",
    "dbt-build/default",
)


def test_deploys_from_anywhere_and_twice(prefect_api: str, tmp_path: Path) -> None:
    with httpx.Client(
        base_url=prefect_api, trust_env=False, timeout=30, auth=prefect_auth(os.environ)
    ) as client:
        _deploy(PROJECT)
        first = {name: client.get(f"/deployments/name/{name}").json() for name in NAMES}
        daily = first["ingest-nyc-tlc/daily"]
        (schedule,) = daily["schedules"]
        client.patch(
            f"/deployments/{daily['id']}/schedules/{schedule['id']}", json={"active": False}
        ).raise_for_status()

        _deploy(tmp_path)
        again = {name: client.get(f"/deployments/name/{name}").json() for name in NAMES}

    assert {name: it["id"] for name, it in first.items()} == {
        name: it["id"] for name, it in again.items()
    }
    assert schedule["schedule"]["cron"] == "0 4 * * *"
    assert schedule["schedule"]["timezone"] == "America/New_York"
    assert schedule["active"]
    (kept,) = again["ingest-nyc-tlc/daily"]["schedules"]
    assert (kept["id"], kept["active"]) == (schedule["id"], False), "an operator's pause stays"
    assert daily["parameters"] == {"year": None}
    for name, deployment in again.items():
        _starts_from_the_package(name, deployment)
        assert deployment["work_pool_name"] == "default"
        kinds = {tag.partition(":")[0] for tag in deployment["tags"]}
        # A run of silver-build carries the tag of its own dataset: the deployment serves several.
        of_one = set() if name == "silver-build/nyc-tlc" else {"dataset"}
        assert kinds == {"layer", "owner"} | of_one
        assert deployment["description"]


def test_every_dataset_names_a_deployment_that_exists() -> None:
    for dataset in load_datasets(PROJECT / "datasets.yaml").datasets:
        assert dataset.deployment in NAMES


def _starts_from_the_package(name: str, deployment: dict[str, Any]) -> None:
    """No pull step, no path: a worker finds the flow wherever it stands."""
    assert deployment["pull_steps"] == []
    assert deployment["path"] is None
    module, _, function = deployment["entrypoint"].rpartition(".")
    assert getattr(import_module(module), function).name == name.partition("/")[0]


def _deploy(folder: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "prefect", "deploy", "--all"),
            *("--prefect-file", str(PROJECT / "prefect.yaml")),
        ],
        cwd=folder,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    if done.returncode:
        pytest.fail(f"prefect deploy: {done.stdout}\n{done.stderr}")
