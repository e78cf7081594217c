"""The health of each part, determined once for `/readyz`, the page, `status`, `doctor` and alerts.

Every part has a state, a sentence, and the command that fixes it. All are checked at once, each
with its own time limit: a part that hangs delays an answer by at most four seconds.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

import httpx
import psycopg

from quicksilver.domain.health import Health, Part
from quicksilver.domain.states import BuildState, PartitionState
from quicksilver.engine import protocol
from quicksilver.errors import LedgerUnavailableError, QuicksilverError
from quicksilver.lake.targets import LANES
from quicksilver.ledger import Ledger
from quicksilver.orchestrator.workers import PoolView, look_at_pool
from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.support.http import local_http_client
from quicksilver.support.postgres import Row

_ANSWER_WITHIN = 3.0

# A page, a probe and a scrape that come together cost one check.
_FRESH = 2.0

# A page does not wait for a check: it shows results up to so many seconds old.
_GLANCE = 5.0

# A lane that was not measured for so many intervals counts as unknown.
_CANARIES = 3

_AT_WORK = (BuildState.RUNNING, BuildState.PUBLISHED)

# Far longer than a warm worker needs; Prefect itself calls a run late after 15 s.
_TAKEN_WITHIN = timedelta(seconds=15)

# A worker that found Prefect away retries after a pause, which it doubles.
_WORKERS_RETURN = timedelta(seconds=30)

_ORDER = (
    "minio",
    "fast lane",
    "durable lane",
    "ledger",
    "warehouse",
    "prefect",
    "worker",
    "engine",
)


@dataclass(slots=True)
class HealthWatch:
    """Checks the parts, and remembers since when each is in trouble."""

    settings: Settings
    ledger: Ledger | None
    last: Health | None = None
    _looked_at: float = float("-inf")
    _since: dict[str, datetime] = field(default_factory=dict[str, datetime])
    _prefect_back_at: datetime | None = None
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _task: asyncio.Task[Health] | None = None

    async def look(self, *, fresh: float = _FRESH) -> Health:
        """The parts now, or as they were at most `fresh` seconds ago."""
        async with self._looking:
            if self.last is None or monotonic() - self._looked_at > fresh:
                self.last = await self._ask()
                self._looked_at = monotonic()
            return self.last

    def glance(self) -> Health | None:
        """The last result; refreshed in the background when it is some seconds old."""
        is_old = monotonic() - self._looked_at > _GLANCE
        if is_old and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self.look())
        return self.last

    async def _ask(self) -> Health:
        checks: tuple[Callable[[], Awaitable[list[Part]]], ...] = (
            self._minio,
            self._ledger_and_lanes,
            self._warehouse,
            self._prefect_and_worker,
            self._engine,
        )
        found = await asyncio.gather(*(check() for check in checks))
        now = clock.now()
        parts = {part.name: part for some in found for part in some}
        for name, part in parts.items():
            if part.state == "trouble":
                since = self._since.setdefault(name, part.seen_at or now)
                parts[name] = Part(
                    name, part.state, part.sentence, part.fix, part.seen_at, part.since or since
                )
            else:
                self._since.pop(name, None)
        return Health(now, tuple(parts[name] for name in _ORDER if name in parts))

    async def _minio(self) -> list[Part]:
        url = self.settings.minio_endpoint_url
        try:
            # A new client for each check would load the system's certificates each time. The limit
            # also holds when no thread is free.
            async with asyncio.timeout(_ANSWER_WITHIN):
                answer = await asyncio.to_thread(
                    local_http_client().get, f"{url}/minio/health/live", timeout=_ANSWER_WITHIN
                )
        except (httpx.HTTPError, TimeoutError) as error:
            return [
                Part(
                    "minio",
                    "trouble",
                    f"{url} does not answer: {_said(error)}. Nothing can land or be read",
                    "start MinIO, or correct MINIO_ENDPOINT_URL",
                )
            ]
        if answer.status_code >= 500:
            return [
                Part("minio", "trouble", f"{url} answers {answer.status_code}", "see MinIO's log")
            ]
        return [Part("minio", "ok", "answers", seen_at=clock.now())]

    async def _ledger_and_lanes(self) -> list[Part]:
        if self.ledger is None:
            return [Part("ledger", "trouble", "is not open", "quicksilver doctor")]
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                lanes = await self.ledger.watch.lane_states()
        except (LedgerUnavailableError, TimeoutError, psycopg.Error) as error:
            said = str(error) or f"no answer in {_ANSWER_WITHIN:g} s"
            away = "not known while the ledger is away"
            return [
                Part(
                    "ledger",
                    "trouble",
                    f"{said}. MinIO's durable lane keeps the events meanwhile",
                    "start Postgres, or correct QUICKSILVER_DATABASE_URL",
                ),
                Part("fast lane", "unknown", away),
                Part("durable lane", "unknown", away),
            ]
        return [
            Part("ledger", "ok", "answers", seen_at=clock.now()),
            *(self._lane(self.ledger, lane, lanes) for lane in LANES),
        ]

    def _lane(self, ledger: Ledger, lane: str, rows: list[Row]) -> Part:
        name = f"{lane} lane"
        interval = self.settings.canary_interval
        if not interval:
            return Part(name, "unused", "no canary flies: QUICKSILVER_CANARY_INTERVAL is 0")
        buckets = {dataset.bucket for dataset in ledger.datasets.datasets}
        told = [row for row in rows if row["bucket"] in buckets]
        silent = [row for row in told if row[f"{lane}_state"] == "silent"]
        if silent:
            row = silent[0]
            return Part(
                name,
                "trouble",
                f"silent in bucket {row['bucket']}: {row['fault'] or 'no canary arrived'}. Sweeps"
                " find what lands",
                "quicksilver doctor",
                row["at"],
            )
        if not told:
            return Part(name, "unknown", "no canary flew yet")
        oldest = min(row["at"] for row in told)
        if clock.now() - oldest > timedelta(seconds=_CANARIES * interval + 60):
            return Part(name, "unknown", "no canary flew lately", "quicksilver doctor", oldest)
        lags = [row[f"{lane}_lag"] for row in told if row[f"{lane}_lag"] is not None]
        late = any(row[f"{lane}_state"] == "late" for row in told)
        said = f"brings events in {max(lags):.3f} s" if lags else "brings events"
        return Part(name, "ok", f"{said}, working off a backlog" if late else said, "", oldest)

    async def _warehouse(self) -> list[Part]:
        url = self.settings.warehouse_url.get_secret_value()
        if not url:
            return [Part("warehouse", "unused", "not configured here")]
        try:
            async with (
                asyncio.timeout(_ANSWER_WITHIN),
                await psycopg.AsyncConnection.connect(
                    url, connect_timeout=int(_ANSWER_WITHIN), autocommit=True
                ) as connection,
            ):
                await connection.execute("select 1")
        except (psycopg.Error, OSError) as error:
            return [
                Part(
                    "warehouse",
                    "trouble",
                    f"does not answer: {_said(error)}. No build can publish",
                    "start it, or correct QUICKSILVER_WAREHOUSE_URL",
                )
            ]
        return [Part("warehouse", "ok", "answers", seen_at=clock.now())]

    async def _prefect_and_worker(self) -> list[Part]:
        try:
            pool = await look_at_pool(self.settings, self.settings.pool)
        except QuicksilverError as error:
            return [
                Part(
                    "prefect",
                    "trouble",
                    f"{error}. Builds wait for it, and lose no attempt",
                    "start Prefect's server, or correct PREFECT_API_URL",
                ),
                Part("worker", "unknown", "not known while Prefect is away"),
            ]
        now = clock.now()
        if "prefect" in self._since:
            self._prefect_back_at = now
        back = self._prefect_back_at
        is_back = back is not None and now - back < _WORKERS_RETURN
        return [
            Part("prefect", "ok", "answers", seen_at=now),
            await self._worker(pool, is_back=is_back),
        ]

    async def _worker(self, pool: PoolView, *, is_back: bool) -> Part:
        """`is_back`: Prefect has just come back, and its workers do not know it yet."""
        start = "quicksilver worker"
        if not pool.is_there:
            return Part(
                "worker", "trouble", f"there is no work pool {pool.name}", "quicksilver init"
            )
        if pool.is_paused:
            return Part(
                "worker",
                "trouble",
                f"work pool {pool.name} is paused: no run of it begins",
                f"prefect work-pool resume {pool.name}",
                pool.polled_at,
            )
        busy, waiting = await self._runs()
        limit = timedelta(seconds=max(5.0, 2.5 * self.settings.worker_poll))
        if pool.polled_at is None or clock.now() - pool.polled_at > limit:
            asked = f"since {pool.polled_at:%H:%M:%S} UTC" if pool.polled_at else "ever"
            held = f"; {waiting} runs wait for one" if waiting else ""
            if is_back:
                return Part("worker", "unknown", "has not asked for runs since Prefect came back")
            return Part(
                "worker",
                "trouble",
                f"no worker asked for runs {asked}{held}",
                start,
                pool.polled_at,
            )
        said = f"{busy} of {self.settings.max_running} busy"
        if pool.late or (waiting and not busy):
            count = max(pool.late, waiting)
            return Part(
                "worker",
                "trouble",
                f"{count} runs are late: a worker asks for runs and starts none ({said})",
                "see the worker's log; is its --limit used up?",
                pool.polled_at,
            )
        return Part("worker", "ok", said, seen_at=pool.polled_at)

    async def _runs(self) -> tuple[int, int]:
        """Builds whose run is at work, and those whose run no worker took up in time."""
        if self.ledger is None:
            return 0, 0
        try:
            builds = await self.ledger.overview.unfinished([PartitionState.RUNNING], limit=1000)
        except LedgerUnavailableError:
            return 0, 0
        late = clock.now() - _TAKEN_WITHIN
        at_work = [row for row in builds if row["build_state"] in _AT_WORK]
        waiting = [
            row
            for row in builds
            if row["build_state"] == BuildState.DISPATCHED and row["claimed_at"] < late
        ]
        return len(at_work), len(waiting)

    async def _engine(self) -> list[Part]:
        path = protocol.socket_path(os.environ)
        # A stack on this host should have one; elsewhere a worker may have its own.
        expected = protocol.SOCKET_VARIABLE in os.environ or (
            "QUICKSILVER_HOME" in os.environ and Path(path).parent.is_dir()
        )
        if await asyncio.to_thread(protocol.ping, path, 1.0):
            return [Part("engine", "ok", "answers", seen_at=clock.now())]
        if not expected:
            return [Part("engine", "unused", "none on this host")]
        return [
            Part(
                "engine",
                "trouble",
                "the warm engine does not answer: runs start without it, seconds later",
                "python -m quicksilver.engine.server, or start the stack again",
            )
        ]


def _said(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
