"""Whether the dbt project parses, and reads the bronze tables that are declared."""

import asyncio
from typing import Any

from quicksilver.build import dbt_project
from quicksilver.build.inputs import shared_model_problems
from quicksilver.domain.datasets import Datasets
from quicksilver.errors import QuicksilverError
from quicksilver.operators.check.finding import Finding, Level
from quicksilver.settings import Settings


async def check_models(settings: Settings, datasets: Datasets) -> list[Finding]:
    """Findings about `analytics/`; none where no dataset has a bronze table."""
    tables = {d.bronze_table: d.name for d in datasets.datasets if d.bronze_table}
    if not tables:
        return []
    path = dbt_project.analytics() / "dbt_project.yml"
    first = next(iter(tables.values()))
    where = f"{datasets.path}:{datasets.line_of(first, 'bronze_table')}"
    if not path.is_file():
        return [
            Finding(
                Level.ERROR,
                where,
                f"{first}: there is no dbt project {path.parent} to make silver by",
                "copy one: `quicksilver new FOLDER --example nyc-tlc` brings it; or leave out"
                " bronze_table and fire a deployment of your own",
            )
        ]
    try:
        manifest = await asyncio.to_thread(dbt_project.manifest)
    except (QuicksilverError, OSError) as error:
        return [Finding(Level.ERROR, str(path), str(error), "fix the model that dbt names")]
    findings = [Finding(Level.OK, str(path), "the dbt project parses")]
    sources: list[Any] = list(manifest.sources.values())
    known = {f"{source.schema}.{source.identifier}" for source in sources}
    for table, name in tables.items():
        if table not in known:
            findings.append(
                Finding(
                    Level.WARNING,
                    f"{datasets.path}:{datasets.line_of(name, 'bronze_table')}",
                    f"{name}: no model reads {table}: its partitions end in bronze",
                    f"for silver, declare the source and a model in {path.parent}/models",
                )
            )
    findings += [
        Finding(
            Level.ERROR,
            str(path),
            problem,
            "give the datasets keys of one grain and the same dimensions, or a model each",
        )
        for problem in shared_model_problems(datasets)
    ]
    if not settings.warehouse_url.get_secret_value():
        findings.append(
            Finding(
                Level.UNCHECKED,
                "warehouse",
                "QUICKSILVER_WAREHOUSE_URL is not set",
                "`quicksilver up` brings one of its own; else set it in .env",
            )
        )
    return findings
