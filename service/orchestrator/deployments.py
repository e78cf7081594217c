"""Prefect as the service sees it: make a run, read states, stop a run. The only Prefect import."""

import contextlib
import os
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

# A service that is asked to stop must not wait for Prefect's telemetry.
os.environ.setdefault("DO_NOT_TRACK", "1")

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Cancelling, Completed
from pydantic import SecretStr

from quicksilver.errors import (
    DeploymentNotFoundError,
    DeploymentRefusedError,
    PrefectUnavailableError,
)
from quicksilver.orchestrator.answers import NOT_FOUND, of_deployment, translated
from quicksilver.orchestrator.run_state import RunState, hold, state_of

# Prefect's own page limit.
_PAGE = 200

# Where Prefect's own instrumentation looks for the trace that a run belongs to.
_TRACE_LABEL = "__OTEL_TRACEPARENT"


def trace_label(traceparent: str | None) -> dict[str, dict[str, str]]:
    """The arguments of `create_run` that make the run part of a trace."""
    return {"labels": {_TRACE_LABEL: traceparent}} if traceparent else {}


class Deployments:
    """Prefect's deployments and their runs, over one kept client."""

    def __init__(self, api_url: str, auth_string: str = "") -> None:
        """`auth_string` is `user:password`; empty: what Prefect's own settings say."""
        self.api_url = api_url
        settings = get_current_settings()
        auth = SecretStr(auth_string) if auth_string else settings.api.auth_string
        key = settings.api.key
        self._client = PrefectClient(
            api_url,
            auth_string=auth.get_secret_value() if auth else None,
            api_key=key.get_secret_value() if key else None,
        )
        self._ids: dict[str, UUID] = {}
        # Of each deployment, the JSON schema of the parameters that its flow takes.
        self._schemas: dict[str, dict[str, Any]] = {}
        self._is_open = False

    async def open(self) -> None:
        """Open the client; Prefect itself may still be away."""
        if not self._is_open:
            await self._client.__aenter__()
            self._is_open = True

    async def close(self) -> None:
        """Close the client."""
        if self._is_open:
            self._is_open = False
            await self._client.__aexit__(None, None, None)

    async def deployment_id(self, name: str) -> UUID:
        """The id of `flow/deployment`; remembered until a run of it is refused.

        Raises:
            DeploymentNotFoundError: Prefect does not know it.
            DeploymentRefusedError: it may not be read.
            PrefectUnavailableError: Prefect does not answer.
        """
        if name not in self._ids:
            async with of_deployment(name), translated(f"reading deployment {name}"):
                try:
                    found = await self._client.read_deployment_by_name(name)
                except ObjectNotFound as error:
                    raise DeploymentNotFoundError(
                        f"Prefect knows no deployment {name!r}:"
                        " run `quicksilver init` (or `prefect deploy --all`)"
                    ) from error
            self._ids[name] = found.id
            schema = found.parameter_openapi_schema or {}
            self._schemas[name] = schema
        return self._ids[name]

    async def refusal_of(
        self, name: str, given: Collection[str], *, at_will: bool = False
    ) -> str | None:
        """Why runs of `flow/deployment` with these parameters cannot work; None when they can.

        Prefect is asked anew, so that what was fixed meanwhile is seen. `at_will`: a run is given
        those of them that the flow takes.

        Raises:
            PrefectUnavailableError: Prefect does not answer.
        """
        self._ids.pop(name, None)
        try:
            await self.deployment_id(name)
        except DeploymentRefusedError as error:
            return str(error)
        schema = self._schemas[name]
        if not schema:
            return None
        taken: dict[str, Any] = schema.get("properties") or {}
        unknown = [] if at_will else sorted(set(given) - set(taken))
        if unknown:
            return f"the flow of deployment {name} takes no parameter {', '.join(unknown)}"
        missing = sorted(set(schema.get("required") or ()) - set(given))
        if missing:
            return f"the flow of deployment {name} wants the parameter {', '.join(missing)}"
        return None

    def takes(self, name: str, parameter: str) -> bool:
        """Whether the deployment's flow takes a parameter; from a cache, False when unknown."""
        return parameter in self.taken(name)

    def taken(self, name: str) -> frozenset[str]:
        """The parameters that the deployment's flow takes; from a cache, empty when unknown."""
        schema = self._schemas.get(name) or {}
        return frozenset(schema.get("properties") or ())

    async def create_run(
        self,
        name: str,
        *,
        parameters: dict[str, Any],
        key: str,
        run_name: str,
        tags: Sequence[str] = (),
        labels: dict[str, str] | None = None,
        job_variables: dict[str, Any] | None = None,
        work_queue: str | None = None,
    ) -> UUID:
        """A run of `flow/deployment`; the same key gives the same run, made once.

        Raises:
            DeploymentNotFoundError: Prefect does not know the deployment.
            DeploymentRefusedError: Prefect refuses the run, for its parameters for example.
            PrefectUnavailableError: Prefect does not answer, or answers that it cannot now.
        """
        deployment = await self.deployment_id(name)
        async with of_deployment(name), translated(f"creating a run of {name}"):
            try:
                run = await self._client.create_flow_run_from_deployment(
                    deployment,
                    parameters=parameters,
                    idempotency_key=key,
                    name=run_name,
                    tags=tags,
                    labels=dict(labels) if labels else None,
                    job_variables=job_variables,
                    work_queue_name=work_queue,
                )
            except PrefectHTTPStatusError as error:
                if error.response.status_code != NOT_FOUND:
                    raise
                # Deployed anew under another id: ask for it again next time.
                self._ids.pop(name, None)
                raise PrefectUnavailableError(f"deployment {name} has changed; retrying") from error
        return run.id

    async def states(self, runs: Sequence[UUID]) -> dict[UUID, RunState]:
        """The states of many runs in as few calls as Prefect's page allows; absent: deleted.

        Raises:
            PrefectUnavailableError: Prefect does not answer.
        """
        found: dict[UUID, RunState] = {}
        # Builds that share a run ask for it once.
        asked = list(dict.fromkeys(runs))
        for start in range(0, len(asked), _PAGE):
            page = asked[start : start + _PAGE]
            async with translated("reading flow runs"):
                rows = await self._client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=page)), limit=_PAGE
                )
            for run in rows:
                found[run.id] = state_of(run)
        return found

    async def hold_of(self, run: RunState) -> str | None:
        """What keeps a scheduled run from starting though its worker is well: a pause, or a limit.

        Raises:
            PrefectUnavailableError, PrefectRefusedError: it cannot be said.
        """
        if run.is_awaiting_slot:
            return "its deployment runs as many flow runs as it may"
        async with translated("reading the work pool"):
            with contextlib.suppress(ObjectNotFound):
                if run.pool is not None:
                    pool = await self._client.read_work_pool(run.pool)
                    why = hold(pool.is_paused, pool.concurrency_limit, pool.active_slots)
                    if why is not None:
                        return f"work pool {run.pool} {why}"
                if run.queue_id is not None:
                    queue = await self._client.read_work_queue(run.queue_id)
                    why = hold(queue.is_paused, queue.concurrency_limit, queue.active_slots)
                    if why is not None:
                        return f"work queue {queue.name} {why}"
        return None

    async def emit(self, events: Sequence[dict[str, object]]) -> None:
        """Hand events to Prefect, for automations; Prefect may lose them later.

        Raises:
            PrefectUnavailableError: Prefect does not answer.
        """
        async with translated("sending events"):
            await self._client.request("POST", "/events", json=list(events))

    async def stop_run(self, run: UUID, why: str, *, force: bool) -> None:
        """Ask a run to stop (its worker kills it), or with `force` say that it has.

        Raises:
            PrefectUnavailableError: Prefect does not answer.
        """
        state = Cancelled(message=why) if force else Cancelling(message=why)
        await self._set_state(run, state, f"cancelling run {run}", force=force)

    async def conclude_run(self, run: UUID, why: str) -> None:
        """Say that a run has completed whose process died after its work was done.

        Raises:
            PrefectUnavailableError: Prefect does not answer.
        """
        state = Completed(message=why)
        await self._set_state(run, state, f"concluding run {run}", force=True)

    async def _set_state(self, run: UUID, state: State[Any], what: str, *, force: bool) -> None:
        async with translated(what):
            # A run that was deleted needs no state.
            with contextlib.suppress(ObjectNotFound):
                await self._client.set_flow_run_state(run, state, force=force)
