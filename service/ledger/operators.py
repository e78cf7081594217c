"""What operators did: pauses, and the log of their actions."""

from quicksilver.ledger.rows import LedgerPart
from quicksilver.support import clock
from quicksilver.support.postgres import Row


class Operators(LedgerPart):
    """The operators' own side of the ledger."""

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
