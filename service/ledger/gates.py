"""Gates: sets of partitions, and the runs that were fired when all of a set were built."""

from collections.abc import Sequence
from uuid import UUID

from quicksilver.ledger.rows import LedgerPart
from quicksilver.support import clock
from quicksilver.support.postgres import Row


class Gating(LedgerPart):
    """The gatekeeper's side of the ledger."""

    async def members(self, datasets: Sequence[str]) -> list[Row]:
        """Every partition of these datasets, with its generations and shown state."""
        async with self.database.transaction() as tx:
            return await tx.fetch("gate_members", datasets=list(datasets))

    async def open(self, gate: str, set_key: str, generation: int) -> bool:
        """Note that a set is complete at a generation; False when that was noted before."""
        async with self.database.transaction() as tx:
            return bool(
                await tx.run(
                    "open_gate",
                    gate=gate,
                    set_key=set_key,
                    generation=generation,
                    now=clock.now(),
                )
            )

    async def unfired(self) -> list[Row]:
        """Sets that are complete and whose run Prefect was not asked for yet, with its key."""
        async with self.database.transaction() as tx:
            return await tx.fetch("unfired_gates")

    async def mark_fired(
        self, gate: str, set_key: str, generation: int, flow_run_id: UUID | None
    ) -> bool:
        """Keep the run that was fired for a set; False when another replica was first."""
        async with self.database.transaction() as tx:
            is_first = await tx.run(
                "mark_gate_fired",
                gate=gate,
                set_key=set_key,
                generation=generation,
                flow_run_id=flow_run_id,
                now=clock.now(),
            )
            await tx.run("wake_workers")
            return bool(is_first)

    async def runs(self) -> list[Row]:
        """The newest firing of each set that ever fired."""
        async with self.database.transaction() as tx:
            return await tx.fetch("gate_runs")
