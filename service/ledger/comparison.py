"""Bronze as it is listed against the objects that the ledger holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition
from quicksilver.domain.states import PartitionState
from quicksilver.ledger.raising import Change, raise_generations
from quicksilver.ledger.rows import LedgerPart, as_json, partition_of, where_of
from quicksilver.support import clock
from quicksilver.support.postgres import Transaction

# States of a partition whose newest generation is not built, and not being built.
_UNBUILT = (PartitionState.WAITING, PartitionState.PENDING, PartitionState.FAILED)


@dataclass(frozen=True, slots=True)
class KeptObject:
    """An object as the ledger holds it, and since when it is known so."""

    key: str
    etag: str
    seen_at: datetime
    dataset: str
    partition_name: str

    @property
    def partition(self) -> Partition:
        """Its partition; parsed on demand, because few of a million objects need it."""
        return Partition(self.dataset, self.partition_name)


async def mark_gone(
    tx: Transaction,
    partitions: Sequence[Partition],
    *,
    waiting: Mapping[Partition, int],
    now: datetime,
) -> None:
    """Mark partitions of which bronze holds no object any more; their silver stays.

    Those in `waiting`, dirty at a generation, wait for a file and are not overdue meanwhile.
    """
    dirty = as_json([{**where_of(p), "generation": n} for p, n in waiting.items()])
    gone = as_json([where_of(p) for p in partitions])
    await tx.run_together(
        [
            ("mark_gone", {"items": gone, "waiting": dirty, "now": now}),
            ("events_overtaken", {"items": dirty}),
        ]
    )


class Comparison(LedgerPart):
    """The sweep's side of the ledger."""

    async def etags(self, dataset: Dataset, keys: Sequence[str]) -> dict[str, str]:
        """The etags that the ledger holds of a dataset's keys; unknown keys are absent."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch(
                "etags", dataset=dataset.name, bucket=dataset.bucket, keys=list(keys)
            )
        return {row["key"]: row["etag"] for row in rows}

    async def kept_objects(
        self, dataset: str, prefix: str, *, after: str, upto: str | None, limit: int
    ) -> list[KeptObject]:
        """Objects of a dataset that the ledger believes to be in bronze, in the order of keys.

        Args:
            dataset: its name.
            prefix: what their keys start with.
            after: the key before the first.
            upto: the last key; None: to the end.
            limit: how many at most.
        """
        async with self.database.transaction() as tx:
            rows = await tx.fetch(
                "kept_objects", dataset=dataset, prefix=prefix, after=after, upto=upto, limit=limit
            )
        return [
            KeptObject(r["key"], r["etag"], r["seen_at"], r["dataset"], r["partition"])
            for r in rows
        ]

    async def told_deleted(self, since: datetime) -> list[Partition]:
        """Partitions of which events since then called an object deleted that is held here."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("told_deleted", since=since)
        return [partition_of(row) for row in rows]

    async def record_gone(self, bucket: str, lost: Sequence[KeptObject]) -> set[Partition]:
        """Remove objects that bronze no longer holds, as read; a newer object of a key stays.

        What remains of a partition is built anew; a partition of which nothing remains is marked
        gone, and emptied where its dataset says so.

        Returns:
            The partitions that lost an object.
        """
        places = as_json([where_of(partition) for partition in sorted({o.partition for o in lost})])
        keys = [
            {"dataset": o.dataset, "key": o.key, "etag": o.etag, "seen_at": o.seen_at} for o in lost
        ]
        now = clock.now()
        async with self.database.transaction() as tx:
            locked, forgotten, left = await tx.fetch_together(
                [
                    ("lock_partitions", {"items": places}),
                    ("forget_gone", {"bucket": bucket, "items": as_json(keys)}),
                    ("partition_files", {"items": places}),
                ]
            )
            touched = {partition_of(row) for row in forgotten}
            rows = {p: row for row in locked if (p := partition_of(row)) in touched}
            with_files = {partition_of(row) for row in left}
            remaining = {p: row for p, row in rows.items() if p in with_files}
            emptied = {
                p: row
                for p, row in rows.items()
                if p not in with_files
                and self.datasets.get(p.dataset).when_gone == "remove"
                # A build that runs now may publish what is gone meanwhile.
                and (row["has_built"] or row["state"] == PartitionState.RUNNING)
            }
            change = Change(1, put_at=now, received_at=now)
            for changed, asked_by in ((remaining, None), (emptied, "deletion")):
                if changed:
                    await raise_generations(
                        tx,
                        self.datasets,
                        dict.fromkeys(changed, change),
                        changed,
                        is_forced=asked_by is not None,
                        asked_by=asked_by,
                    )
            gone = [p for p in rows if p not in with_files]
            if gone:
                waiting = {
                    p: rows[p]["generation"]
                    for p in gone
                    if p not in emptied and rows[p]["state"] in _UNBUILT
                }
                await mark_gone(tx, gone, waiting=waiting, now=now)
        return touched
