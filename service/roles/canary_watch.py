"""The canary role: measures each lane every few minutes; while one is silent, the sweep polls.

A lane that misses one canary gets a second; missing that too, it is silent: an alert says which
hop broke, and the sweep runs more often until the lane is back.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from minio import Minio

from quicksilver.errors import BronzeUnavailableError
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.stores import store_of
from quicksilver.lake.targets import LANES
from quicksilver.ledger import Ledger
from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.roles.canary import PATIENCE, CanaryResult, send_canary
from quicksilver.roles.lane_faults import find_fault
from quicksilver.roles.sweep import Sweep
from quicksilver.settings import Settings
from quicksilver.support import clock

_log = structlog.get_logger(__name__)

# After a start: MinIO's durable lane checks every 3 s whether its receiver is back.
FIRST = 10.0

# While something is wrong: seconds until the next check whether it was fixed.
_RECHECK = 20.0

# With one lane silent the other still reports nearly everything: the sweep need not find it all.
_ONE_SILENT = 4


@dataclass(slots=True)
class LaneReport:
    """What the canaries of one bucket showed: by lane its state and lag in seconds."""

    bucket: str
    at: datetime
    keys: list[str] = field(default_factory=list[str])
    states: dict[str, str] = field(default_factory=lambda: dict.fromkeys(LANES, "unknown"))
    lags: dict[str, float | None] = field(default_factory=dict[str, "float | None"])
    faults: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def silent(self) -> set[str]:
        """The lanes that brought nothing."""
        return {lane for lane, state in self.states.items() if state == "silent"}

    @property
    def missing(self) -> int:
        """How many of the two lanes do not deliver; with 2, only the sweep finds what lands."""
        count = len(self.silent)
        if self.states["durable"] == "none":
            count += 1
        # Where only a durable lane is expected, it is enough.
        if self.states["fast"] == "none" and self.states["durable"] not in ("up", "late"):
            count += 1
        return count

    @property
    def is_unknown(self) -> bool:
        """Whether no canary could be put: nothing is known of the lanes."""
        return "unknown" in self.states.values()


class CanaryWatch:
    """Measures the lanes of every bucket, and steers the sweep of this process by them."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        sweep: Sweep,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._sweep = sweep
        self._patience = patience
        self._normal = sweep.interval
        # A canary that MinIO does not accept at once is not worth a retry by the client.
        self._client: Minio | None = None
        self._lanes = store_of(settings).lanes
        self._missing: dict[str, int] = {}
        self._wrong = 0

    async def pause(self) -> float:
        """Seconds until the next measure: few while something is wrong."""
        interval = self._settings.canary_interval
        return min(interval, _RECHECK) if self._wrong else interval

    async def run_once(self) -> int:
        """Measure every bucket once; how many lanes are silent or could not be measured.

        Raises:
            LedgerUnavailableError: nothing can be measured now.
        """
        buckets = sorted({d.bucket for d in self._ledger.datasets.datasets})
        reports = await asyncio.gather(*(self._measure(bucket) for bucket in buckets))
        for report in reports:
            # A lane that cannot be measured keeps its last state: nothing says that it changed.
            if not report.is_unknown:
                self._missing[report.bucket] = report.missing
        self._adjust_sweep_interval()
        for report in reports:
            await self._report(report)
        states = [state for report in reports for state in report.states.values()]
        self._wrong = sum(state in ("silent", "unknown") for state in states)
        return self._wrong

    async def _measure(self, bucket: str) -> LaneReport:
        report = LaneReport(bucket, clock.now())
        client = self._client = self._client or minio_client(self._settings, timeout=5)
        seen: list[CanaryResult] = []
        for _ in range(2):
            try:
                sighting = await send_canary(
                    client,
                    self._ledger,
                    bucket,
                    lanes=self._lanes or LANES,
                    patience=self._patience,
                )
            except BronzeUnavailableError as error:
                report.faults = dict.fromkeys(LANES, str(error))
                continue
            seen.append(sighting)
            report.keys.append(sighting.key)
            if all(getattr(sighting, lane) is not None for lane in self._lanes):
                break
        if not seen:
            return report
        report.faults = {}
        for lane in LANES:
            lags: list[float] = [lag for s in seen if (lag := getattr(s, lane)) is not None]
            report.lags[lane] = lags[-1] if lags else None
            absent = "silent" if lane in self._lanes else "none"
            report.states[lane] = "up" if lags else absent
        is_reached = "up" in report.states.values()
        for lane in sorted(report.silent):
            report.states[lane] = await self._diagnose(report, client, lane, is_reached=is_reached)
        return report

    async def _diagnose(
        self, report: LaneReport, client: Minio, lane: str, *, is_reached: bool
    ) -> str:
        """`silent` with its fault, or `late`: the durable lane working off what it kept."""
        fault = await find_fault(
            self._settings,
            self._ledger,
            client,
            report.bucket,
            lane,
            since=report.at,
            is_reached=is_reached,
        )
        if not fault.is_certain and lane == "durable":
            last = (await self._ledger.watch.lane_last_at(report.bucket))[lane]
            if last is not None and last >= report.at:
                return "late"
        report.faults[lane] = fault.text
        return "silent"

    def _adjust_sweep_interval(self) -> None:
        """Sweep as often as the worst bucket needs."""
        missing = max(self._missing.values(), default=0)
        degraded = self._settings.sweep_degraded
        interval = self._normal
        if missing == len(LANES):
            interval = min(self._normal, degraded)
        elif missing:
            interval = min(self._normal, degraded * _ONE_SILENT)
        if interval == self._sweep.interval:
            return
        _log.warning(
            "lanes are missing, so the sweep runs more often" if missing else "the lanes are back",
            missing={bucket: count for bucket, count in self._missing.items() if count},
            sweep_interval=interval,
        )
        self._sweep.interval = interval
        # At once: to find what was lost until now, and to start the new interval now.
        self._sweep.ask()

    async def _report(self, report: LaneReport) -> None:
        await self._ledger.watch.record_canary(
            report.bucket,
            report.keys,
            report.at,
            fast_state=report.states["fast"],
            fast_lag=report.lags.get("fast"),
            durable_state=report.states["durable"],
            durable_lag=report.lags.get("durable"),
            fault="; ".join(dict.fromkeys(report.faults.values())) or None,
        )
        if report.is_unknown:
            await raise_alert(
                self._ledger, "canary", report.bucket, next(iter(report.faults.values()))
            )
            return
        await clear_alert(self._ledger, "canary", report.bucket)
        for lane, state in report.states.items():
            subject = f"{report.bucket}/{lane}"
            if state != "silent":
                await clear_alert(self._ledger, "lane", subject)
                continue
            await raise_alert(
                self._ledger,
                "lane",
                subject,
                f"the {lane} lane of bucket {report.bucket} is silent: {report.faults[lane]}. Until"
                f" it is back, bronze is swept every {self._sweep.interval:g} s",
            )
