"""The proof that no event was lost: both sides, the source of each event, the lanes."""

from typing import Any

from quicksilver.ledger import Ledger
from quicksilver.operators.shapes.delivery import Proven


async def read_proof(ledger: Ledger, *, dataset: str | None, last: int) -> Proven:
    """The proof of all datasets or one; `last` is how many of the newest events are read."""
    sides: Any = [row for row in await ledger.proof.compare() if dataset in (None, row["dataset"])]
    origins: Any = [
        {
            **row,
            "missed_by_notifications": row["only_sweep"] / row["objects"]
            if row["objects"]
            else 0.0,
        }
        for row in await ledger.proof.origins(last=last)
        if dataset in (None, row["dataset"])
    ]
    lanes: Any = await ledger.watch.lane_states()
    counters = await ledger.views.counters()
    return {
        "proof": sides,
        "origins": origins,
        "lanes": lanes,
        "sweep_found": counters.get("sweep_found", 0),
        "last_events": last,
    }
