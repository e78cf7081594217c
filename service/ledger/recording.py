"""What lands: events and listings become durable, and raise the generations they change."""

from collections.abc import Sequence
from typing import Any

from quicksilver.domain.arrival import Arrival, KnownObject, decide
from quicksilver.domain.partition import Partition
from quicksilver.domain.reasons import Reason
from quicksilver.ledger.raising import Change, raise_generations
from quicksilver.ledger.rows import LedgerPart, as_json, partition_of, where_of
from quicksilver.support import clock
from quicksilver.support.postgres import Row, Statement, Transaction

# Dataset, bucket, key: an object may belong to partitions of several datasets.
ObjectName = tuple[str, str, str]


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
            if Reason.of(reason).is_open and arrival.partition and state:
                change = changes.setdefault(arrival.partition, Change())
                change.versions += 1
                generation = state["generation"] + change.versions
                change.put_at = arrival.event.event_at or arrival.received_at
                change.received_at = arrival.received_at
                change.traceparent = arrival.traceparent
                known[name] = KnownObject(arrival.event.etag or "", arrival.event.version_id)
                objects[name] = _object_row(arrival)
            elif reason == Reason.UNCHANGED and known[name].version_id != arrival.event.version_id:
                row = _object_row(arrival)
                renewed[name] = max(row, renewed.get(name, row), key=_put_at)
            _merge_event(events, identity, arrival, reason, generation)
        writes: list[Statement] = [("record_events", {"items": as_json(list(events.values()))})]
        if changes:
            writes.append(("upsert_objects", {"items": as_json(list(objects.values()))}))
        if renewed:
            writes.append(("renew_objects", {"items": as_json(list(renewed.values()))}))
        if changes:
            await raise_generations(
                tx, self.datasets, changes, locked, priority=priority, after=writes
            )
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
            # Read all again: the session that made a partition may have recorded its objects, too.
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
                await raise_generations(
                    tx,
                    self.datasets,
                    changes,
                    locked,
                    priority=priority,
                    is_forced=True,
                    asked_by=asked_by,
                )
            return [row["generation"] + 1 for row in locked.values()]


def _name_of(arrival: Arrival) -> ObjectName:
    dataset = arrival.partition.dataset if arrival.partition else ""
    return dataset, arrival.event.bucket, arrival.event.key


def _tells_news(arrival: Arrival, known: KnownObject | None) -> bool:
    """Whether a repeated event reports other content than the ledger holds.

    A listing that shows a removed object again does: an undone delete. So may an event without a
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
    """When an object row's version was put; the earliest time where it is unknown."""
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
