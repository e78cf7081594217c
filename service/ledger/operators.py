"""What operators did: pauses, the log of their actions, and the sessions that they ended."""

from datetime import timedelta

from quicksilver.ledger.rows import LedgerPart
from quicksilver.support import clock
from quicksilver.support.postgres import Row


class Operators(LedgerPart):
    """The operators' own side of the ledger."""

    async def pause(self, name: str, actor: str, reason: str = "") -> bool:
        """Stop building a dataset; events go on accumulating. False when it was paused already."""
        async with self.database.transaction() as tx:
            changed = await tx.run(
                "pause_dataset", name=name, actor=actor, reason=reason or None, now=clock.now()
            )
            return bool(changed)

    async def resume(self, name: str) -> bool:
        """Build again what accumulated. False when it was not paused."""
        async with self.database.transaction() as tx:
            changed = await tx.run("resume_dataset", name=name)
            await tx.run("wake", payload="resumed")
            return bool(changed)

    async def log_action(self, actor: str, action: str, *subjects: str) -> None:
        """Keep who did what, to each subject, and when."""
        given = {"actor": actor, "action": action, "subjects": list(subjects), "now": clock.now()}
        async with self.database.transaction() as tx:
            await tx.run("log_action", **given)

    async def close_session(self, session: str, *, keep: timedelta) -> None:
        """End a browser's session on every replica; after `keep` its cookie has expired."""
        async with self.database.transaction() as tx:
            await tx.run("close_session", id=session, expires_at=clock.now() + keep)

    async def is_closed(self, session: str) -> bool:
        """Whether a session was ended by a logout."""
        async with self.database.transaction() as tx:
            return await tx.one("closed_session", id=session) is not None

    async def actions(
        self,
        *,
        subject: str | None = None,
        part: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Row]:
        """What operators did, newest first; `before` is the last id of the page before.

        `subject` and `action` are exact, `part` is a part of the subject, `actor` one of the name.
        """
        async with self.database.transaction() as tx:
            return await tx.fetch(
                "list_actions",
                subject=subject,
                part=part,
                actor=actor,
                action=action,
                before=before,
                limit=limit,
            )
