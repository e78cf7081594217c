"""From a body's bytes to its events in the ledger, or to quarantine."""

from dataclasses import dataclass
from typing import Any

import structlog

from quicksilver.domain.arrival import Lane, arrivals
from quicksilver.domain.reasons import Reason
from quicksilver.errors import PayloadError
from quicksilver.intake.decode import decode
from quicksilver.intake.group_commit import REFUSED, Recorder
from quicksilver.intake.listing import settle_open_questions
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.settings import Settings
from quicksilver.support import clock, tracing
from quicksilver.support.metrics import EVENTS, event_arrived

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was done with a body, in words; `reply` is JSON that its sender waits for, if any."""

    text: str
    reply: bytes | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """What recording needs; an application's state has it too. Without `bronze`, no look-ups."""

    settings: Settings
    ledger: Ledger
    recorder: Recorder
    bronze: Bronze | None = None


async def record_body(
    state: Any, body: bytes, lane: Lane, source: str, parent: str | None = None
) -> Recorded:
    """Record one body: its events, or itself in quarantine.

    `state` is an `Intake` or an application's state; `parent` the sender's own trace, a W3C
    traceparent.

    Raises:
        LedgerUnavailableError: nothing was recorded.
    """
    with tracing.span("receive", parent=parent, kind="server", lane=lane, size=len(body)):
        return await _take(state, body, lane, source)


async def _take(state: Any, body: bytes, lane: Lane, source: str) -> Recorded:
    settings: Settings = state.settings
    ledger: Ledger = state.ledger
    recorder: Recorder = state.recorder
    if not body.strip():
        return Recorded("a probe: nothing to record")
    problem: str | None = None
    reasons: list[str] = []
    try:
        notification = decode(body)
        if notification.reply is not None:
            return Recorded("the sender's handshake is answered", notification.reply)
        problem = notification.problems[0] if notification.problems else None
        events = await settle_open_questions(
            notification.events, settings, ledger.datasets, state.bronze
        )
        now, trace = clock.now(), tracing.traceparent()
        found = [
            arrival
            for event in events
            for arrival in arrivals(event, ledger.datasets, lane, source, now, trace)
        ]
        reasons = await recorder.record(found)
        if REFUSED in reasons:
            problem = REFUSED.partition(":")[2]
        for arrival, reason in zip(found, reasons, strict=True):
            EVENTS.labels(lane, arrival.event.ignored or "create", reason).inc()
            event_arrived(lane, arrival.event.event_at, arrival.received_at)
    except PayloadError as error:
        problem = str(error)
    if problem is not None:
        await ledger.quarantine.add(
            body,
            reason=problem,
            lane=lane,
            source=source,
            max_rows=settings.quarantine_limit,
            max_bytes=settings.quarantine_bytes,
        )
        EVENTS.labels(lane, "none", Reason.QUARANTINED).inc()
        _log.warning("quarantined a body", reason=problem, source=source, size=len(body))
        return Recorded(f"{Reason.QUARANTINED}: {problem}")
    return Recorded(", ".join(sorted(set(reasons))) or "nothing to record")
