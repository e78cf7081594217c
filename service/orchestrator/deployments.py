"""Prefect as the service sees it: make a run, read states, stop a run. The only Prefect import."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
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

from quicksilver.errors import DeploymentNotFoundError, PrefectUnavailableError

# Seconds for one question, with the client's own retries.
_ANSWER_WITHIN = 15.0
_HEALTHY_WITHIN = 3.0

_NOT_FOUND = 404

# Prefect's own page limit.
_PAGE = 200

# Where Prefect's own instrumentation looks for the trace that a run belongs to.
_TRACE_LABEL = "__OTEL_TRACEPARENT"

_TERMINAL = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a flow run stands: Prefect's state type, its name and message."""

    type: str
    name: str
    message: str
    is_terminal: bool

    @property
    def has_started(self) -> bool:
        """Whether the flow's code may have begun."""
        return self.type in ("RUNNING", "CANCELLING") or self.is_terminal


@asynccontextmanager
async def _translated(what: str) -> AsyncGenerator[None]:
    try:
        # Prefect's client tries again by itself for a minute and more, pausing longer each time.
        # Cut short: our own next try begins as soon as Prefect is back.
        async with asyncio.timeout(_ANSWER_WITHIN):
            yield
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        raise PrefectUnavailableError(f"Prefect answered {status} to {what}") from error
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        raise PrefectUnavailableError(
            f"Prefect did not answer ({what}): {type(error).__name__}: {error}"
        ) from error


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
        # Of each deployment, the parameters that its flow takes.
        self._parameters: dict[str, frozenset[str]] = {}
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
            PrefectUnavailableError: Prefect does not answer.
        """
        if name not in self._ids:
            async with _translated(f"reading deployment {name}"):
                try:
                    found = await self._client.read_deployment_by_name(name)
                except ObjectNotFound as error:
                    raise DeploymentNotFoundError(
                        f"Prefect knows no deployment {name!r}:"
                        " run `quicksilver init` (or `prefect deploy --all`)"
                    ) from error
            self._ids[name] = found.id
            schema = found.parameter_openapi_schema or {}
            self._parameters[name] = frozenset(schema.get("properties") or ())
        return self._ids[name]

    def takes(self, name: str, parameter: str) -> bool:
        """Whether the deployment's flow takes a parameter; asks nobody, so False when not known."""
        return parameter in self._parameters.get(name, ())

    async def create_run(
        self,
        name: str,
        *,
        parameters: dict[str, Any],
        key: str,
        run_name: str,
        tags: Sequence[str] = (),
        labels: dict[str, str] | None = None,
    ) -> UUID:
        """A run of `flow/deployment`; the same key gives the same run, made once.

        Raises:
            DeploymentNotFoundError: Prefect does not know the deployment.
            PrefectUnavailableError: Prefect does not answer, or answers an error.
        """
        deployment = await self.deployment_id(name)
        async with _translated(f"creating a run of {name}"):
            try:
                run = await self._client.create_flow_run_from_deployment(
                    deployment,
                    parameters=parameters,
                    idempotency_key=key,
                    name=run_name,
                    tags=tags,
                    labels=dict(labels) if labels else None,
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
                )
        return found

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
