"""The way from PUT to silver, attempt by attempt: each step and its duration. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

# A partition that was ready at once has a `ready` time one commit later.
_AT_ONCE = timedelta(seconds=1)

# Two milliseconds beside ten seconds must still be visible.
_LEAST = 1.2


class Step(StrEnum):
    """What goes on between two moments of a build; the value is its name on the page."""

    TOLD = "telling"
    READINESS = "readiness"
    BACK_OFF = "back-off"
    PAUSED = "paused"
    SLOT = "slot"
    PREFECT = "Prefect"
    WORKER = "worker"
    START = "start"
    LOAD = "load"
    DBT = "dbt"
    PUBLISH = "publish"
    WORK = "work"


MEANINGS = {
    Step.TOLD: "from the PUT until its event is recorded",
    Step.READINESS: "waits until the partition is complete, as its dataset's `ready:` says",
    Step.BACK_OFF: "waits before it is tried again",
    Step.PAUSED: "waits until its dataset is resumed",
    Step.SLOT: "waits for its turn: so many builds may run at once",
    Step.PREFECT: "is listed, and handed to Prefect",
    Step.WORKER: "waits for a worker to take its run up",
    Step.START: "its process starts and reaches the flow",
    Step.LOAD: "bronze is read and loaded",
    Step.DBT: "dbt builds and tests silver",
    Step.PUBLISH: "silver changes, in one commit",
    Step.WORK: "its flow is at work",
}


_SOURCES = {"sweep": "a listing of bronze", "poll": "polling by a flow"}


@dataclass(frozen=True, slots=True)
class Moment:
    """One step: when it ended and how long it took; places on the bar in percent."""

    step: Step
    at: datetime | None
    seconds: float
    attempt: int = 1
    left: float = 0.0
    width: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.at is None

    @property
    def meaning(self) -> str:
        """What it is, in words."""
        return MEANINGS[self.step]


@dataclass(frozen=True, slots=True)
class Way:
    """All steps that took time, their seconds together, and a build's own from its claim on."""

    moments: Sequence[Moment]
    seconds: float | None
    own: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return bool(self.moments) and self.moments[-1].is_open


def way(
    build: Mapping[str, Any],
    now: datetime,
    *,
    is_active: bool,
    after: datetime | None = None,
) -> Way:
    """The way of one build, to its end or to `now`; `after` is when the attempt before it ended."""
    attempt = build.get("attempt") or 1
    end = build["published_at"] or build["finished_at"] or (now if is_active else None)
    marks: list[tuple[Step, datetime | None]] = []
    told = build["put_at"] if not build["asked_by"] else build["received_at"]
    begin = after or told
    if after is None and not build["asked_by"] and build["received_at"]:
        marks.append((Step.TOLD, build["received_at"]))
    if build["due_at"] and (begin is None or build["due_at"] - begin > _AT_ONCE):
        marks.append((Step.BACK_OFF if after else Step.READINESS, build["due_at"]))
    marks.append((Step.SLOT, build["claimed_at"]))
    marks.append((Step.PREFECT, build["dispatched_at"]))
    # A run by hand, or in a process that already existed, does not wait for a worker.
    taken, dispatched = build["taken_at"], build["dispatched_at"]
    if taken and dispatched and taken > dispatched:
        marks += [(Step.WORKER, taken), (Step.START, build["started_at"])]
    else:
        marks.append((Step.WORKER, build["started_at"]))
    marks += _work(build)
    steps = list(_steps(marks, begin, end, attempt, is_active=is_active))
    own = (end - build["claimed_at"]).total_seconds() if end else None
    return replace(_placed(steps), own=max(0.0, own) if own is not None else None)


def _work(build: Mapping[str, Any]) -> list[tuple[Step, datetime | None]]:
    """The flow's own steps, as far as it reported them."""
    published: datetime | None = build["published_at"]
    if build["loaded_at"] is None or published is None:
        return [(Step.WORK, published or build["finished_at"])]
    details = build["details"] if isinstance(build["details"], dict) else {}
    timings = details.get("timings")
    seconds = timings.get("publish", 0) if isinstance(timings, dict) else 0
    publish = timedelta(seconds=seconds if isinstance(seconds, int | float) else 0)
    built = max(build["loaded_at"], published - publish)
    return [(Step.LOAD, build["loaded_at"]), (Step.DBT, built), (Step.PUBLISH, published)]


def _steps(
    marks: Iterable[tuple[Step, datetime | None]],
    begin: datetime | None,
    end: datetime | None,
    attempt: int,
    *,
    is_active: bool,
) -> Iterable[Moment]:
    previous = begin
    for step, at in marks:
        if previous is None:
            previous = at
            continue
        if at is None or (end is not None and at > end):
            # The step at which it ended, or is now.
            if end is not None:
                seconds = max(0.0, (end - previous).total_seconds())
                yield Moment(step, None if is_active else end, seconds, attempt)
            return
        # Clocks of two machines: an event may seem to come before its PUT.
        seconds = (at - previous).total_seconds()
        if seconds > 0:
            yield Moment(step, at, seconds, attempt)
            previous = at


def _placed(steps: Sequence[Moment]) -> Way:
    total = sum(step.seconds for step in steps)
    shown = [max(_LEAST, 100 * step.seconds / total if total else 0) for step in steps]
    scale = 100 / sum(shown) if shown else 1
    moments: list[Moment] = []
    left = 0.0
    for step, share in zip(steps, shown, strict=True):
        width = share * scale
        moments.append(replace(step, left=round(left, 3), width=round(width, 3)))
        left += width
    return Way(moments, total if steps else None)


def ways(builds: Sequence[Mapping[str, Any]], now: datetime, active: Iterable[str]) -> list[Way]:
    """The way of each build of a partition, newest first: a further attempt begins where the one
    before it ended."""
    found: list[Way] = []
    for index, build in enumerate(builds):
        before = builds[index + 1] if index + 1 < len(builds) else None
        after = before["finished_at"] if before and _is_again(build, before) else None
        found.append(way(build, now, is_active=build["state"] in active, after=after))
    return found


def _is_again(build: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return build["generation"] == before["generation"]


def whole(
    builds: Sequence[Mapping[str, Any]],
    found: Sequence[Way],
    row: Mapping[str, Any],
    now: datetime,
) -> Way:
    """The partition's way to its newest generation: every attempt at it, and what it waits for."""
    steps: list[Moment] = []
    for build, one in zip(builds, found, strict=True):
        if build["generation"] != row["generation"]:
            break
        steps = [*one.moments, *steps]
    if row["shown_state"] in ("waiting", "pending", "paused") and not row["gone_at"]:
        begin = steps[-1].at if steps else row["received_at"]
        if not steps and row["put_at"] and row["received_at"] and row["put_at"] < begin:
            steps.append(
                Moment(Step.TOLD, begin, (row["received_at"] - row["put_at"]).total_seconds())
            )
        if begin is not None:
            attempt = row["attempts"] + 1
            seconds = max(0.0, (now - begin).total_seconds())
            steps.append(Moment(_waits_for(row, now), None, seconds, attempt))
    return _placed(steps)


def _waits_for(row: Mapping[str, Any], now: datetime) -> Step:
    if row["shown_state"] == "paused":
        return Step.PAUSED
    if row["wait_reason"]:
        return Step.READINESS
    return Step.BACK_OFF if row["due_at"] and row["due_at"] > now else Step.SLOT


def origin(build: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """Why there was a build: an event, a listing, a further attempt, or a person's request."""
    if (build["attempt"] or 1) > 1:
        return f"attempt {build['attempt']} of generation {build['generation']}"
    if build["asked_by"]:
        return f"rebuild requested by {build['asked_by']}"
    event = next((e for e in events if e["generation"] == build["generation"]), None)
    if event is None:
        return "a listing of bronze"
    if event["fast_at"] or event["durable_at"]:
        lane = "fast" if event["fast_at"] else "durable"
        return f"event {event['id']} on the {lane} lane"
    return _SOURCES.get(event["source"], f"event {event['id']} from {event['source']}")
