"""`quicksilver.building()`: any flow can report itself that its partition is built.

For a dataset that declares `ends: ledger`. The build is this run's alone from the beginning of the
block to its end, and what the block did counts only if the build was not given up meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal
from prefect.context import FlowRunContext

from quicksilver.errors import BuildRefusedError, FencedError
from quicksilver.flows.context import opened
from quicksilver.flows.leases import build_leases, retry_while_ledger_restarts, take_up
from quicksilver.support import clock

if TYPE_CHECKING:
    from types import TracebackType

    from prefect.client.schemas.objects import FlowRun

    from quicksilver.domain.manifest import ManifestFile


@dataclass(slots=True)
class Building:
    """The partition that a run builds.

    `files` is the manifest: the objects to read, each with `key`, `etag`, `version_id`, `size` in
    bytes. `token` rises with every build of a partition: a table that keeps the highest one it was
    written with can reject a run that was given up. `rows` and `details` are for the flow to set:
    the pages show them.
    """

    dataset: str
    partition: str
    generation: int
    attempt: int
    files: tuple[ManifestFile, ...]
    token: int
    rows: int | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])


@asynccontextmanager
async def _building(run: FlowRun | None) -> AsyncGenerator[Building]:
    if run is None or run.idempotency_key is None:
        raise BuildRefusedError(
            "only a run that Quicksilver fired has a build: start one by `quicksilver rebuild"
            " DATASET PARTITION`"
        )
    key = run.idempotency_key
    async with opened("database_url") as lake:
        dataset = lake.ledger.datasets.get(key.partition("/")[0])
        begun = await take_up(lake, dataset, key, run.id)
        if not begun:
            raise BuildRefusedError(f"the build of this run ({key}) was given up, or has ended")
        (build,) = begun
        building = Building(
            dataset.name,
            build.partition.name,
            build.generation,
            build.attempt,
            build.manifest,
            build.id,
        )
        async with build_leases(lake, begun):
            try:
                yield building
            except Exception as error:
                why = str(error) or type(error).__name__
                is_final = getattr(error, "is_final", False) is True
                await lake.ledger.runs.record_error(build.id, why, is_final=is_final)
                raise
            publish = retry_while_ledger_restarts(lake.ledger.runs.publish)
            if not await publish(
                build.id,
                rows_bronze=None,
                rows_silver=building.rows,
                rows_rejected=None,
                loaded_at=clock.now(),
                details=building.details,
            ):
                raise FencedError(
                    f"build {build.id} of {build.partition} was given up before it was published;"
                    " a newer one brings the partition up to date"
                )


class _InEitherColour:
    """For `with` in a flow that is `def`, for `async with` in one that is `async def`."""

    def __init__(self, run: FlowRun | None) -> None:
        self._building = _building(run)
        self._stack = ExitStack()

    async def __aenter__(self) -> Building:
        return await self._building.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._building.__aexit__(kind, error, traceback)

    def __enter__(self) -> Building:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            found = stack.enter_context(portal.wrap_async_context_manager(self._building))
            self._stack = stack.pop_all()
        return found

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._stack.__exit__(kind, error, traceback)


def building() -> _InEitherColour:
    """Take up the build that this flow run was fired for; the block's end publishes it.

    `with` and `async with` both work, and give a `Building`. An error that leaves the block fails
    the build with its words; one whose `is_final` is true is not tried again.

    Raises:
        BuildRefusedError: this run has no build (any more).
        FencedError: at the block's end: the build was given up meanwhile.
        LedgerUnavailableError: the ledger is away for longer than a minute.
    """
    context = FlowRunContext.get()
    return _InEitherColour(context.flow_run if context else None)
