"""Quarantine: what was authentic and understood by nobody."""

import hashlib

from service import clock
from service.ledger.rows import Part


class Quarantine(Part):
    """Raw bodies, bounded in number and size."""

    async def quarantine(
        self, body: bytes, *, reason: str, lane: str, source: str, max_rows: int, max_bytes: int
    ) -> int:
        """Keep a body that nobody understood; the same body again only counts up. Its id."""
        async with self.database.transaction() as tx:
            row = await tx.one(
                "quarantine_body",
                digest=hashlib.sha256(body).digest(),
                body=body,
                reason=reason,
                lane=lane,
                source=source,
                now=clock.now(),
            )
            await tx.run("bound_quarantine", rows=max_rows, bytes=max_bytes)
        return int(row["id"]) if row else 0
