"""Prefect's history: how large it is, and how long it is kept."""

import os
from datetime import timedelta
from typing import Any

import psycopg
from pydantic import TypeAdapter

from quicksilver.operators.doctor.check import Probe, first_line
from quicksilver.operators.doctor.orchestrator import ask_prefect

_ANSWER_WITHIN = 5

# The variable by which Prefect's server itself gets its database.
_URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


async def check_history(probe: Probe) -> str:
    runs = (await ask_prefect(probe, "POST", "/flow_runs/count", {})).json()
    size = await _size(probe)
    return f"{runs:,} flow runs, {size}; {await _kept(probe)}"


async def _size(probe: Probe) -> str:
    url = probe.prefect_database or os.environ.get(_URL, "")
    if not url.startswith("postgresql"):
        return f"of unknown size without {_URL}"
    url = url.replace("postgresql+asyncpg:", "postgresql:", 1)
    query = "select pg_size_pretty(pg_database_size(current_database()))"
    try:
        async with await psycopg.AsyncConnection.connect(
            url, connect_timeout=_ANSWER_WITHIN
        ) as connection:
            row = await (await connection.execute(query)).fetchone()
    except psycopg.Error as error:
        return f"of unknown size: {first_line(error)}"
    return str(row[0]) if row else "of unknown size"


async def _kept(probe: Probe) -> str:
    """How long Prefect keeps runs that have ended, as its server says."""
    answer = await ask_prefect(probe, "GET", "/admin/settings")
    if answer.is_error:
        return "how long they are kept, its server does not say"
    services: dict[str, Any] = answer.json().get("server", {}).get("services", {})
    vacuum = services.get("db_vacuum", {})
    kinds = {str(kind) for kind in vacuum.get("enabled") or ()}
    if not kinds & {"flow_runs", "true"}:
        return (
            "kept for ever: set PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs for"
            " Prefect's server"
        )
    # Prefect's API says it in seconds, or as ISO 8601.
    kept = TypeAdapter(timedelta).validate_python(vacuum.get("retention_period"))
    return f"kept for {kept.days} days"
