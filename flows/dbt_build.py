"""`dbt-build`: run a user's own dbt project for a partition, as `dbt:` of its dataset says.

The run's end is the build's: a failed node fails the run, which the dispatcher tries again.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import psycopg
from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.context import FlowRunContext
from tenacity import retry, retry_if_result, wait_fixed

from quicksilver.build.own_dbt import DbtNode, own_project, refuse_failed
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.parameters import Asked, fill, values
from quicksilver.domain.partition import Partition
from quicksilver.errors import LedgerUnavailableError, SettingsError
from quicksilver.flows.run_report import artifact_key
from quicksilver.ledger import Ledger
from quicksilver.orchestrator.blocks import settings_of_run
from quicksilver.settings import Settings
from quicksilver.support.postgres import Database, conninfo
from quicksilver.support.project import project_folder

# Class of advisory locks: runs of a dbt project, told apart by a digest of its folder.
_PROJECT_SPACE = 0x51_44
_ASK_AGAIN = 0.5


@flow(name="dbt-build")
async def dbt_build(
    dataset: str,
    partition: str,
    generation: int = 1,
    attempt: int = 1,
    files: list[str] | None = None,
) -> dict[str, Any]:
    """Run the dataset's dbt project; what became of its nodes.

    Returns:
        `nodes`, each with `name`, `kind`, `status`, `seconds`, `rows`.

    Raises:
        SettingsError: the dataset declares no dbt project, or one that is not there.
        ModelError, DataTestError: dbt failed; the message names the nodes.
    """
    settings = await settings_of_run()
    declared = load_datasets(settings.datasets_file)
    own = declared.get(dataset)
    rule = own.dbt
    if rule is None:
        raise SettingsError(f"dataset {dataset} has no `dbt:` in {declared.path}")
    asked = Asked(Partition(dataset, partition), generation, attempt)
    known = {**values(own, asked), "files": files or []}
    project = own_project(rule, fill(rule.vars, known), project_folder())
    async with _turn(settings, str(project.folder), rule.max_running):
        nodes = await asyncio.to_thread(project.run)
    shown = [
        {name: value for name, value in asdict(node).items() if name != "message"} for node in nodes
    ]
    details = {"dbt": shown, "failed_tests": [n.name for n in nodes if n.status == "fail"]}
    await _note(settings, details)
    await acreate_markdown_artifact(
        key=artifact_key("dbt-build", asked.partition),
        markdown=as_markdown(asked, nodes),
        description=f"{asked.partition} generation {generation}",
    )
    refuse_failed(nodes)
    get_run_logger().info("%s: %d nodes of dbt", asked.partition, len(nodes))
    return {"nodes": shown}


def as_markdown(asked: Asked, nodes: Sequence[DbtNode]) -> str:
    """What dbt did, a row a node, failed ones first."""
    lines = [
        f"# {asked.partition} generation {asked.generation}",
        "",
        "| node | kind | status | rows | seconds | |",
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    for node in sorted(nodes, key=lambda node: not node.is_failed):
        rows = "" if node.rows is None else f"{node.rows:,}"
        said = " ".join(node.message.split()).replace("|", "\\|") if node.is_failed else ""
        lines.append(
            f"| {node.name} | {node.kind} | {node.status} | {rows} | {node.seconds:.3f} | {said} |"
        )
    return "\n".join(lines)


@asynccontextmanager
async def _turn(settings: Settings, project: str, slots: int) -> AsyncGenerator[None]:
    """Hold one of a project's slots: runs of one project swap the same views.

    Raises:
        LedgerUnavailableError: the ledger, whose locks these are, does not answer.
    """
    first = int.from_bytes(sha256(project.encode()).digest()[:3]) * 64
    try:
        connection = await psycopg.AsyncConnection.connect(
            conninfo(
                settings.database_url.get_secret_value(),
                application_name="quicksilver-dbt",
                connect_timeout=5,
            ),
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        raise LedgerUnavailableError(f"the ledger does not answer: {error}") from error
    async with connection:
        # A run that dies gives its slot back with its session; the time limit is Prefect's.
        await _take_slot(connection, range(first, first + min(slots, 64)))
        yield


@retry(retry=retry_if_result(lambda is_taken: not is_taken), wait=wait_fixed(_ASK_AGAIN))
async def _take_slot(connection: psycopg.AsyncConnection[Any], slots: range) -> bool:
    for slot in slots:
        found = await connection.execute(
            "select pg_try_advisory_lock(%s, %s)", (_PROJECT_SPACE, slot)
        )
        row = await found.fetchone()
        if row is not None and row[0]:
            return True
    return False


async def _note(settings: Settings, details: dict[str, Any]) -> None:
    """Leave the results beside the build, for the pages; a run by hand has none."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None:
        return
    database = Database(settings.database_url.get_secret_value(), size=1, application="dbt-build")
    await database.open()
    try:
        datasets = load_datasets(settings.datasets_file)
        await Ledger(database, datasets).runs.note_details(run.id, details)
    # dbt's work stands: what is shown of it must not fail the run.
    except LedgerUnavailableError as error:
        get_run_logger().warning("dbt's results could not be noted: %s", error)
    finally:
        await database.close()
