"""Prefect as the service sees it: make a run, read states, stop a run. The only Prefect import."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import httpx

# A service that is asked to stop must not wait for Prefect's telemetry.
os.environ.setdefault("DO_NOT_TRACK", "1")

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Cancelling, Completed
from pydantic import SecretStr

from quicksilver.errors import (
    DeploymentNotFoundError,
    DeploymentRefusedError,
    PrefectRefusedError,
    PrefectUnavailableError,
)

# Seconds for one question, with the client's own retries.
_ANSWER_WITHIN = 15.0
_HEALTHY_WITHIN = 3.0

_NOT_FOUND = 404
_SERVER_ERROR = 500

# The answers that pass by themselves, beside those of class 5: asked too slowly, or too often.
_PASSING = {408, 429}

# Prefect's own page limit.
_PAGE = 200

# Where Prefect's own instrumentation looks for the trace that a run belongs to.
_TRACE_LABEL = "__OTEL_TRACEPARENT"

# What Prefect says of a run that it cancelled itself, for a limit of the deployment.
_POLICY = "concurrency limit"

# Prefect's name for a scheduled run that waits for a free slot of its deployment.
_AWAITING_SLOT = "AwaitingConcurrencySlot"

_TERMINAL = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a flow run stands: Prefect's state type, its name and message."""

    type: str
    name: str
    message: str
    is_terminal: bool
    pool: str | None = None
    queue_id: UUID | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the flow's code may be running now."""
        return self.type in ("RUNNING", "CANCELLING", "PAUSED")

    @property
    def is_cancelled_by_policy(self) -> bool:
        """Whether Prefect cancelled it for a limit of its own, and no person did."""
        return self.type == "CANCELLED" and _POLICY in self.message.lower()

    @property
    def is_awaiting_slot(self) -> bool:
        """Whether the limit of its deployment keeps it from starting."""
        return self.name == _AWAITING_SLOT


@asynccontextmanager
async def _translated(what: str) -> AsyncGenerator[None]:
    try:
        # Prefect's client tries again by itself for a minute and more, pausing longer each time.
        # Cut short: our own next try begins as soon as Prefect is back.
        async with asyncio.timeout(_ANSWER_WITHIN):
            yield
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in _PASSING or status >= _SERVER_ERROR:
            raise PrefectUnavailableError(f"Prefect answered {status} to {what}") from error
        raise PrefectRefusedError(
            f"Prefect refused {what}: {status}: {_detail(error.response)}"
        ) from error
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        raise PrefectUnavailableError(
            f"Prefect did not answer ({what}): {type(error).__name__}: {error}"
        ) from error


@asynccontextmanager
async def _of_deployment(name: str) -> AsyncGenerator[None]:
    """What Prefect refuses within is the trouble of one deployment."""
    try:
        yield
    except DeploymentRefusedError:
        raise  # It says so itself.
    except PrefectRefusedError as error:
        raise DeploymentRefusedError(
            f"{error}. Correct deployment {name} in Prefect, or the dataset that names it"
        ) from error


def _hold(is_paused: bool, limit: int | None, used: int | None) -> str | None:
    if is_paused:
        return "is paused: resume it in Prefect"
    if limit is not None and (limit == 0 or (used or 0) >= limit):
        return f"is full: {used or 0} of {limit} runs"
    return None


def _detail(answer: httpx.Response) -> str:
    """What Prefect says of a refusal, on one line of bounded length."""
    try:
        body: Any = answer.json()
    except ValueError:
        body = answer.text
    said = cast("dict[str, Any]", body).get("detail", body) if isinstance(body, dict) else body
    return " ".join(str(said).split())[:500]


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

    async def is_healthy(self) -> str | None:
        """None when Prefect answers, else why not."""
        try:
            async with asyncio.timeout(_HEALTHY_WITHIN):
                error = await self._client.api_healthcheck()
        except (httpx.HTTPError, OSError, RuntimeError) as problem:
            return f"{type(problem).__name__}: {problem}"
        return f"{type(error).__name__}: {error}" if error else None

    async def deployment_id(self, name: str) -> UUID:
        """The id of `flow/deployment`; remembered until a run of it is refused.

        Raises:
            DeploymentNotFoundError: Prefect does not know it.
            DeploymentRefusedError: it may not be read.
            PrefectUnavailableError: Prefect does not answer.
        """
        if name not in self._ids:
            async with _of_deployment(name), _translated(f"reading deployment {name}"):
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
        """Whether the deployment's flow takes a parameter; asks nobody, so False when not known."""
        return parameter in self.taken(name)

    def taken(self, name: str) -> frozenset[str]:
        """The parameters that the deployment's flow takes; asks nobody, so none when not known."""
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
        async with _of_deployment(name), _translated(f"creating a run of {name}"):
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
                if error.response.status_code != _NOT_FOUND:
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
            async with _translated("reading flow runs"):
                rows = await self._client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=page)), limit=_PAGE
                )
            for run in rows:
                state = run.state
                kind = state.type if state else StateType.PENDING
                found[run.id] = RunState(
                    kind.value,
                    (state.name if state else None) or kind.value.title(),
                    (state.message if state else None) or "",
                    kind in _TERMINAL,
                    run.work_pool_name,
                    run.work_queue_id,
                )
        return found

    async def hold_of(self, run: RunState) -> str | None:
        """What keeps a scheduled run from starting though its worker is well: a pause, or a limit.

        Raises:
            PrefectUnavailableError, PrefectRefusedError: it cannot be said.
        """
        if run.is_awaiting_slot:
            return "its deployment runs as many flow runs as it may"
        async with _translated("reading the work pool"):
            with contextlib.suppress(ObjectNotFound):
                if run.pool is not None:
                    pool = await self._client.read_work_pool(run.pool)
                    why = _hold(pool.is_paused, pool.concurrency_limit, pool.active_slots)
                    if why is not None:
                        return f"work pool {run.pool} {why}"
                if run.queue_id is not None:
                    queue = await self._client.read_work_queue(run.queue_id)
                    why = _hold(queue.is_paused, queue.concurrency_limit, queue.active_slots)
                    if why is not None:
                        return f"work queue {queue.name} {why}"
        return None

    async def emit(self, events: Sequence[dict[str, object]]) -> None:
        """Hand events to Prefect, for automations; Prefect may lose them later.

        Raises:
            PrefectUnavailableError: Prefect does not answer.
        """
        async with _translated("sending events"):
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
        async with _translated(what):
            # A run that was deleted needs no state.
            with contextlib.suppress(ObjectNotFound):
                await self._client.set_flow_run_state(run, state, force=force)
