"""What people and programs read of the ledger. Nothing here changes a build."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from quicksilver.domain.partition import Partition
from quicksilver.domain.reasons import meaning_of
from quicksilver.ledger.quarantine import forms_of
from quicksilver.ledger.rows import Part, where_of
from quicksilver.support import clock
from quicksilver.support.postgres import Row

_MEANING = {
    "fired": "Its version was in the manifest of a build that Prefect was asked for.",
    "unchanged": "The same content was there already: nothing to build.",
    "settling": "Its partition waits to be ready, or to be dispatched.",
    "superseded": "A newer version of it landed before a build began, and was built instead.",
    "paused": "Its dataset is paused: `quicksilver resume` builds what accumulated.",
    "ignored": "It is no new content of a declared dataset.",
    "failed": "Its build failed, and the attempts are used up: see the partition's error.",
}

_STEPS = ("put_at", "received_at", "dispatched_at", "started_at", "loaded_at", "built_at")


class Views(Part):
    """The operators' side of the ledger."""

    async def partitions(
        self,
        *,
        dataset: str | None = None,
        state: str | None = None,
        limit: int = 100,
        after: Partition | None = None,
        dts: Sequence[date] | None = None,
    ) -> list[Row]:
        """A page of partitions in the order of (dataset, dt); `shown_state` says `paused` too."""
        async with self.database.transaction() as tx:
            return await tx.fetch(
                "list_partitions",
                dataset=dataset,
                state=state,
                limit=limit,
                after_dataset=after.dataset if after else None,
                after_dt=after.dt if after else None,
                dts=list(dts) if dts is not None else None,
            )

    async def partition(self, partition: Partition) -> Row | None:
        """One partition, or None when nothing of it ever landed."""
        rows = await self.partitions(dataset=partition.dataset, dts=[partition.dt], limit=1)
        return rows[0] if rows else None

    async def builds(self, partition: Partition, *, limit: int = 50) -> list[Row]:
        """The builds of a partition, newest first."""
        async with self.database.transaction() as tx:
            return await tx.fetch("partition_builds", limit=limit, **where_of(partition))

    async def build(self, build_id: int) -> Row | None:
        """A build's way: its partition, state and the moment of each stage."""
        async with self.database.transaction() as tx:
            return await tx.one("build_way", build=build_id)

    async def traceparent(self, partition: Partition) -> str | None:
        """The trace of a partition's newest event, where there is one."""
        async with self.database.transaction() as tx:
            row = await tx.one("partition_trace", **where_of(partition))
        return row["traceparent"] if row else None

    async def events(
        self,
        *,
        dataset: str | None = None,
        dt: date | None = None,
        key: str | None = None,
        reason: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Row]:
        """Events, newest first; `before` is the last id of the page before.

        The reason `duplicate` finds events that came more than once, whatever became of them.
        """
        async with self.database.transaction() as tx:
            return await tx.fetch(
                "list_events",
                dataset=dataset,
                dt=dt,
                key=key,
                reason=reason,
                before=before,
                limit=limit,
            )

    async def explain(self, key: str) -> dict[str, Any]:
        """Everything that happened to one object, and a sentence that says why.

        `key` may come with `s3://bucket/` in front.
        """
        bare = key.removeprefix("s3://").partition("/")[2] if key.startswith("s3://") else key
        events = await self.events(key=bare, limit=50)
        async with self.database.transaction() as tx:
            forms = forms_of(bare)
            held = await tx.fetch("list_quarantine", limit=20, forms=forms) if bare else []
        builds: list[Row] = []
        if events and events[0]["dataset"]:
            partition = Partition(events[0]["dataset"], events[0]["dt"])
            builds = await self.builds(partition, limit=20)
        if held and not events:
            summary = f"{bare}: {held[0]['reason']}. {meaning_of(held[0]['reason'])}"
        elif not events:
            summary = (
                f"{bare}: no event ever came, and no sweep found it. Is it in the folder of a"
                " declared dataset? `quicksilver reconcile` looks again, `quicksilver doctor`"
                " checks the lanes"
            )
        else:
            reason = events[0]["reason"]
            meaning = _MEANING.get(reason.partition(":")[0], "")
            summary = f"{bare}: {reason}. {meaning}"
        if held:
            ids = ", ".join(str(row["id"]) for row in held)
            summary += f" In quarantine, bodies name it: `quicksilver quarantine show` {ids}"
        return {
            "key": bare,
            "summary": summary,
            "events": events,
            "builds": builds,
            "quarantined": held,
        }

    async def state_counts(self) -> list[Row]:
        """Partitions by dataset and state, with the oldest change not built yet."""
        async with self.database.transaction() as tx:
            return await tx.fetch("count_states")

    async def dataset_rows(self) -> list[Row]:
        """Datasets as the ledger knows them: declared or not, paused or not."""
        async with self.database.transaction() as tx:
            return await tx.fetch("list_datasets")

    async def counters(self) -> dict[str, int]:
        """Running totals by name."""
        async with self.database.transaction() as tx:
            return {row["name"]: int(row["value"]) for row in await tx.fetch("list_counters")}

    async def pause(self, name: str, actor: str) -> bool:
        """Stop building a dataset; events go on accumulating. False when it was paused already."""
        async with self.database.transaction() as tx:
            return bool(await tx.run("pause_dataset", name=name, actor=actor, now=clock.now()))

    async def resume(self, name: str) -> bool:
        """Build again what accumulated. False when it was not paused."""
        async with self.database.transaction() as tx:
            changed = await tx.run("resume_dataset", name=name)
            await tx.run("wake", payload="resumed")
            return bool(changed)

    async def log_action(self, actor: str, action: str, subject: str) -> None:
        """Keep who did what, to what, and when."""
        async with self.database.transaction() as tx:
            await tx.run("log_action", actor=actor, action=action, subject=subject, now=clock.now())

    async def actions(self, *, subject: str | None = None, limit: int = 50) -> list[Row]:
        """What operators did, newest first."""
        async with self.database.transaction() as tx:
            return await tx.fetch("list_actions", subject=subject, limit=limit)
