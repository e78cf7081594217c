"""When a dirty partition is due: its files against the readiness rules of its dataset."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition
from quicksilver.domain.readiness import FolderState, readiness
from quicksilver.ledger.rows import NEVER, LedgerPart, as_json, partition_of, where_of
from quicksilver.support import clock
from quicksilver.support.postgres import Row, Transaction

# Waiting partitions that are judged in one transaction.
_LOOKED_AT = 500


def judge(
    dataset: Dataset,
    keys: Sequence[str],
    changed_at: datetime,
    dirty_since: datetime,
    now: datetime,
) -> tuple[datetime | str, str | None]:
    """When a partition of these files may be built, or `NEVER`; and the reason if it waits."""
    markers = sum(dataset.is_marker(key) for key in keys)
    folder = FolderState(len(keys) - markers, markers > 0, changed_at, dirty_since)
    ready = readiness(dataset.ready, folder, now)
    return ready.due_at or NEVER, ready.reason


async def files_of(tx: Transaction, partitions: Sequence[Partition]) -> dict[Partition, list[str]]:
    """The keys that the ledger holds of each partition; one without any is absent."""
    files: dict[Partition, list[str]] = {}
    items = as_json([where_of(partition) for partition in partitions])
    for row in await tx.fetch("partition_files", items=items):
        files.setdefault(partition_of(row), []).append(row["key"])
    return files


class Waiting(LedgerPart):
    """Partitions that wait for their files."""

    async def look_again(self) -> int:
        """Judge every waiting partition by the readiness rules as they are declared now.

        Returns:
            How many are ready, or due at another time, than they were said to be.
        """
        changed = 0
        for dataset in self.datasets.datasets:
            after: Row | None = None
            while True:
                async with self.database.transaction() as tx:
                    rows = await tx.fetch(
                        "waiting_partitions",
                        dataset=dataset.name,
                        after=after["partition"] if after else None,
                        limit=_LOOKED_AT,
                    )
                    changed += await self._judge(tx, dataset, rows)
                if len(rows) < _LOOKED_AT:
                    break
                after = rows[-1]
        return changed

    async def _judge(self, tx: Transaction, dataset: Dataset, rows: Sequence[Row]) -> int:
        now = clock.now()
        files = await files_of(tx, [partition_of(row) for row in rows])
        judged: list[dict[str, Any]] = []
        for row in rows:
            partition = partition_of(row)
            changed_at = row["changed_at"] or now
            keys = files.get(partition, [])
            due_at, why = judge(dataset, keys, changed_at, row["dirty_since"] or changed_at, now)
            if why != row["wait_reason"] or due_at != (row["due_at"] or NEVER):
                judged.append({**where_of(partition), "wait_reason": why, "due_at": due_at})
        if judged:
            await tx.run("judge_partitions", items=as_json(judged), now=now)
            await tx.run("wake", payload="judged")
        return len(judged)
