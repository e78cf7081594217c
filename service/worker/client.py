"""The worker's client: avoids repeated calls of Prefect's worker, and delays what can wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Flow
    from prefect.client.schemas.responses import DeploymentResponse

Later = Callable[[Callable[[], Awaitable[Any]]], None]


class ThriftyClient:
    """Prefect's client, with three calls changed.

    A deployment is read for each run, since its job variables may have changed, and that answer is
    kept for the run's configuration. A flow's name never changes. What a run was started with is
    written down once the run's own first requests are through.
    """

    def __init__(self, client: PrefectClient, later: Later) -> None:
        self._client = client
        self._later = later
        self._flows: dict[UUID, Flow] = {}
        self.deployments: dict[UUID, DeploymentResponse] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def read_deployment(self, deployment_id: UUID) -> DeploymentResponse:
        found = self.deployments[deployment_id] = await self._client.read_deployment(deployment_id)
        return found

    async def read_flow(self, flow_id: UUID) -> Flow:
        if flow_id not in self._flows:
            self._flows[flow_id] = await self._client.read_flow(flow_id)
        return self._flows[flow_id]

    async def update_flow_run(self, flow_run_id: UUID, **changes: Any) -> None:
        self._later(partial(self._client.update_flow_run, flow_run_id, **changes))
