"""The ledger's metrics for Prometheus: read on request, and kept for some seconds.

The numbers are the ledger's, so every replica gives the same ones: take the maximum, not the sum.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from quicksilver.domain.health import Health, HealthView
from quicksilver.domain.states import PartitionState
from quicksilver.errors import LedgerUnavailableError
from quicksilver.ledger import Ledger
from quicksilver.support import clock
from quicksilver.support.postgres import Row

# Several Prometheus servers, or a short scrape interval, cost the ledger one read.
_FRESH = 10.0

_SIDES = ("in_bronze", "in_ledger", "built")
_DIFFERENCES = ("unknown", "missing", "newer", "unbuilt")
_ORIGINS = ("fast", "only_durable", "only_sweep", "only_poll", "otherwise")

_PART_UP = "1 if a part answers, 0 if it is in trouble; absent where it is unknown or unused"

# Every kind of alert has a value from the start: a rule sees it rise from 0.
_KINDS = ("canary", "dispatch", "failed", "lane", "overdue", "part", "quarantine", "stale")

Sample = tuple[Sequence[str], float]


class LedgerMetrics(Collector):
    """The ledger's numbers, as of the last `refresh`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        self._families: list[Metric] = [_up(False)]
        self._parts: Metric = _gauge("part_up", _PART_UP, ("part",), [])
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    def collect(self) -> Iterable[Metric]:
        """Prometheus' client asks for the families."""
        return [self._parts, *self._families]

    async def refresh(self, ledger: Ledger, health: HealthView) -> None:
        """Read the ledger unless that was done just now; a ledger that is away is `up 0`."""
        async with self._reading:
            self._parts = parts(await health.look(fresh=_FRESH))
            if monotonic() - self._read_at < _FRESH:
                return
            try:
                self._families = [_up(True), *await read(ledger)]
            except LedgerUnavailableError:
                # Old numbers would look as if all were well.
                self._families = [_up(False)]
                return
            self._read_at = monotonic()


async def read(ledger: Ledger) -> list[Metric]:
    """Every family that the ledger's rows give.

    Raises:
        LedgerUnavailableError: it does not answer.
    """
    counts = await ledger.views.state_counts()
    proof = await ledger.proof.compare()
    origins = await ledger.proof.origins()
    canaries = await ledger.watch.lane_states()
    alerts = await ledger.notices.alerts(limit=1000)
    quarantine = await ledger.overview.quarantine_size()
    totals = await ledger.views.counters()
    found = {(c["dataset"], c["shown_state"]): float(c["partitions"]) for c in counts}
    datasets = sorted({c["dataset"] for c in counts})
    kinds = [alert["kind"] for alert in alerts]
    return [
        _gauge(
            "partitions",
            "Partitions by state",
            ("dataset", "state"),
            [((d, s), found.get((d, s), 0.0)) for d in datasets for s in PartitionState],
        ),
        _gauge(
            "oldest_dirty_seconds",
            "Age of the oldest change that is not built, by the state of its partition",
            ("dataset", "state"),
            _ages(counts, clock.now()),
        ),
        _gauge(
            "proof_partitions",
            "Partitions listed in bronze, in the ledger, built at the newest generation",
            ("dataset", "side"),
            _spread(proof, _SIDES),
        ),
        _gauge(
            "proof_difference_partitions",
            "Partitions by which the three sides differ",
            ("dataset", "kind"),
            _spread(proof, _DIFFERENCES),
        ),
        _gauge(
            "compared_timestamp_seconds",
            "When bronze was last listed and compared",
            ("dataset",),
            [((r["dataset"],), r["compared_at"].timestamp()) for r in proof if r["compared_at"]],
        ),
        _gauge(
            "recent_objects",
            "Of the newest object versions, how many each way brought",
            ("dataset", "origin"),
            _spread(origins, _ORIGINS),
        ),
        _lanes(canaries, "lane_up", "1 if the last canary came", _is_up),
        _lanes(
            canaries,
            "canary_lag_seconds",
            "From a canary's PUT to its arrival",
            lambda row, lane: row[f"{lane}_lag"],
        ),
        _gauge(
            "canary_timestamp_seconds",
            "When the last canary flew",
            ("bucket",),
            [((r["bucket"],), r["at"].timestamp()) for r in canaries],
        ),
        _gauge(
            "alerts",
            "Alerts raised and not cleared",
            ("kind",),
            [((kind,), float(kinds.count(kind))) for kind in sorted({*kinds, *_KINDS})],
        ),
        _gauge("quarantine_bodies", "Bodies in quarantine", (), [((), quarantine["bodies"])]),
        _gauge("quarantine_bytes", "Their size", (), [((), quarantine["bytes"])]),
        _total(totals, "quarantine_dropped", "Bodies dropped from a full quarantine"),
        _total(
            totals,
            "sweep_found",
            "Objects that only a sweep found: lost events, or found at a service's start or by"
            " `reconcile` before the durable lane brought them",
        ),
    ]


def parts(health: Health) -> Metric:
    """The state of each part, as the page, `/readyz` and `status` give it."""
    known = [part for part in health.parts if part.state in ("ok", "trouble")]
    samples: list[Sample] = [((part.name,), float(part.state == "ok")) for part in known]
    return _gauge("part_up", _PART_UP, ("part",), samples)


def _up(is_up: bool) -> Metric:
    family = GaugeMetricFamily("quicksilver_ledger_up", "1 if the ledger answered", labels=())
    family.add_metric((), float(is_up))
    return family


def _gauge(
    name: str, text: str, labels: Sequence[str], samples: Iterable[Sample]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"quicksilver_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, float(number))
    return family


def _total(totals: dict[str, int], name: str, text: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"quicksilver_{name}", text, value=totals.get(name, 0))


def _spread(rows: Sequence[Row], columns: Sequence[str]) -> list[Sample]:
    return [
        ((row["dataset"], column), row[column])
        for row in rows
        for column in columns
        if row[column] is not None
    ]


def _ages(counts: Sequence[Row], now: datetime) -> list[Sample]:
    return [
        ((c["dataset"], c["shown_state"]), max(0.0, (now - c["oldest"]).total_seconds()))
        for c in counts
        if c["oldest"]
    ]


def _is_up(row: Row, lane: str) -> float | None:
    state = row[f"{lane}_state"]
    return None if state == "unknown" else float(state != "silent")


def _lanes(
    rows: Sequence[Row], name: str, text: str, value: Callable[[Row, str], Any]
) -> GaugeMetricFamily:
    samples = [
        ((row["bucket"], lane), number)
        for row in rows
        for lane in ("fast", "durable")
        if (number := value(row, lane)) is not None
    ]
    return _gauge(name, text, ("bucket", "lane"), samples)
