"""What operators do, once: the page, the API and the command line call these, and nothing else.

Each action is checked, carried out, and logged once the ledger has accepted it: an action that
changed nothing or was refused is not logged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from quicksilver.domain.partition import Partition
from quicksilver.domain.reasons import Reason
from quicksilver.errors import NotFoundError, QuicksilverError
from quicksilver.intake.record import record_body
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.ledger.rows import partition_of
from quicksilver.operators import backfill
from quicksilver.operators.backfill import Backfill
from quicksilver.roles.sweep import Sweep, SweepResult
from quicksilver.support import clock

# A sentence is enough.
_REASON = 500

# One bulk rebuild: what is left is asked for again.
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Actions:
    """The actions of one person or program; `actor` is the name in the log of actions.

    Every method raises LedgerUnavailableError when nothing was done because the ledger is away.
    """

    ledger: Ledger
    actor: str

    async def pause(self, dataset: str, reason: str = "") -> bool:
        """Stop building a dataset; its events go on accumulating. False: it was paused already.

        `reason` is shown as long as it is paused.

        Raises:
            NotFoundError: the dataset is not declared.
        """
        await self._declared(dataset)
        changed = await self.ledger.operators.pause(dataset, self.actor, reason[:_REASON])
        if changed:
            await self._log("pause", dataset)
        return changed

    async def resume(self, dataset: str) -> bool:
        """Resume building, beginning with what accumulated. False: it was not paused.

        Raises:
            NotFoundError: the dataset is not declared.
        """
        await self._declared(dataset)
        changed = await self.ledger.operators.resume(dataset)
        if changed:
            await self._log("resume", dataset)
        return changed

    async def rebuild(self, partition: Partition) -> int:
        """Build a partition again although nothing changed; its new generation.

        Raises:
            NotFoundError: the dataset is not declared, or nothing of the partition ever landed.
        """
        await self._declared(partition.dataset)
        raised = await self.ledger.recording.rebuild([partition], asked_by=self.actor)
        if not raised:
            raise NotFoundError(
                f"nothing of {partition} ever landed: see `quicksilver status --dataset"
                f" {partition.dataset}`"
            )
        await self._log("rebuild", str(partition))
        return raised[0]

    async def rebuild_many(self, partitions: Sequence[Partition]) -> int:
        """Build partitions again, each logged; how many. Those that never landed are left out.

        Raises:
            NotFoundError: one of the datasets is not declared; nothing was done.
        """
        await self._declared(*{partition.dataset for partition in partitions})
        raised = await self.ledger.recording.rebuild(partitions, asked_by=self.actor)
        await self._log("rebuild", *map(str, partitions))
        return len(raised)

    async def rebuild_found(
        self, dataset: str, state: str | None, first: date | None, last: date | None
    ) -> tuple[int, int]:
        """Build again the partitions in a state and a range of days, where these are given.

        Returns:
            How many partitions, at most 10,000 at once, and how many more there are.

        Raises:
            NotFoundError: the dataset is not declared, or no partition of it is like that.
        """
        self.ledger.datasets.get(dataset)
        rows = await self.ledger.finding.partitions(
            dataset=dataset,
            states=[state] if state else None,
            first=first,
            last=last,
            limit=_AT_ONCE,
        )
        if not rows:
            raise NotFoundError(f"no partition of {dataset} is like that: see `quicksilver status`")
        await self.rebuild_many([partition_of(row) for row in rows])
        return len(rows), rows[0]["found"] - len(rows)

    async def rebuild_cause(self, alert: int) -> tuple[int, int]:
        """Build again every partition that failed for an alert's cause; else as `rebuild_found`.

        Raises:
            NotFoundError: no open alert has this id, it is not about failures, or nothing of it
                failed any more.
        """
        row = await self.ledger.notices.alert(alert)
        if row is None or row["kind"] != "failed":
            raise NotFoundError(f"no open alert {alert} is about failed partitions")
        dataset, _, cause = row["subject"].partition(": ")
        failed = await self.ledger.notices.partitions_of(dataset, cause, limit=_AT_ONCE)
        if not failed:
            raise NotFoundError(f"nothing of {dataset} failed of it any more")
        count = await self.rebuild_many(failed)
        return count, max(0, row["count"] - count)

    async def silence(self, alert: int, span: timedelta, reason: str) -> str:
        """Silence an open alert for so long; its subject.

        Raises:
            NotFoundError: no open alert has this id.
            QuicksilverError: the reason is missing.
        """
        if not reason.strip():
            raise QuicksilverError("say why: the others read the reason beside the alert")
        until = clock.now() + span
        row = await self.ledger.notices.silence(alert, until, self.actor, reason.strip()[:_REASON])
        if row is None:
            raise NotFoundError(f"no alert {alert} is open")
        await self._log("silence", f"{row['kind']} {row['subject']}")
        return row["subject"]

    async def reconcile(
        self, sweep: Sweep, datasets: Sequence[str] | None = None
    ) -> list[SweepResult]:
        """List bronze and compare it with the ledger; logged when it begins.

        Raises:
            NotFoundError: a dataset is not declared.
            BronzeUnavailableError: what was found until then stays.
        """
        await self._declared(*datasets or ())
        await self._log("reconcile", ", ".join(datasets) if datasets else "all datasets")
        return await sweep.run_once(datasets)

    async def backfill(
        self,
        bronze: Bronze,
        dataset: str,
        first: date,
        last: date,
        *,
        newest_first: bool = False,
        rebuild: bool = False,
    ) -> Backfill:
        """Mark dirty what bronze holds from `first` to `last`, both included, and silver does not.

        Raises:
            NotFoundError: the dataset is not declared.
            QuicksilverError: the range is empty or upside down.
            BronzeUnavailableError: what was scheduled so far stays.
        """
        work = await backfill.schedule(
            self.ledger,
            bronze,
            self.ledger.datasets.get(dataset),
            first,
            last,
            newest_first=newest_first,
            rebuild=rebuild,
        )
        await self._log("backfill", f"{dataset} from {first} to {last}")
        return work

    async def replay(self, row_id: int, intake: Any) -> str:
        """Process a quarantined body again, as if it had just arrived; the outcome in words.

        Args:
            row_id: the row in quarantine; parsed this time, it leaves.
            intake: the application's state, which holds the recorder.

        Raises:
            NotFoundError: quarantine holds no such row.
        """
        row = await self.ledger.quarantine.body(row_id)
        if row is None:
            raise _no_row(row_id)
        recorded = await record_body(intake, bytes(row["body"]), "push", row["source"])
        if not recorded.text.startswith(Reason.QUARANTINED):
            await self.ledger.quarantine.discard(row_id)
        await self._log("replay", f"quarantine/{row_id}")
        return recorded.text

    async def discard(self, row_id: int) -> None:
        """Drop a quarantined body for good.

        Raises:
            NotFoundError: quarantine holds no such row.
        """
        if not await self.ledger.quarantine.discard(row_id):
            raise _no_row(row_id)
        await self._log("discard", f"quarantine/{row_id}")

    async def discard_cause(self, reason: str) -> int:
        """Drop every quarantined body with this reason for good; how many.

        Raises:
            NotFoundError: quarantine holds none.
        """
        held = await self.ledger.quarantine.list(limit=_AT_ONCE)
        ids = [row["id"] for row in held if row["reason"] == reason]
        if not ids:
            raise NotFoundError(f"quarantine holds nothing with the reason {reason}")
        count = sum([await self.ledger.quarantine.discard(row_id) for row_id in ids])
        await self._log("discard", f"quarantine: {count} with {reason}")
        return count

    async def _declared(self, *names: str) -> None:
        """Refuse undeclared datasets; a pause needs the declared ones' rows in the database."""
        for name in sorted(names):
            self.ledger.datasets.get(name)
        await self.ledger.upkeep.sync_datasets()

    async def _log(self, action: str, *subjects: str) -> None:
        await self.ledger.operators.log_action(self.actor, action, *subjects)


def _no_row(row_id: int) -> NotFoundError:
    return NotFoundError(
        f"quarantine holds no row {row_id}: see `quicksilver quarantine list`; it may have been"
        " replayed or discarded"
    )
