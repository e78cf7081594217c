"""Gates: sets of partitions, and the runs that were fired when all of a set were built."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from quicksilver.ledger.rows import LedgerPart, as_json
from quicksilver.support import clock
from quicksilver.support.postgres import Row


def gate_items(complete: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Gate, key and generation of sets as the rows of `open_gates`."""
    return [{"gate": g, "set_key": key, "generation": n} for g, key, n in complete]


class Gating(LedgerPart):
    """The gatekeeper's side of the ledger."""

    async def members(self, datasets: Sequence[str]) -> list[Row]:
        """Every partition of these datasets, with its generations and shown state."""
        async with self.database.transaction() as tx:
            return await tx.fetch("gate_members", datasets=list(datasets))

    async def open(self, complete: Sequence[tuple[str, str, int]]) -> list[tuple[str, str]]:
        """Note that sets (gate, key) are complete at a generation; those not noted before."""
        if not complete:
            return []
        async with self.database.transaction() as tx:
            rows = await tx.fetch(
                "open_gates", items=as_json(gate_items(complete)), now=clock.now()
            )
        return [(row["gate"], row["set_key"]) for row in rows]

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
