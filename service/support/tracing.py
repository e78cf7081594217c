"""OpenTelemetry traces, when OTEL_EXPORTER_OTLP_ENDPOINT is set: one from an event's receipt,
through its dispatch and its Prefect run, to silver's commit.

The context travels as a W3C `traceparent` on the partition and on its build. Without the setting
nothing is imported and every call returns at once.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

_WANTED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

# A collector that is away must not keep a run from ending.
_EXPORT_SECONDS = 3.0

_provider: TracerProvider | None = None


def is_on() -> bool:
    """Whether spans are made in this process."""
    return _provider is not None


def start(service: str) -> None:
    """Make spans from now on, under this service name, if the environment asks for them.

    The SDK's own variables apply: OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and the like.
    """
    global _provider
    if _provider is not None or not any(os.environ.get(name) for name in _WANTED):
        return
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    is_set = os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT")
    exporter = OTLPSpanExporter(timeout=None if is_set else _EXPORT_SECONDS)
    _provider = TracerProvider(
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or service})
    )
    _provider.add_span_processor(BatchSpanProcessor(exporter))


def stop() -> None:
    """Send what is left, and make no more spans. Blocks for seconds if the collector is away."""
    global _provider
    if _provider is not None:
        provider, _provider = _provider, None
        provider.shutdown()


@contextmanager
def span(
    name: str, *, parent: str | None = None, kind: str = "internal", **attributes: Any
) -> Generator[None]:
    """A span around a block, below `parent` (a traceparent) or else below the present span.

    An error that leaves the block marks the span as failed.
    """
    if _provider is None:
        yield
        return
    from opentelemetry.trace import SpanKind

    tracer = _provider.get_tracer("quicksilver")
    with tracer.start_as_current_span(
        name,
        context=_context(parent),
        kind=SpanKind[kind.upper()],
        attributes=_named(attributes),
    ):
        yield


def past_spans(end: datetime, laps: Mapping[str, float]) -> None:
    """Steps that are over as spans below the present one: seconds each, one after the other."""
    if _provider is None:
        return
    tracer = _provider.get_tracer("quicksilver")
    begin = end - timedelta(seconds=sum(laps.values()))
    for name, seconds in laps.items():
        over = begin + timedelta(seconds=seconds)
        step = tracer.start_span(name, start_time=_nanoseconds(begin))
        step.end(_nanoseconds(over))
        begin = over


def traceparent() -> str | None:
    """The present span as a W3C traceparent; None outside of spans."""
    if _provider is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def _context(parent: str | None) -> Context | None:
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _named(attributes: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    return {
        f"quicksilver.{name}": value if isinstance(value, int | float | bool) else str(value)
        for name, value in attributes.items()
        if value is not None
    }


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
