"""Whether each deployment that a dataset fires exists, and accepts its parameters."""

from dataclasses import dataclass
from typing import Any

from prefect.flows import load_flow_arguments_from_entrypoint
from prefect.utilities.callables import parameter_schema_from_entrypoint
from ruamel.yaml import YAML

from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.parameters import OF_OUR_FLOW
from quicksilver.errors import (
    DeploymentNotFoundError,
    PrefectUnavailableError,
    QuicksilverError,
    SettingsError,
)
from quicksilver.operators.check.finding import Finding, Level
from quicksilver.orchestrator.deploy import PREFECT_FILE, declared_deployments
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.settings import Settings
from quicksilver.support.project import project_folder


async def check_deployments(settings: Settings, datasets: Datasets) -> list[Finding]:
    """Findings about `prefect.yaml` and about the deployments that `datasets.yaml` names.

    One that `prefect.yaml` does not declare may be another project's: Prefect is asked for it.
    """
    path = project_folder() / PREFECT_FILE
    try:
        said = declared_deployments()
    except QuicksilverError as error:
        return [Finding(Level.ERROR, str(path), str(error), "fix that file")]
    findings, ours = _declared(str(path), said)
    wanted = {d.deployment: d.name for d in reversed((*datasets.datasets, *datasets.gates))}
    foreign: list[str] = []
    for deployment, name in wanted.items():
        where = f"{datasets.path}:{datasets.line_of(name, 'deployment')}"
        if deployment in ours:
            findings.append(Finding(Level.OK, where, f"{name}: {deployment} is in {PREFECT_FILE}"))
            findings += [
                finding
                for dataset in datasets.datasets
                if dataset.deployment == deployment
                for finding in _misfits(datasets, dataset, ours[deployment])
            ]
        else:
            foreign.append(deployment)
    if foreign:
        findings += await _asked(settings, datasets, {d: wanted[d] for d in foreign})
    return findings


@dataclass(frozen=True, slots=True)
class _Takes:
    """A deployment's flow parameters, and those that the caller must give."""

    every: frozenset[str]
    required: frozenset[str]


def _misfits(datasets: Datasets, dataset: Dataset, takes: _Takes) -> list[Finding]:
    """Parameters that the flow does not take, and required ones that the dataset does not give."""
    if dataset.parameters is not None:
        given = set(dataset.parameters)
        unknown = sorted(given - takes.every)
    else:
        given = set(OF_OUR_FLOW if dataset.is_ours else dataset.known_fields)
        unknown = []
    missing = sorted(takes.required - given)
    where = f"{datasets.path}:{datasets.line_of(dataset.name, 'parameters')}"
    found: list[Finding] = []
    if unknown:
        what = f"{dataset.name}: {dataset.deployment} takes no {', '.join(unknown)}"
        known = ", ".join(sorted(takes.every)) or "nothing"
        found.append(Finding(Level.ERROR, where, what, f"it takes {known}: correct parameters"))
    if missing:
        what = f"{dataset.name}: {dataset.deployment} also needs {', '.join(missing)}"
        found.append(Finding(Level.ERROR, where, what, "give it under parameters"))
    return found


def _declared(path: str, said: dict[str, Any]) -> tuple[list[Finding], dict[str, _Takes]]:
    """What is wrong with `prefect.yaml`, and what each `flow/deployment` of it takes."""
    findings: list[Finding] = []
    names: dict[str, _Takes] = {}
    lines = _lines(path)
    for position, deployment in enumerate(said["deployments"]):
        where = f"{path}:{lines[position] if position < len(lines) else 1}"
        entrypoint = str(deployment.get("entrypoint") or "")
        try:
            flow = load_flow_arguments_from_entrypoint(entrypoint).get("name")
            # The flow is loaded as well: an error in its file is found here rather than by its run.
            schema = parameter_schema_from_entrypoint(entrypoint)
        except Exception as error:
            words = " ".join(str(error).split()) or type(error).__name__
            findings.append(
                Finding(
                    Level.ERROR,
                    where,
                    f"deployment {deployment.get('name')}: entrypoint {entrypoint!r}: {words}",
                    "name a flow as file.py:function (from the project's folder) or as"
                    " module.function",
                )
            )
            continue
        own = frozenset(deployment.get("parameters") or ())
        names[f"{flow}/{deployment.get('name')}"] = _Takes(
            frozenset(schema.properties), frozenset(schema.required) - own
        )
    return findings, names


def _lines(path: str) -> list[int]:
    """The line (from 1) of each deployment."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            tree: Any = YAML(typ="rt").load(file)
    except OSError:
        return []
    return [each.lc.line + 1 for each in tree["deployments"]]


async def _asked(settings: Settings, datasets: Datasets, wanted: dict[str, str]) -> list[Finding]:
    findings: list[Finding] = []
    try:
        deployments = Deployments(
            settings.prefect_api_url, settings.prefect_auth_string.get_secret_value()
        )
        await deployments.open()
    except (PrefectUnavailableError, SettingsError, OSError, RuntimeError) as error:
        names = ", ".join(wanted)
        return [Finding(Level.UNCHECKED, f"deployments {names}", str(error))]
    try:
        for deployment, name in wanted.items():
            where = f"{datasets.path}:{datasets.line_of(name, 'deployment')}"
            try:
                await deployments.deployment_id(deployment)
            except DeploymentNotFoundError:
                findings.append(
                    Finding(
                        Level.ERROR,
                        where,
                        f"{name}: neither {PREFECT_FILE} nor Prefect knows {deployment!r}",
                        f"declare it in {PREFECT_FILE}, or correct the name (flow/deployment)",
                    )
                )
            except PrefectUnavailableError as error:
                findings.append(
                    Finding(
                        Level.UNCHECKED,
                        where,
                        f"{name}: {deployment} is not in {PREFECT_FILE}: {error}",
                        "start Prefect, or correct PREFECT_API_URL",
                    )
                )
            else:
                findings.append(Finding(Level.OK, where, f"{name}: Prefect knows {deployment}"))
    finally:
        await deployments.close()
    return findings
