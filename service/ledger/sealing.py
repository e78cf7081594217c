"""Sealing: what a claimed build reads is fixed, under a generation and a key."""

from collections.abc import Sequence
from datetime import datetime

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.manifest import ListedObject, ManifestFile, same_content
from quicksilver.domain.partition import Match, Partition, match
from quicksilver.domain.states import Needless, PartitionState
from quicksilver.ledger.claims import give_back
from quicksilver.ledger.comparison import mark_gone
from quicksilver.ledger.rows import (
    ClaimedBuild,
    LedgerPart,
    NoBuild,
    SealedBuild,
    as_json,
    where_of,
)
from quicksilver.ledger.waiting import judge
from quicksilver.support import clock, tracing
from quicksilver.support.postgres import Row, Transaction


class Sealing(LedgerPart):
    """From a listing to a manifest."""

    async def seal(
        self, build: ClaimedBuild, owner: str, listing: Sequence[ListedObject], seen: int
    ) -> SealedBuild | NoBuild:
        """Fix what a claimed build reads: the folder as listed, under a generation and a key.

        `seen` is the partition's generation before the listing began: if an event raised it
        meanwhile, the listing may be older than the event (`stale`: list again). A listing that
        differs from the events raises the generation itself.
        """
        dataset = self.datasets.get(build.partition.dataset)
        where = where_of(build.partition)
        now = clock.now()
        async with self.database.transaction() as tx:
            rows, held, told = await tx.fetch_together(
                [
                    ("lock_partition", where),
                    ("lock_claim", {"build": build.id, "owner": owner}),
                    ("partition_objects", {"bucket": dataset.bucket, **where}),
                ]
            )
            if not rows or not held:
                return NoBuild(Needless.LOST)
            row = rows[0]
            if row["generation"] != seen:
                return NoBuild(Needless.STALE)
            files = [o for o in listing if _belongs(dataset, build.partition, o.key)]
            generation: int = seen
            put_at, received_at = row["put_at"], row["received_at"]
            if await self._reconcile(tx, build.partition, dataset, told, files, now):
                put_at = max((o.last_modified for o in files), default=now)
                received_at = now
                raised = await tx.one("raise_partition", now=now, put_at=put_at, **where)
                generation = raised["generation"] if raised else seen
                # An object without an event is as new as the listing that showed it.
                row["changed_at"] = now
            refusal = await self._refuse(tx, build, owner, dataset, row, files, generation, now)
            if refusal is not None:
                return refusal
            # A version belongs only to the content that its event reported.
            versions = {(o["key"], o["etag"]): o["version_id"] for o in told}
            manifest = tuple(
                ManifestFile(o.key, o.etag, versions.get((o.key, o.etag)), o.size)
                for o in sorted(files, key=lambda o: o.key)
                if not dataset.is_marker(o.key)
            )
            sealed = await tx.one(
                "seal_build",
                build=build.id,
                owner=owner,
                generation=generation,
                manifest=as_json([file.to_json() for file in manifest]),
                put_at=put_at,
                received_at=received_at,
                traceparent=tracing.traceparent(),
                **where,
            )
        assert sealed is not None  # noqa: S101 - the claim is locked
        return SealedBuild(
            build.id,
            build.partition,
            generation,
            sealed["attempt"],
            sealed["idempotency_key"],
            build.claimed_at,
            build.run_key,
            manifest,
        )

    async def _reconcile(
        self,
        tx: Transaction,
        partition: Partition,
        dataset: Dataset,
        told: Sequence[Row],
        files: Sequence[ListedObject],
        now: datetime,
    ) -> bool:
        """Make the ledger's objects those of the listing; whether content differed."""
        before = {row["key"]: row["etag"] for row in told}
        listed = {o.key: o for o in files}
        changed = [o for o in files if before.get(o.key) != o.etag]
        gone = [key for key in before if key not in listed]
        if changed:
            await tx.run(
                "upsert_objects",
                items=as_json(
                    [
                        {
                            **where_of(partition),
                            "bucket": dataset.bucket,
                            "key": o.key,
                            "etag": o.etag,
                            "version_id": None,
                            "size": o.size,
                            "last_modified": o.last_modified,
                            "found_by": "listing",
                            "seen_at": now,
                        }
                        for o in changed
                    ]
                ),
            )
        if gone:
            await tx.run("forget_objects", dataset=dataset.name, bucket=dataset.bucket, keys=gone)
        # An event may leave the etag out: the listing that fills it in brings nothing new.
        return bool(gone) or any(before.get(o.key) != "" for o in changed)

    async def _refuse(
        self,
        tx: Transaction,
        build: ClaimedBuild,
        owner: str,
        dataset: Dataset,
        row: Row,
        files: Sequence[ListedObject],
        generation: int,
        now: datetime,
    ) -> NoBuild | None:
        """Give a claim back when there is nothing to run: no files, not ready, or unchanged."""
        where = where_of(build.partition)
        keys = [o.key for o in files]
        if all(dataset.is_marker(key) for key in keys):
            if dataset.when_gone == "remove" and row["built_manifest"]:
                # Silver holds what bronze does not: a build without files empties the partition.
                await mark_gone(tx, [build.partition], waiting={}, now=now)
                return None
            await give_back(tx, build, owner, "no file in the folder")
            at = {build.partition: generation}
            await mark_gone(tx, [build.partition], waiting=at, now=now)
            return NoBuild(Needless.GONE)
        if row["is_forced"]:
            return None
        changed_at = row["changed_at"] or now
        due_at, why = judge(dataset, keys, changed_at, row["dirty_since"] or changed_at, now)
        if why is not None:
            await give_back(tx, build, owner, why)
            await tx.run(
                "release_partition",
                state=PartitionState.WAITING,
                wait_reason=why,
                due_at=due_at,
                error=None,
                counted=0,
                at_most=0,
                now=now,
                **where,
            )
            return NoBuild(Needless.WAITING)
        built = [ManifestFile.from_json(f) for f in row["built_manifest"] or []]
        present = [
            ManifestFile(o.key, o.etag, None, o.size) for o in files if not dataset.is_marker(o.key)
        ]
        if dataset.skip_unchanged and built and same_content(built, present):
            await give_back(tx, build, owner, "bronze holds what was built last")
            await tx.run("settle_unchanged", now=now, **where)
            await tx.run("events_unchanged", generation=generation, **where)
            return NoBuild(Needless.UNCHANGED)
        return None


def _belongs(dataset: Dataset, partition: Partition, key: str) -> bool:
    """Whether a listed key is the partition's: a listing by prefix shows more than that."""
    found = match(dataset, key)
    return isinstance(found, Match) and found.partition == partition
