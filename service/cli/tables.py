"""What the API gave, as tables for people. Keys, names and errors are foreign text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from quicksilver.cli.listing import Listing


def number(value: int | None) -> str:
    """With separators; empty if it is not known."""
    return "" if value is None else f"{value:,}"


def when(moment: str | None, shape: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A moment of the API in UTC; empty if it has not come."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):{shape}}" if moment else ""


def events_table(rows: Sequence[dict[str, Any]]) -> Listing:
    """Events, newest first."""
    listing = Listing(
        *("received", "event", "key", "generation", "reason", "copies", "lanes"),
        right=("generation", "copies"),
        below=("key", "event"),
        caption="" if rows else "no events",
    )
    for row in rows:
        lanes = [lane for lane in ("fast", "durable") if row[f"{lane}_at"]]
        listing.add(
            when(row["received_at"]),
            row["event_name"],
            row["key"],
            str(row["generation"] or ""),
            row["reason"],
            str(row["deliveries"]),
            ", ".join(lanes) or row["source"],
        )
    return listing


def builds_table(rows: Sequence[dict[str, Any]]) -> Listing:
    """Builds of a partition, newest first."""
    numbers = ("build", "generation", "attempt")
    listing = Listing(
        *(*numbers, "state", "finished", "run", "error"),
        right=numbers,
        free=("error",),
        title="Builds of its partition",
    )
    for row in rows:
        shared = f" (shared by {row['run_builds']})" if row["run_builds"] > 1 else ""
        listing.add(
            str(row["id"]),
            str(row["generation"]),
            str(row["attempt"] or ""),
            row["state"],
            when(row["finished_at"]),
            f"{row['flow_run_id'] or 'none'}{shared}",
            row["error"] or "",
        )
    return listing
