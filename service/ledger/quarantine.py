"""Quarantine: what was authentic and could not be parsed."""

import hashlib
import json
from urllib.parse import quote, quote_plus

from quicksilver.ledger.outbox import QUARANTINED, announce
from quicksilver.ledger.rows import LedgerPart
from quicksilver.support import clock
from quicksilver.support.postgres import Row


def forms_of(key: str) -> list[bytes]:
    """An object's key as notifications write it: plain, form-encoded, URL-encoded, as JSON."""
    plain = key.encode("utf-8", "surrogatepass")
    forms = (
        plain.decode("utf-8", "replace"),
        quote_plus(plain),
        quote(plain),
        json.dumps(key)[1:-1],
    )
    return list({plain, *(form.encode() for form in forms)})


class Quarantine(LedgerPart):
    """Raw bodies, bounded in number and size."""

    async def add(
        self, body: bytes, *, reason: str, lane: str, source: str, max_rows: int, max_bytes: int
    ) -> int:
        """Keep a body that could not be parsed; the same body again only counts up. Its id."""
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
            if row is not None and row["count"] == 1:
                payload = {"reason": reason, "lane": lane, "source": source, "size": len(body)}
                resource = f"quicksilver.quarantine.{row['id']}"
                await announce(tx, QUARANTINED, resource, payload, clock.now())
        return int(row["id"]) if row else 0

    async def list(self, *, key: str | None = None, limit: int = 100) -> list[Row]:
        """What is in quarantine, newest first, without the bodies; sizes in bytes.

        With a `key` only bodies that contain it. Reasons come as `quarantined:<why>`.
        """
        async with self.database.transaction() as tx:
            forms = forms_of(key) if key else None
            return await tx.fetch("list_quarantine", limit=limit, forms=forms)

    async def body(self, row_id: int) -> Row | None:
        """One row with its raw `body`, or None."""
        async with self.database.transaction() as tx:
            return await tx.one("show_quarantine", id=row_id)

    async def discard(self, row_id: int) -> bool:
        """Drop a row; False when it is not there."""
        async with self.database.transaction() as tx:
            return bool(await tx.run("discard_quarantine", id=row_id))
