"""A build's run in traces and logs: a span below its event's, with its steps below it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import structlog
from prefect.context import FlowRunContext
from structlog.contextvars import bound_contextvars

from quicksilver.ledger import BegunBuild
from quicksilver.settings import Settings
from quicksilver.support import clock, tracing
from quicksilver.support.log import configure_run_logging

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def traced(
    settings: Settings, build: BegunBuild, *, together: int = 1
) -> AsyncGenerator[None]:
    """Around a build, or the first of several that share a run: one span in the trace of its
    event, and its names on every log line."""
    configure_run_logging(settings.log_format)
    context = FlowRunContext.get()
    run = str(context.flow_run.id) if context and context.flow_run else None
    names = {
        "dataset": build.partition.dataset,
        "partition": build.partition.name,
        "generation": build.generation,
        "build": build.id,
        "flow_run_id": run,
    }
    tracing.start("quicksilver-flow")
    try:
        with (
            bound_contextvars(**names),
            tracing.span("silver-build", parent=build.traceparent, kind="consumer", **names),
        ):
            _log.info(
                "build began", together=together, attempt=build.attempt, files=len(build.manifest)
            )
            try:
                yield
            except Exception as error:
                _log.warning("build failed", error=str(error))
                raise
            _log.info("build ended")
    finally:
        # This process ends with its run: what is not sent now is lost.
        await asyncio.to_thread(tracing.stop)


def trace_steps(timings: Mapping[str, float]) -> None:
    """The steps of a build as spans; `timings` are seconds by step, in order."""
    laps = {name: seconds for name, seconds in timings.items() if name != "total"}
    tracing.past_spans(clock.now(), laps)
