"""What lands: events and listings become durable, and raise the generations they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quicksilver.domain.arrival import Arrival, KnownObject, decide
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition
from quicksilver.domain.readiness import needs_folder, readiness
from quicksilver.ledger.rows import (
    NEVER,
    LedgerPart,
    as_json,
    folder_state,
    partition_of,
    where_of,
)
from quicksilver.support import clock, tracing
from quicksilver.support.postgres import Row, Statement, Transaction

# Dataset, bucket, key: an object may belong to partitions of several datasets.
ObjectName = tuple[str, str, str]


@dataclass(slots=True)
class Change:
    """What a batch does to one partition."""

    versions: int = 0
    put_at: datetime | None = None
    received_at: datetime | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class KeptObject:
    """An object as the ledger holds it, and since when it is known so."""

    key: str
    etag: str
    seen_at: datetime
    partition: Partition


# Waiting partitions that are judged in one transaction.
_LOOKED_AT = 500

# States of a partition whose newest generation is not built, and not being built.
_DIRTY = ("waiting", "pending", "failed")


class Recording(LedgerPart):
    """The ledger's way in."""

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
        identities = [arrival.identity for arrival in arrivals]
        locked, known_events, known = await self._known(tx, relevant, identities)
        reasons: list[str] = []
        events: dict[bytes, dict[str, Any]] = {}
        objects: dict[ObjectName, dict[str, Any]] = {}
        # Put again with the very same content: another version holds it now.
        renewed: dict[ObjectName, dict[str, Any]] = {}
        changes: dict[Partition, Change] = {}
        for arrival, identity in zip(arrivals, identities, strict=True):
            name = _name_of(arrival)
            state = locked.get(arrival.partition) if arrival.partition else None
            reason = decide(
                arrival,
                known.get(name),
                is_duplicate=identity in known_events and not _tells_news(arrival, known.get(name)),
                skip_unchanged=state is None or self.datasets.get(state["dataset"]).skip_unchanged,
                is_paused=bool(state and state["is_paused"]),
            )
            reasons.append(reason)
            known_events.add(identity)
            generation = None
            if reason in ("settling", "paused") and arrival.partition and state:
                change = changes.setdefault(arrival.partition, Change())
                change.versions += 1
                generation = state["generation"] + change.versions
                change.put_at = arrival.event.event_at or arrival.received_at
                change.received_at = arrival.received_at
                change.traceparent = arrival.traceparent
                known[name] = KnownObject(arrival.event.etag or "", arrival.event.version_id)
                objects[name] = _object_row(arrival)
            elif reason == "unchanged" and known[name].version_id != arrival.event.version_id:
                row = _object_row(arrival)
                renewed[name] = max(row, renewed.get(name, row), key=_put_at)
            _merge_event(events, identity, arrival, reason, generation)
        writes: list[Statement] = [("record_events", {"items": as_json(list(events.values()))})]
        if changes:
            writes.append(("upsert_objects", {"items": as_json(list(objects.values()))}))
        if renewed:
            writes.append(("renew_objects", {"items": as_json(list(renewed.values()))}))
        if changes:
            await self._raise(tx, changes, locked, priority, after=writes)
        else:
            await tx.run_together(writes)
        return reasons

    async def _known(
        self, tx: Transaction, relevant: Sequence[Arrival], identities: Sequence[bytes]
    ) -> tuple[dict[Partition, Row], set[bytes], dict[ObjectName, KnownObject]]:
        """What the ledger holds of a batch: partitions (locked from here on), events, objects."""
        partitions = {a.partition for a in relevant if a.partition}
        places = as_json([where_of(partition) for partition in sorted(partitions)])
        names = as_json(
            [
                {"dataset": dataset, "bucket": bucket, "key": key}
                for dataset, bucket, key in sorted({_name_of(arrival) for arrival in relevant})
            ]
        )
        statements: list[Statement] = [
            ("lock_partitions", {"items": places}),
            ("known_events", {"identities": list(identities)}),
            ("known_objects", {"items": names}),
        ]
        locked, events, objects = await tx.fetch_together(statements)
        if len(locked) < len(partitions):
            await tx.run("create_partitions", items=places)
            # Anew, all of it: who made a partition meanwhile may have told of its objects, too.
            locked, events, objects = await tx.fetch_together(statements)
        return (
            {partition_of(row): row for row in locked},
            {bytes(row["identity"]) for row in events},
            {
                (row["dataset"], row["bucket"], row["key"]): KnownObject(
                    row["etag"], row["version_id"]
                )
                for row in objects
            },
        )

    async def _raise(
        self,
        tx: Transaction,
        changes: Mapping[Partition, Change],
        locked: Mapping[Partition, Row],
        priority: int,
        *,
        is_forced: bool = False,
        asked_by: str | None = None,
        after: Sequence[Statement] = (),
    ) -> None:
        """Make partitions dirty, `after` what else is written, in one round trip if that may be."""
        now = clock.now()
        writes = list(after)
        ruled = [p for p in changes if needs_folder(self.datasets.get(p.dataset).ready)]
        files: dict[Partition, list[str]] = {}
        if ruled:
            # The rules count the files that have just landed, too.
            await tx.run_together(writes)
            writes.clear()
            items = as_json([where_of(partition) for partition in ruled])
            for row in await tx.fetch("partition_files", items=items):
                files.setdefault(partition_of(row), []).append(row["key"])
        rows: list[dict[str, Any]] = []
        for partition, change in changes.items():
            received_at = change.received_at or now
            due: datetime | str | None = now
            why = None
            if partition in ruled and not is_forced:
                ready = readiness(
                    self.datasets.get(partition.dataset).ready,
                    folder_state(
                        self.datasets.get(partition.dataset),
                        files.get(partition, []),
                        received_at,
                        _dirty_since(locked[partition]) or received_at,
                    ),
                    now,
                )
                due, why = ready.due_at or NEVER, ready.reason
            rows.append(
                {
                    **where_of(partition),
                    "versions": change.versions,
                    "state": "waiting" if why else "pending",
                    "wait_reason": why,
                    "due_at": due,
                    "put_at": change.put_at,
                    "received_at": received_at,
                    "priority": priority,
                    "is_forced": is_forced,
                    "asked_by": asked_by,
                    "traceparent": change.traceparent or tracing.traceparent(),
                }
            )
        writes += [("raise_generations", {"items": as_json(rows)}), ("wake", {"payload": "raised"})]
        await tx.run_together(writes)

    async def rebuild(
        self, partitions: Sequence[Partition], *, priority: int = 0, asked_by: str | None = None
    ) -> list[int]:
        """Raise the generation of known partitions, to be built though nothing changed.

        `asked_by` is shown as their builds' origin.

        Returns:
            The new generations; partitions that the ledger does not know are left out.
        """
        now = clock.now()
        async with self.database.transaction() as tx:
            items = as_json([where_of(partition) for partition in sorted(partitions)])
            rows = await tx.fetch("lock_partitions", items=items)
            locked = {partition_of(row): row for row in rows if row["generation"] > 0}
            changes = {p: Change(1, received_at=now, put_at=now) for p in locked}
            if changes:
                await self._raise(tx, changes, locked, priority, is_forced=True, asked_by=asked_by)
            return [row["generation"] + 1 for row in locked.values()]

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
        files: dict[Partition, list[str]] = {}
        items = as_json([where_of(partition_of(row)) for row in rows])
        for row in await tx.fetch("partition_files", items=items):
            files.setdefault(partition_of(row), []).append(row["key"])
        judged: list[dict[str, Any]] = []
        for row in rows:
            partition = partition_of(row)
            changed_at = row["changed_at"] or now
            folder = folder_state(
                dataset,
                files.get(partition, []),
                changed_at,
                row["dirty_since"] or changed_at,
            )
            ready = readiness(dataset.ready, folder, now)
            due: datetime | str = ready.due_at or NEVER
            if ready.reason != row["wait_reason"] or due != (row["due_at"] or NEVER):
                judged.append({**where_of(partition), "wait_reason": ready.reason, "due_at": due})
        if judged:
            await tx.run("judge_partitions", items=as_json(judged), now=now)
            await tx.run("wake", payload="judged")
        return len(judged)

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
        return [KeptObject(r["key"], r["etag"], r["seen_at"], partition_of(r)) for r in rows]

    async def record_gone(self, bucket: str, lost: Sequence[KeptObject]) -> set[Partition]:
        """Objects that bronze no longer holds, as they were read: a newer one of that key stays.

        What remains of a partition is built anew; a partition of which nothing remains is marked
        gone, and emptied where its dataset says so.

        Returns:
            The partitions that lost any.
        """
        places = as_json([where_of(partition) for partition in sorted({o.partition for o in lost})])
        keys = [
            {"dataset": o.partition.dataset, "key": o.key, "etag": o.etag, "seen_at": o.seen_at}
            for o in lost
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
                and (row["has_built"] or row["state"] == "running")
            }
            change = Change(1, put_at=now, received_at=now)
            if remaining:
                await self._raise(tx, dict.fromkeys(remaining, change), remaining, 0)
            if emptied:
                changes = dict.fromkeys(emptied, change)
                asked_by = "deletion"
                await self._raise(tx, changes, emptied, 0, is_forced=True, asked_by=asked_by)
            gone = [p for p in rows if p not in with_files]
            if gone:
                waiting = [p for p in gone if p not in emptied and rows[p]["state"] in _DIRTY]
                await tx.run_together(
                    [
                        (
                            "mark_all_gone",
                            {
                                "items": as_json([where_of(p) for p in gone]),
                                "waiting": as_json([where_of(p) for p in waiting]),
                                "now": now,
                            },
                        ),
                        (
                            "all_events_overtaken",
                            {
                                "items": as_json(
                                    [
                                        {**where_of(p), "generation": rows[p]["generation"]}
                                        for p in waiting
                                    ]
                                )
                            },
                        ),
                    ]
                )
        return touched


def _name_of(arrival: Arrival) -> ObjectName:
    dataset = arrival.partition.dataset if arrival.partition else ""
    return dataset, arrival.event.bucket, arrival.event.key


def _dirty_since(row: Row) -> datetime | None:
    """Since when a partition waits; one that failed starts afresh, as its attempts do."""
    return None if row["state"] == "failed" else row["dirty_since"]


def _tells_news(arrival: Arrival, known: KnownObject | None) -> bool:
    """Whether an event that was told before tells of other content than the ledger holds.

    A listing that shows once more what had gone does: an undone delete. And an event without a
    sequencer or a version, whose identity is weak: A, B and A again may look alike.
    """
    event = arrival.event
    is_listed = arrival.lane in ("sweep", "poll")
    is_weak = event.sequencer is None and event.version_id is None and event.etag is not None
    return (is_listed or is_weak) and (known is None or known.etag != event.etag)


def _object_row(arrival: Arrival) -> dict[str, Any]:
    event, partition = arrival.event, arrival.partition
    return {
        **(where_of(partition) if partition else {}),
        "bucket": event.bucket,
        "key": event.key,
        "etag": event.etag or "",
        "version_id": event.version_id,
        "size": event.size,
        "last_modified": event.event_at,
        "found_by": arrival.lane,
        "seen_at": arrival.received_at,
    }


def _put_at(row: dict[str, Any]) -> float:
    """When an object row's version was put; first of all where nobody said so."""
    return row["last_modified"].timestamp() if row["last_modified"] else 0.0


def _merge_event(
    events: dict[bytes, dict[str, Any]],
    identity: bytes,
    arrival: Arrival,
    reason: str,
    generation: int | None,
) -> None:
    """One row an identity: a batch may hold both lanes' copies of an event."""
    event = arrival.event
    row = events.get(identity)
    if row is None:
        # Field by field: `asdict` copies deeply, half of what recording an event costs here.
        row = events[identity] = {
            "identity": identity.hex(),
            "event_name": event.name,
            "bucket": event.bucket,
            "key": event.key,
            "etag": event.etag,
            "version_id": event.version_id,
            "size": event.size,
            "sequencer": event.sequencer,
            "event_at": event.event_at,
            **(where_of(arrival.partition) if arrival.partition else {}),
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
