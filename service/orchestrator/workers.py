"""A work pool, its workers, and the runs that no worker took in time."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from quicksilver.errors import PrefectUnavailableError
from quicksilver.orchestrator.pool import prefect_client
from quicksilver.settings import Settings

_ANSWER_WITHIN = 4.0

# More late runs than this need no exact number.
_MOST_LATE = 200


@dataclass(frozen=True, slots=True)
class PoolView:
    """A work pool as Prefect's server sees it; `is_there` is False when it knows none.

    `polled_at` is when any worker last asked for runs; `late` counts due runs that no worker
    took, which Prefect says after 15 s.
    """

    name: str
    is_there: bool = True
    is_paused: bool = False
    polled_at: datetime | None = None
    late: int = 0


async def look_at_pool(settings: Settings, name: str) -> PoolView:
    """Ask Prefect once.

    Raises:
        PrefectUnavailableError: it does not answer within four seconds, or answers an error.
    """
    try:
        async with asyncio.timeout(_ANSWER_WITHIN), prefect_client(settings) as client:
            try:
                pool = await client.read_work_pool(name)
            except ObjectNotFound:
                return PoolView(name, is_there=False)
            queues = await client.read_work_queues(work_pool_name=name)
            late = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"]))
                ),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[name])),
                limit=_MOST_LATE,
            )
    except (PrefectHTTPStatusError, httpx.HTTPError, OSError, RuntimeError) as error:
        # A time-out is an OSError, and says nothing by itself.
        said = str(error).strip().split("\n")[0] or f"no answer in {_ANSWER_WITHIN:g} s"
        raise PrefectUnavailableError(
            f"{settings.prefect_api_url} does not answer: {said}"
        ) from error
    polled = [queue.last_polled for queue in queues if queue.last_polled]
    return PoolView(
        name,
        is_paused=bool(pool.is_paused),
        polled_at=max(polled, default=None),
        late=len(late),
    )
