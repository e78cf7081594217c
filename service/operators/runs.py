"""What Prefect keeps of a run: its log and its report."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from logging import getLevelName
from uuid import UUID

import httpx
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.sorting import ArtifactSort, LogSort
from prefect.exceptions import PrefectHTTPStatusError

from quicksilver.errors import PrefectUnavailableError
from quicksilver.orchestrator.pool import prefect_client
from quicksilver.settings import Settings

_ANSWER_WITHIN = 4.0

# Prefect gives at most so many at once; a build writes some dozens.
MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a run's log."""

    at: datetime
    level: str
    text: str


async def log_of(settings: Settings, run: UUID) -> list[LogLine]:
    """A run's log as Prefect keeps it, oldest first, at most `MOST_LINES`.

    Raises:
        PrefectUnavailableError: Prefect does not answer.
    """
    try:
        async with asyncio.timeout(_ANSWER_WITHIN), prefect_client(settings) as client:
            lines = await client.read_logs(
                log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])),
                limit=MOST_LINES,
                sort=LogSort.TIMESTAMP_ASC,
            )
    except (PrefectHTTPStatusError, httpx.HTTPError, OSError, RuntimeError) as error:
        raise _away(settings, error) from error
    return [LogLine(line.timestamp, getLevelName(line.level), line.message) for line in lines]


async def report_of(settings: Settings, run: UUID) -> UUID | None:
    """The newest artifact that a run left, or None.

    Raises:
        PrefectUnavailableError: Prefect does not answer.
    """
    try:
        async with asyncio.timeout(_ANSWER_WITHIN), prefect_client(settings) as client:
            found = await client.read_artifacts(
                artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])),
                sort=ArtifactSort.CREATED_DESC,
                limit=1,
            )
    except (PrefectHTTPStatusError, httpx.HTTPError, OSError, RuntimeError) as error:
        raise _away(settings, error) from error
    return found[0].id if found else None


def _away(settings: Settings, error: Exception) -> PrefectUnavailableError:
    said = str(error).strip().split("\n")[0] or f"no answer in {_ANSWER_WITHIN:g} s"
    return PrefectUnavailableError(f"{settings.prefect_api_url} does not answer: {said}")
