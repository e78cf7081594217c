"""The ledger: what landed, what must still be built, who builds it. The only SQL of the service.

Each method is one transaction, named after the statements in `queries/` that it runs. A method
that changes a state names the state (and owner) it expects; finding none is an answer, not an
error. `LedgerUnavailableError` from any of them means: nothing was written, try again later.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from service import clock
from service.database import Database, Row, Transaction
from service.datasets import Dataset, Datasets
from service.intake import Arrival, Folder, KnownObject, decide, needs_folder, readiness
from service.manifest import ListedObject, ManifestFile, same_content
from service.partition import Partition, folder

# Advisory locks of the ledger: one number for claims, one space for held builds.
_CLAIM_LOCK = 0x51_53_43_4C
BUILD_SPACE = 0x51_53

# How far ahead "not before something more lands" lies for Postgres.
_NEVER = "infinity"


@dataclass(frozen=True, slots=True)
class ClaimedBuild:
    """A build that this owner has to bring to Prefect."""

    id: int
    partition: Partition
    generation: int
    idempotency_key: str | None
    claimed_at: datetime


@dataclass(frozen=True, slots=True)
class SealedBuild:
    """A build whose generation, key and manifest are fixed."""

    id: int
    partition: Partition
    generation: int
    attempt: int
    idempotency_key: str
    claimed_at: datetime


@dataclass(frozen=True, slots=True)
class NoBuild:
    """A claim that needs no run: `stale`, `unchanged`, `waiting`, `gone` or `lost`."""

    why: str


@dataclass(frozen=True, slots=True)
class ActiveBuild:
    """A build between its claim and the end of its Prefect run."""

    id: int
    partition: Partition
    generation: int
    state: str
    owner: str
    flow_run_id: UUID | None
    deadline_at: datetime | None
    abandoned_at: datetime | None
    cancel_requested_at: datetime | None
    error: str | None
    is_held: bool


@dataclass(frozen=True, slots=True)
class BegunBuild:
    """What a flow run needs to build: read exactly the manifest, publish under the id."""

    id: int
    partition: Partition
    generation: int
    attempt: int
    manifest: tuple[ManifestFile, ...]


@dataclass(slots=True)
class _Change:
    """What a batch does to one partition."""

    versions: int = 0
    generation: int = 0
    put_at: datetime | None = None
    received_at: datetime | None = None
    events: list[int] = field(default_factory=list)


def _json(items: Any) -> str:
    return orjson.dumps(items, option=orjson.OPT_NON_STR_KEYS).decode()


def _row(partition: Partition) -> dict[str, Any]:
    return {"dataset": partition.dataset, "dt": partition.dt}


def _partition(row: Row) -> Partition:
    return Partition(row["dataset"], row["dt"])


class Ledger:
    """The ledger's transactions."""

    def __init__(self, database: Database, datasets: Datasets) -> None:
        self.database = database
        self.datasets = datasets

    # ---- what lands -------------------------------------------------------------------------

    async def record(self, arrivals: Sequence[Arrival], *, priority: int = 0) -> list[str]:
        """Make events durable and raise the generations that they change, in one commit.

        Returns:
            The reason code that each arrival got, in order.
        """
        if not arrivals:
            return []
        async with self.database.transaction() as tx:
            return await self._record(tx, arrivals, priority)

    async def _record(
        self, tx: Transaction, arrivals: Sequence[Arrival], priority: int
    ) -> list[str]:
        relevant = [a for a in arrivals if a.partition is not None and a.ignored is None]
        locked = await self._lock(tx, {a.partition for a in relevant if a.partition})
        identities = [arrival.identity for arrival in arrivals]
        known_events = {
            bytes(row["identity"]) for row in await tx.fetch("known_events", identities=identities)
        }
        known: dict[tuple[str, str], KnownObject] = {}
        if relevant:
            keys = {(a.event.bucket, a.event.key) for a in relevant}
            items = _json([{"bucket": bucket, "key": key} for bucket, key in sorted(keys)])
            for row in await tx.fetch("known_objects", items=items):
                known[row["bucket"], row["key"]] = KnownObject(row["etag"], row["version_id"])
        reasons: list[str] = []
        events: dict[bytes, dict[str, Any]] = {}
        objects: dict[tuple[str, str], dict[str, Any]] = {}
        changes: dict[Partition, _Change] = {}
        for arrival, identity in zip(arrivals, identities, strict=True):
            name = (arrival.event.bucket, arrival.event.key)
            state = locked.get(arrival.partition) if arrival.partition else None
            reason = decide(
                arrival,
                known.get(name),
                is_duplicate=identity in known_events,
                skip_unchanged=state is None or self.datasets.get(state["dataset"]).skip_unchanged,
                is_paused=bool(state and state["is_paused"]),
            )
            reasons.append(reason)
            known_events.add(identity)
            generation = None
            if reason in ("settling", "paused") and arrival.partition and state:
                change = changes.setdefault(arrival.partition, _Change())
                change.versions += 1
                generation = state["generation"] + change.versions
                change.put_at = arrival.event.event_at or arrival.received_at
                change.received_at = arrival.received_at
                known[name] = KnownObject(arrival.event.etag or "", arrival.event.version_id)
                objects[name] = _object_row(arrival)
            _merge_event(events, identity, arrival, reason, generation)
        await tx.run("record_events", items=_json(list(events.values())))
        if changes:
            await tx.run("upsert_objects", items=_json(list(objects.values())))
            await self._raise(tx, changes, locked, priority)
        return reasons

    async def _lock(self, tx: Transaction, partitions: Iterable[Partition]) -> dict[Partition, Row]:
        items = _json([_row(partition) for partition in sorted(partitions)])
        if items == "[]":
            return {}
        rows = await tx.fetch("lock_partitions", items=items)
        found = {_partition(row): row for row in rows}
        if len(found) < len(set(partitions)):
            await tx.run("create_partitions", items=items)
            found = {_partition(row): row for row in await tx.fetch("lock_partitions", items=items)}
        return found

    async def _raise(
        self,
        tx: Transaction,
        changes: Mapping[Partition, _Change],
        locked: Mapping[Partition, Row],
        priority: int,
        *,
        is_forced: bool = False,
    ) -> None:
        now = clock.now()
        ruled = [p for p in changes if needs_folder(self.datasets.get(p.dataset).ready)]
        files: dict[Partition, list[str]] = {}
        if ruled:
            items = _json([_row(partition) for partition in ruled])
            for row in await tx.fetch("partition_files", items=items):
                files.setdefault(_partition(row), []).append(row["key"].rsplit("/", 1)[1])
        rows: list[dict[str, Any]] = []
        for partition, change in changes.items():
            received_at = change.received_at or now
            due: datetime | str | None = now
            why = None
            if partition in ruled and not is_forced:
                ready = readiness(
                    self.datasets.get(partition.dataset).ready,
                    _folder(
                        self.datasets.get(partition.dataset),
                        files.get(partition, []),
                        received_at,
                        locked[partition]["dirty_since"] or received_at,
                    ),
                    now,
                )
                due, why = ready.due_at or _NEVER, ready.reason
            rows.append(
                {
                    **_row(partition),
                    "versions": change.versions,
                    "state": "waiting" if why else "pending",
                    "wait_reason": why,
                    "due_at": due,
                    "put_at": change.put_at,
                    "received_at": received_at,
                    "priority": priority,
                    "is_forced": is_forced,
                }
            )
        await tx.run("raise_generations", items=_json(rows))
        await tx.run("wake", payload="raised")

    async def rebuild(self, partitions: Sequence[Partition], *, priority: int = 0) -> list[int]:
        """Raise the generation of known partitions, to be built though nothing changed.

        Returns:
            The new generations; partitions that the ledger does not know are left out.
        """
        now = clock.now()
        async with self.database.transaction() as tx:
            items = _json([_row(partition) for partition in sorted(partitions)])
            rows = await tx.fetch("lock_partitions", items=items)
            locked = {_partition(row): row for row in rows if row["generation"] > 0}
            changes = {p: _Change(1, received_at=now, put_at=now) for p in locked}
            if changes:
                await self._raise(tx, changes, locked, priority, is_forced=True)
            return [row["generation"] + 1 for row in locked.values()]

    # ---- from dirty to a Prefect run --------------------------------------------------------

    async def claim(
        self,
        owner: str,
        *,
        slots: int,
        lease: timedelta,
        only: Sequence[Partition] | None = None,
    ) -> list[ClaimedBuild]:
        """Take the partitions that are due, up to the free slots, each with a build of its own."""
        now = clock.now()
        async with self.database.transaction() as tx:
            await tx.run("lock_claims", lock=_CLAIM_LOCK)
            rows = await tx.fetch(
                "claim",
                owner=owner,
                now=now,
                deadline=now + lease,
                slots=slots,
                only=_json([_row(p) for p in only]) if only is not None else None,
            )
        return [
            ClaimedBuild(row["id"], _partition(row), row["generation"], None, now)
            for row in sorted(rows, key=lambda row: row["id"])
        ]

    async def own_claims(self, owner: str) -> list[ClaimedBuild]:
        """What this owner claimed and has not brought to Prefect yet."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("own_claims", owner=owner)
        return [
            ClaimedBuild(
                row["id"],
                _partition(row),
                row["generation"],
                row["idempotency_key"],
                row["claimed_at"],
            )
            for row in rows
        ]

    async def adopt(self, owner: str, *, lease: timedelta) -> int:
        """Take over claims whose dispatcher is gone; how many."""
        now = clock.now()
        async with self.database.transaction() as tx:
            return await tx.run(
                "adopt_build", owner=owner, now=now, deadline=now + lease, alive_since=now - lease
            )

    async def seal(
        self, build: ClaimedBuild, owner: str, listing: Sequence[ListedObject], seen: int
    ) -> SealedBuild | NoBuild:
        """Fix what a claimed build reads: the folder as listed, under a generation and a key.

        `seen` is the partition's generation before the listing began: if an event raised it
        meanwhile, the listing may be older than the event (`stale`: list again). A listing that
        differs from what the events told raises the generation itself.
        """
        dataset = self.datasets.get(build.partition.dataset)
        where = {"dataset": build.partition.dataset, "dt": build.partition.dt}
        now = clock.now()
        async with self.database.transaction() as tx:
            row = await tx.one("lock_partition", **where)
            if row is None or row["state"] != "running":
                return NoBuild("lost")
            if row["generation"] != seen:
                return NoBuild("stale")
            told = await tx.fetch("partition_objects", bucket=dataset.bucket, **where)
            files = [o for o in listing if dataset.holds(o.key.rsplit("/", 1)[1])]
            generation: int = seen
            put_at, received_at = row["put_at"], row["received_at"]
            if await self._reconcile(tx, build.partition, dataset, told, files, now):
                put_at = max((o.last_modified for o in files), default=now)
                received_at = now
                raised = await tx.one("raise_partition", now=now, put_at=put_at, **where)
                generation = raised["generation"] if raised else seen
            refusal = await self._refuse(tx, build, owner, dataset, row, files, generation, now)
            if refusal is not None:
                return refusal
            versions = {o["key"]: o["version_id"] for o in told}
            marker = dataset.ready.marker
            manifest = [
                ManifestFile(o.key, o.etag, versions.get(o.key), o.size).to_json()
                for o in sorted(files, key=lambda o: o.key)
                if o.key.rsplit("/", 1)[1] != marker
            ]
            sealed = await tx.one(
                "seal_build",
                build=build.id,
                owner=owner,
                generation=generation,
                manifest=_json(manifest),
                put_at=put_at,
                received_at=received_at,
                **where,
            )
        if sealed is None:
            return NoBuild("lost")
        return SealedBuild(
            build.id,
            build.partition,
            generation,
            sealed["attempt"],
            sealed["idempotency_key"],
            build.claimed_at,
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
                items=_json(
                    [
                        {
                            **_row(partition),
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
            await tx.run("forget_objects", bucket=dataset.bucket, keys=gone)
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
        where = {"dataset": build.partition.dataset, "dt": build.partition.dt}
        marker = dataset.ready.marker
        names = [o.key.rsplit("/", 1)[1] for o in files]
        if not any(name != marker for name in names):
            await tx.run("release_build", build=build.id, owner=owner)
            await tx.run(
                "release_partition",
                state="waiting",
                wait_reason="no file in the folder",
                due_at=_NEVER,
                error=None,
                now=now,
                **where,
            )
            return NoBuild("gone")
        if not row["is_forced"]:
            changed_at = row["changed_at"] or now
            ready = readiness(
                dataset.ready,
                _folder(dataset, names, changed_at, row["dirty_since"] or changed_at),
                now,
            )
            if ready.reason is not None:
                await tx.run("release_build", build=build.id, owner=owner)
                await tx.run(
                    "release_partition",
                    state="waiting",
                    wait_reason=ready.reason,
                    due_at=ready.due_at or _NEVER,
                    error=None,
                    now=now,
                    **where,
                )
                return NoBuild("waiting")
            built = [ManifestFile.from_json(f) for f in row["built_manifest"] or []]
            present = [
                ManifestFile(o.key, o.etag, None, o.size)
                for o in files
                if o.key.rsplit("/", 1)[1] != marker
            ]
            if dataset.skip_unchanged and built and same_content(built, present):
                await tx.run("release_build", build=build.id, owner=owner)
                await tx.run("settle_unchanged", now=now, **where)
                await tx.run("events_unchanged", generation=generation, **where)
                return NoBuild("unchanged")
        return None

    async def release(
        self, build: ClaimedBuild, owner: str, *, error: str, due_at: datetime
    ) -> bool:
        """Give back a claim that never reached Prefect, with the reason, to be tried later."""
        now = clock.now()
        async with self.database.transaction() as tx:
            if not await tx.run("release_build", build=build.id, owner=owner):
                return False
            await tx.run(
                "release_partition",
                state="pending",
                wait_reason=None,
                due_at=due_at,
                error=error,
                now=now,
                **_row(build.partition),
            )
        return True

    async def mark_dispatched(
        self, build: SealedBuild, owner: str, flow_run_id: UUID, *, start_within: timedelta
    ) -> bool:
        """Keep the run that Prefect made for a build; False when the build moved on without us."""
        now = clock.now()
        async with self.database.transaction() as tx:
            row = await tx.one(
                "mark_dispatched",
                build=build.id,
                owner=owner,
                flow_run_id=flow_run_id,
                now=now,
                deadline=now + start_within,
            )
            if row is None:
                return False
            where = _row(build.partition)
            await tx.run(
                "show_dispatched",
                flow_run_id=flow_run_id,
                now=now,
                claimed_at=build.claimed_at,
                **where,
            )
            await tx.run("decide_events", generation=row["generation"], **where)
        return True

    # ---- inside the flow run ----------------------------------------------------------------

    async def begin(
        self, key: str, flow_run_id: UUID, *, time_limit: timedelta
    ) -> BegunBuild | None:
        """A flow run takes up its build; None when the build was given up or is another's."""
        now = clock.now()
        async with self.database.transaction() as tx:
            row = await tx.one(
                "begin_build", key=key, flow_run_id=flow_run_id, now=now, deadline=now + time_limit
            )
            if row is None:
                return None
            where = {"dataset": row["dataset"], "dt": row["dt"]}
            await tx.run("show_started", flow_run_id=flow_run_id, now=now, **where)
            await tx.run("decide_events", generation=row["generation"], **where)
        return BegunBuild(
            row["id"],
            _partition(row),
            row["generation"],
            row["attempt"],
            tuple(ManifestFile.from_json(f) for f in row["manifest"]),
        )

    async def publish(
        self,
        build_id: int,
        *,
        rows_bronze: int,
        rows_silver: int,
        rows_rejected: int,
        loaded_at: datetime | None,
        details: Mapping[str, Any],
    ) -> bool:
        """Silver stands in the warehouse: say so. False when the build was settled already."""
        now = clock.now()
        counts: dict[str, Any] = {
            "rows_bronze": rows_bronze,
            "rows_silver": rows_silver,
            "rows_rejected": rows_rejected,
            "loaded_at": loaded_at,
            "now": now,
        }
        async with self.database.transaction() as tx:
            row = await tx.one("publish_build", build=build_id, details=_json(details), **counts)
            if row is None:
                return False
            await tx.run(
                "show_published",
                dataset=row["dataset"],
                dt=row["dt"],
                generation=row["generation"],
                manifest=_json(row["manifest"]),
                **counts,
            )
            await tx.run("wake", payload="published")
        return True

    async def yield_build(self, build_id: int, why: str) -> bool:
        """The manifest is no longer what bronze holds: end without publishing, build anew."""
        async with self.database.transaction() as tx:
            return bool(await tx.run("yield_build", build=build_id, error=why))

    async def note_error(self, build_id: int, error: str) -> bool:
        """Keep the sentence that a person needs; the run's end itself comes from Prefect."""
        async with self.database.transaction() as tx:
            return bool(await tx.run("note_error", build=build_id, error=error[:4000]))

    # ---- settling ---------------------------------------------------------------------------

    async def active_builds(self) -> list[ActiveBuild]:
        """Every build between claim and the end of its run, oldest first."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("active_builds", space=BUILD_SPACE)
        return [
            ActiveBuild(
                row["id"],
                _partition(row),
                row["generation"],
                row["state"],
                row["owner"],
                row["flow_run_id"],
                row["deadline_at"],
                row["abandoned_at"],
                row["cancel_requested_at"],
                row["error"],
                row["is_held"],
            )
            for row in rows
        ]

    async def finish(
        self,
        build: ActiveBuild,
        state: str,
        *,
        error: str | None = None,
        counted: bool = False,
        retry_at: datetime | None = None,
    ) -> bool:
        """End a build in `state`; its partition is retried at `retry_at`, or failed if None.

        `counted` says whether the end uses an attempt up. False when the build moved on.
        """
        now = clock.now()
        where = _row(build.partition)
        async with self.database.transaction() as tx:
            await tx.one("lock_partition", **where)
            row = await tx.one(
                "finish_build",
                build=build.id,
                state=state,
                expected=build.state,
                error=error,
                now=now,
            )
            if row is None:
                return False
            if state != "succeeded":
                shown = await tx.one(
                    "show_failed",
                    generation=build.generation,
                    state="failed" if retry_at is None else "pending",
                    counted=int(counted),
                    due_at=retry_at or _NEVER,
                    error=row["error"],
                    now=now,
                    **where,
                )
                if shown is not None and shown["state"] == "failed":
                    await tx.run("events_failed", generation=build.generation, **where)
            await tx.run("wake", payload="finished")
        return True

    async def attempts(self, partition: Partition) -> int:
        """Failed builds of the present generation."""
        async with self.database.transaction() as tx:
            row = await tx.one("lock_partition", **_row(partition))
        return int(row["attempts"]) if row else 0

    async def generation(self, partition: Partition) -> int:
        """The partition's present generation; 0 when nothing ever landed."""
        async with self.database.transaction() as tx:
            row = await tx.one("lock_partition", **_row(partition))
        return int(row["generation"]) if row else 0

    async def note_abandoned(self, build_id: int, at: datetime | None) -> None:
        """Since when nobody holds a running build; None when somebody does again."""
        async with self.database.transaction() as tx:
            await tx.run("note_abandoned", build=build_id, at=at)

    async def request_cancel(self, build: ActiveBuild, why: str, *, within: timedelta) -> bool:
        """Note that a run was asked to stop, and by when it must have."""
        now = clock.now()
        async with self.database.transaction() as tx:
            return bool(
                await tx.run(
                    "request_cancel",
                    build=build.id,
                    expected=build.state,
                    now=now,
                    deadline=now + within,
                    error=why,
                )
            )

    # ---- roles ------------------------------------------------------------------------------

    async def beat(self, owner: str) -> None:
        """A dispatcher is alive."""
        async with self.database.transaction() as tx:
            await tx.run("beat", owner=owner, now=clock.now())

    async def dispatchers_alive(self, *, within: timedelta) -> int:
        """How many dispatchers were heard of in that time."""
        async with self.database.transaction() as tx:
            row = await tx.one("dispatchers_alive", alive_since=clock.now() - within)
        return int(row["alive"]) if row else 0

    async def sync_datasets(self) -> None:
        """Make the declared datasets known to the database: claims join them."""
        items = [
            {
                "name": d.name,
                "newest_first": d.newest_first,
                "max_running": d.max_running,
                "priority": d.priority,
            }
            for d in self.datasets.datasets
        ]
        async with self.database.transaction() as tx:
            await tx.run("sync_datasets", items=_json(items))
            await tx.run("undeclare_datasets", names=[d.name for d in self.datasets.datasets])

    async def next_due(self) -> datetime | None:
        """When a partition becomes due by the clock alone."""
        async with self.database.transaction() as tx:
            row = await tx.one("next_due", now=clock.now())
        return row["due_at"] if row else None


def _object_row(arrival: Arrival) -> dict[str, Any]:
    event, partition = arrival.event, arrival.partition
    return {
        **(_row(partition) if partition else {}),
        "bucket": event.bucket,
        "key": event.key,
        "etag": event.etag or "",
        "version_id": event.version_id,
        "size": event.size,
        "last_modified": event.event_at,
        "found_by": arrival.lane,
        "seen_at": arrival.received_at,
    }


def _merge_event(
    events: dict[bytes, dict[str, Any]],
    identity: bytes,
    arrival: Arrival,
    reason: str,
    generation: int | None,
) -> None:
    """One row an identity: a batch may hold both lanes' copies of an event."""
    row = events.get(identity)
    if row is None:
        row = events[identity] = {
            "identity": identity.hex(),
            **asdict(arrival.event),
            "event_name": arrival.event.name,
            **(_row(arrival.partition) if arrival.partition else {}),
            "generation": generation,
            "received_at": arrival.received_at,
            "fast_at": None,
            "durable_at": None,
            "deliveries": 0,
            "source": arrival.lane if arrival.lane in ("sweep", "poll") else arrival.source,
            "reason": reason,
        }
    row["deliveries"] += 1
    if arrival.lane in ("fast", "durable"):
        row[f"{arrival.lane}_at"] = row[f"{arrival.lane}_at"] or arrival.received_at


def _folder(
    dataset: Dataset, names: Sequence[str], changed_at: datetime, dirty_since: datetime
) -> Folder:
    counted = Counter(name == dataset.ready.marker for name in names)
    return Folder(counted[False], bool(counted[True]), changed_at, dirty_since)


def partition_folder(datasets: Datasets, partition: Partition) -> tuple[str, str]:
    """Bucket and key prefix of a partition's files."""
    dataset = datasets.get(partition.dataset)
    return dataset.bucket, folder(dataset, partition.dt)


__all__ = [
    "BUILD_SPACE",
    "ActiveBuild",
    "BegunBuild",
    "ClaimedBuild",
    "Ledger",
    "NoBuild",
    "SealedBuild",
    "date",
    "partition_folder",
]
