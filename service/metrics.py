"""What Prometheus reads. Labels are bounded: a hostile name never becomes one."""

from prometheus_client import Counter, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

EVENTS = Counter(
    "quicksilver_events_total", "Events by lane, type and outcome", ["lane", "type", "outcome"]
)
RECEIVE_SECONDS = Histogram(
    "quicksilver_receive_seconds", "From the request to its durable answer", buckets=_SECONDS
)
