"""dbt inside this process: the project parsed once per version of its files, then only run.

One invocation at a time and process: dbt keeps its adapter in a global.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import conninfo_to_dict

from quicksilver.build import dbt_patches
from quicksilver.build.dbt_project import dbt_project, is_published, macros_of_builds, manifest
from quicksilver.settings import Settings, load_settings
from quicksilver.support.postgres import conninfo
from quicksilver.warehouse.session import scratch_options

# dbt itself is imported where it is called: that takes 1.6 s, and who deploys a flow only reads it.
if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


# For what is not one partition's build, which has its dataset's own limit.
_BY_HAND = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class NodeResult:
    """How one model or test ended."""

    unique_id: str
    name: str
    kind: str
    status: str
    seconds: float
    rows: int
    message: str
    compiled: str
    schema: str
    is_published: bool

    @property
    def ok(self) -> bool:
        """Whether it neither failed nor was left out because another one did."""
        return self.status in ("success", "pass", "warn")


def told(results: Sequence[NodeResult]) -> str:
    """How each node ended, a line each: for the log of a run."""
    return "\n".join(
        f"{one.kind} {one.name}: {one.status} in {one.seconds:.2f} s, {one.rows:,} rows"
        + ("" if one.ok or not one.message else f": {' '.join(one.message.split())}")
        for one in results
    )


def preload() -> None:
    """Import dbt, parse the project and compile it once, so that a fork of this process only runs.

    dbt builds much of itself on first use (JSON schemas, serializers, templates): 0.7 s of a core.
    What only runs with a connection, the macros that make tables and tests, is compiled by name:
    another 0.15 s. Opens no connection, leaves no thread and no descriptor.

    Raises:
        ModelError: the project does not parse.
    """
    # Imported by dbt when a build begins.
    importlib.import_module("dbt.task.build")
    _invoke(
        ["compile", "--no-introspect"],
        {"QUICKSILVER_BUILD": "0", "DBT_PG_DBNAME": "warehouse"},
        select="path:models",
        exclude="resource_type:unit_test",
    )
    jinja: Any = importlib.import_module("dbt_common.clients.jinja")
    for macro in macros_of_builds():
        jinja.template_cache.get_node_template(macro)


def run(
    settings: Settings,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    select: str,
    exclude: str = "resource_type:unit_test",
    time_limit: timedelta = _BY_HAND,
) -> list[NodeResult]:
    """Invoke dbt on the warehouse of the settings, and say how each node ended.

    `environment` holds for this invocation only; no statement takes longer than `time_limit`. An
    empty list: nothing is selected.

    Raises:
        ModelError: dbt did not get as far as its nodes.
    """
    names = {**warehouse_environment(settings, time_limit), **environment}
    return [
        _node_result(result) for result in _invoke(command, names, select=select, exclude=exclude)
    ]


def _invoke(
    command: Sequence[str], environment: Mapping[str, str], *, select: str, exclude: str
) -> list[Any]:
    dbt_patches.install(load_settings())
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        parsed = manifest()
        _retarget_manifest(parsed, environment["DBT_PG_DBNAME"])
        with dbt_patches.light_locks():
            return dbt_project().invoke(
                parsed,
                [
                    *command,
                    "--select", *select.split(),
                    "--exclude", *exclude.split(),
                    "--no-write-json",
                    "--no-populate-cache",
                    "--no-print",
                ],
            )  # fmt: skip
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def warehouse_environment(settings: Settings, time_limit: timedelta = _BY_HAND) -> dict[str, str]:
    """What `profiles.yml` reads, from the warehouse's URL.

    Raises:
        SettingsError: no warehouse is configured.
    """
    settings.require("warehouse_url")
    url = settings.warehouse_url.get_secret_value()
    parts = conninfo_to_dict(conninfo(url, *scratch_options(time_limit)))
    user = str(parts.get("user") or os.environ.get("PGUSER") or "postgres")
    found = {
        # dbt's profile has no place for settings of the session; libpq reads them here.
        "PGOPTIONS": str(parts["options"]),
        "DBT_PG_HOST": str(parts.get("host") or "localhost"),
        "DBT_PG_PORT": str(parts.get("port") or 5432),
        "DBT_PG_USER": user,
        "DBT_PG_DBNAME": str(parts.get("dbname") or user),
        "DBT_PG_PASSWORD": str(
            parts.get("password") or settings.dbt_pg_password.get_secret_value()
        ),
        # Where the project's macros make scratch tables.
        "QUICKSILVER_SCRATCH_SCHEMA": settings.scratch_schema,
    }
    if parts.get("sslmode"):
        found["DBT_PG_SSLMODE"] = str(parts["sslmode"])
    return found


def _retarget_manifest(parsed: Manifest, database: str) -> None:
    """Point a parsed project at a database, whichever it was parsed for; forget the last run."""
    nodes: list[Any] = [*parsed.nodes.values(), *parsed.sources.values()]
    for node in nodes:
        if node.relation_name:
            node.relation_name = node.relation_name.replace(
                f'"{node.database}".', f'"{database}".', 1
            )
        node.database = database
        if getattr(node, "compiled", False):
            # An ephemeral model keeps its SQL, and with it the scratch tables of the last build.
            node.compiled = False
            node.compiled_code = None
            node.extra_ctes_injected = False
            node.extra_ctes = []


def _node_result(result: Any) -> NodeResult:
    node = result.node
    rows = result.adapter_response.get("rows_affected") if result.adapter_response else None
    return NodeResult(
        unique_id=node.unique_id,
        name=node.name,
        kind=str(node.resource_type),
        status=str(result.status),
        seconds=round(result.execution_time, 4),
        rows=int(result.failures or 0) if node.resource_type == "test" else int(rows or 0),
        message=str(result.message or ""),
        compiled=getattr(node, "compiled_code", None) or "",
        schema=node.schema,
        is_published=is_published(node),
    )
