"""What Prometheus reads of this process. Labels are bounded: a hostile name never becomes one.

Counters and histograms are each observed by the one replica that did the work: sum them. What the
ledger holds is in `ledger_metrics`, the same from every replica: take the maximum.
"""

import platform
from datetime import datetime
from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from quicksilver.support.postgres import Row

# The creation time of each series is not used here, and doubles what is scraped.
disable_created_metrics()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# From a PUT on: a warm build takes one to two seconds, a lost event waits for the next sweep.
_SINCE_PUT = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 3600)

EVENTS = Counter(
    "quicksilver_events_total", "Events by lane, type and outcome", ["lane", "type", "outcome"]
)
RECEIVE_SECONDS = Histogram(
    "quicksilver_receive_seconds", "From the request to its durable answer", buckets=_SECONDS
)
LANE_LAG_SECONDS = Histogram(
    "quicksilver_lane_lag_seconds",
    "From the event's own time to its arrival, by lane",
    ["lane"],
    buckets=_SINCE_PUT,
)
COMMIT_SECONDS = Histogram(
    "quicksilver_ledger_commit_seconds", "One group commit of events", buckets=_SECONDS
)
FROM_PUT_SECONDS = Histogram(
    "quicksilver_from_put_seconds",
    "From the PUT of a build's newest object to each stage: received, dispatched, started, silver",
    ["dataset", "stage"],
    buckets=_SINCE_PUT,
)
BUILDS = Counter("quicksilver_builds_total", "Builds that ended", ["dataset", "outcome"])
DISPATCH_ERRORS = Counter(
    "quicksilver_dispatch_errors_total", "Builds that could not be brought to Prefect", ["reason"]
)
ROLE_FAILURES = Counter(
    "quicksilver_role_failures_total", "Roles that broke off and were started again", ["role"]
)
BUILD_INFO = Gauge("quicksilver_build_info", "Always 1", ["version", "python"])
BUILD_INFO.labels(version("quicksilver"), platform.python_version()).set(1)

_STAGES = {
    "received": "received_at",
    "dispatched": "dispatched_at",
    "started": "started_at",
    "silver": "published_at",
}


def build_ended(row: Row, *, has_succeeded: bool) -> None:
    """Count a build's end, and observe the way of one that succeeded."""
    BUILDS.labels(row["dataset"], row["state"]).inc()
    put_at: datetime | None = row["put_at"]
    if not has_succeeded or put_at is None:
        return
    for stage, column in _STAGES.items():
        moment: datetime | None = row[column]
        if moment is not None:
            seconds = max(0.0, (moment - put_at).total_seconds())
            FROM_PUT_SECONDS.labels(row["dataset"], stage).observe(seconds)


def event_arrived(lane: str, event_at: datetime | None, received_at: datetime) -> None:
    """Observe how long an event was on its way."""
    if event_at is not None:
        seconds = max(0.0, (received_at - event_at).total_seconds())
        LANE_LAG_SECONDS.labels(lane).observe(seconds)
