"""Whether each deployment that a dataset fires exists, and takes what it is given."""

from typing import Any

from prefect.flows import load_flow_arguments_from_entrypoint
from prefect.utilities.callables import parameter_schema_from_entrypoint
from ruamel.yaml import YAML

from quicksilver.domain.datasets import Datasets
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

    One that `prefect.yaml` does not declare may be somebody else's: Prefect is asked for it.
    """
    path = project_folder() / PREFECT_FILE
    try:
        said = declared_deployments()
    except QuicksilverError as error:
        return [Finding(Level.ERROR, str(path), str(error), "mend that file")]
    findings, ours = _declared(str(path), said)
    wanted = {d.deployment: d.name for d in reversed((*datasets.datasets, *datasets.gates))}
    foreign: list[str] = []
    for deployment, name in wanted.items():
        where = f"{datasets.path}:{datasets.line_of(name, 'deployment')}"
        if deployment in ours:
            findings.append(Finding(Level.OK, where, f"{name}: {deployment} is in {PREFECT_FILE}"))
        else:
            foreign.append(deployment)
    if foreign:
        findings += await _asked(settings, datasets, {d: wanted[d] for d in foreign})
    return findings


def _declared(path: str, said: dict[str, Any]) -> tuple[list[Finding], set[str]]:
    """What is wrong with `prefect.yaml`, and the `flow/deployment`s that it declares."""
    findings: list[Finding] = []
    names: set[str] = set()
    lines = _lines(path)
    for position, deployment in enumerate(said["deployments"]):
        where = f"{path}:{lines[position] if position < len(lines) else 1}"
        entrypoint = str(deployment.get("entrypoint") or "")
        try:
            flow = load_flow_arguments_from_entrypoint(entrypoint).get("name")
            # Read as well: a flow whose file has an error is found here rather than by its run.
            parameter_schema_from_entrypoint(entrypoint)
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
        names.add(f"{flow}/{deployment.get('name')}")
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
