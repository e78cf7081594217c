"""Reconcile on request: a long listing goes on in the background, one at a time per process."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import structlog

from quicksilver.domain.partition import Partition
from quicksilver.errors import QuicksilverError
from quicksilver.operators.actions import Actions
from quicksilver.roles.silver_proof import SilverProof
from quicksilver.roles.sweep import Sweep, SweepResult
from quicksilver.settings import Settings
from quicksilver.support import clock

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Reconciliation:
    """One comparison: `running`, `done` or `failed`; `results` has the datasets compared.

    `differing` are the partitions of which silver held something else, each with the reason.
    """

    started_at: datetime
    actor: str
    datasets: Sequence[str] | None = None
    state: Literal["running", "done", "failed"] = "running"
    ended_at: datetime | None = None
    error: str | None = None
    results: list[SweepResult] = field(default_factory=list[SweepResult])
    differing: dict[Partition, str] = field(default_factory=dict[Partition, str])


class Reconciler:
    """Runs comparisons in the background of its process; with `silver`, of the warehouse too."""

    def __init__(self, settings: Settings, sweep: Sweep, silver: SilverProof | None = None) -> None:
        self._settings = settings
        self._sweep = sweep
        self._silver = silver
        self._task: asyncio.Task[None] | None = None
        self.last: Reconciliation | None = None

    def start(self, actions: Actions, datasets: Sequence[str] | None = None) -> Reconciliation:
        """Begin to compare; while a comparison runs, it is returned and no other begins.

        Raises:
            SettingsError: the lake's credentials are not set here.
        """
        if self.last is not None and self.last.state == "running":
            return self.last
        self._settings.require("minio_access_key", "minio_secret_key")
        self.last = begun = Reconciliation(clock.now(), actions.actor, datasets)
        self._task = asyncio.create_task(self._run(begun, actions))
        return begun

    async def wait(self, seconds: float) -> None:
        """Wait until the comparison ends or the time is over; it then goes on in the background."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)

    async def close(self) -> None:
        """Cancel the running comparison; what it found so far stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, begun: Reconciliation, actions: Actions) -> None:
        try:
            begun.results = await actions.reconcile(self._sweep, begun.datasets)
            if self._silver is not None:
                begun.differing = await self._silver.run_once()
            begun.state = "done"
        except QuicksilverError as error:
            begun.state, begun.error = "failed", str(error)
        except Exception as error:
            begun.state, begun.error = "failed", f"{type(error).__name__}: {error}"
            _log.exception("the comparison broke off")
        finally:
            begun.ended_at = clock.now()
