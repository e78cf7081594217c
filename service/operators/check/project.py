"""The whole check of a project: each part, and what could not be checked."""

from collections.abc import Awaitable, Callable

from quicksilver.domain.datasets import Datasets, load_datasets
from quicksilver.errors import DatasetsError
from quicksilver.operators.check.deployments import check_deployments
from quicksilver.operators.check.finding import Finding, Level, split_error
from quicksilver.operators.check.lake import check_lake
from quicksilver.operators.check.models import check_models
from quicksilver.settings import Settings

_PARTS: tuple[Callable[[Settings, Datasets], Awaitable[list[Finding]]], ...] = (
    check_deployments,
    check_models,
    check_lake,
)


async def check_project(settings: Settings) -> list[Finding]:
    """Findings about `datasets.yaml`, `prefect.yaml`, the dbt project and the buckets.

    Works with parts missing: what could not be checked is a finding of its own.
    """
    path = settings.datasets_file
    try:
        datasets = load_datasets(path)
    except DatasetsError as error:
        where, what = split_error(error)
        do = (
            "fix that line; docs/datasets.md explains each field"
            if path.is_file()
            else "call this in a project's folder, or make one: quicksilver new FOLDER"
        )
        return [
            Finding(Level.ERROR, where or str(path), what, do),
            Finding(Level.UNCHECKED, "deployments, dbt, lake", f"{path} was not read"),
        ]
    names = ", ".join(datasets.by_name) or "none"
    findings = [Finding(Level.OK, str(path), f"datasets: {names}")]
    for part in _PARTS:
        findings += await part(settings, datasets)
    return findings
