"""The freshness watch: reports partitions that wait too long and datasets that fell silent."""

from datetime import datetime

from quicksilver.ledger import Ledger
from quicksilver.roles.alerts import keep_alerts
from quicksilver.support import clock

# An alert is at most a minute late, and a pass costs three queries at most.
INTERVAL = 60.0

OVERDUE = "overdue"
STALE = "stale"


class FreshnessWatch:
    """Raises and clears `overdue` and `stale` alerts."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def run_once(self) -> int:
        """Look once; how many alerts are open after it.

        Raises:
            LedgerUnavailableError: nothing is known.
        """
        now = clock.now()
        wanted = {**await self._overdue(now), **await self._stale(now)}
        await keep_alerts(self._ledger, wanted, kinds=(OVERDUE, STALE))
        return len(wanted)

    async def _overdue(self, now: datetime) -> dict[tuple[str, str], str]:
        datasets = self._ledger.datasets.datasets
        rows = await self._ledger.watch.overdue({d.name: now - d.overdue for d in datasets})
        return {
            (OVERDUE, f"{row['dataset']}/{row['partition']}"): (
                f"{row['dataset']}/{row['partition']} is {row['state']} since"
                f" {row['dirty_since']:%Y-%m-%d %H:%M} UTC:"
                f" {row['wait_reason'] or row['error'] or 'no build has begun'}"
            )
            for row in rows
        }

    async def _stale(self, now: datetime) -> dict[tuple[str, str], str]:
        landings = await self._ledger.watch.newest_landings()
        found: dict[tuple[str, str], str] = {}
        for dataset in self._ledger.datasets.datasets:
            row = landings.get(dataset.name)
            if dataset.fresh_within is None or row is None:
                continue
            landed_at: datetime | None = row["landed_at"]
            # A new dataset is not late before its first interval is over.
            if now - (landed_at or row["declared_at"]) <= dataset.fresh_within:
                continue
            last = f"{landed_at:%Y-%m-%d %H:%M} UTC" if landed_at else "never"
            found[STALE, dataset.name] = (
                f"nothing new of {dataset.name} landed within {dataset.fresh_within}"
                f" (last: {last}): is its producer running?"
            )
        return found
