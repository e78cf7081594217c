"""`quicksilver status --proof`: the page's proof that nothing was lost, in the same words."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from quicksilver.cli.listing import Listing
from quicksilver.cli.tables import number
from quicksilver.support import clock

_DIFFERENCES = {
    "unknown": "listed, unknown to the ledger",
    "missing": "in the ledger, not listed",
    "newer": "landed since the comparison",
    "unbuilt": "not built at the newest generation",
    "unmatched": "objects that match no partition",
}
_ORIGINS = {
    "objects": "objects",
    "fast": "fast lane",
    "only_durable": "only the durable lane",
    "only_sweep": "only a sweep",
    "only_poll": "only polling",
    "otherwise": "otherwise",
}


def proof_tables(answer: dict[str, Any]) -> RenderableType:
    """What `/api/proof` gave, for people."""
    return Group(
        _sides(answer["proof"]),
        _origins(answer["origins"], answer["last_events"]),
        _lanes(answer["lanes"]),
        Text(f"objects that only a sweep found, ever: {answer['sweep_found']:,}"),
    )


def _sides(rows: Sequence[dict[str, Any]]) -> Listing:
    sides = ("listed in bronze", "in the ledger", "built at the newest generation")
    listing = Listing(
        *("dataset", *sides, "difference", "compared"),
        right=sides,
        free=("difference",),
        title="Proof that nothing was lost",
    )
    for row in rows:
        listing.add(
            row["dataset"],
            number(row["in_bronze"]),
            number(row["in_ledger"]),
            number(row["built"]),
            _difference(row),
            _age(row["compared_at"]),
        )
    if not rows:
        listing.caption = "no dataset"
    return listing


def _difference(row: dict[str, Any]) -> str:
    lines: list[str] = []
    for kind, words in _DIFFERENCES.items():
        if count := row[kind]:
            names: list[str] = row[f"{kind}_names"]
            more = " …" if count > len(names) else ""
            lines.append(f"{count:,} {words}: {', '.join(map(str, names))}{more}")
    if lines:
        return "\n".join(lines)
    return "none" if row["compared_at"] else "not compared yet"


def _origins(rows: Sequence[dict[str, Any]], last: int) -> Listing:
    title = f"Who told of the newest objects (of the last {last:,} events)"
    numbers = (*_ORIGINS.values(), "missed by notifications")
    listing = Listing("dataset", *numbers, right=numbers, title=title)
    for row in rows:
        listing.add(
            row["dataset"],
            *(number(row[n]) for n in _ORIGINS),
            f"{row['missed_by_notifications']:.2%}",
        )
    if not rows:
        listing.caption = "no event yet"
    return listing


def _lanes(rows: Sequence[dict[str, Any]]) -> Listing:
    listing = Listing(
        *("bucket", "lane", "state", "lag", "measured", "why"),
        right=("lag",),
        free=("why",),
        title="Lanes, by the last canary",
    )
    for row in rows:
        for lane in ("fast", "durable"):
            state, lag = row[f"{lane}_state"], row[f"{lane}_lag"]
            listing.add(
                row["bucket"],
                lane,
                state,
                "" if lag is None else f"{lag:.3f} s",
                _age(row["at"]),
                row["fault"] or "" if state in ("silent", "unknown") else "",
            )
    if not rows:
        listing.caption = "no canary flew yet"
    return listing


def _age(moment: str | None) -> str:
    if moment is None:
        return "never"
    seconds = int((clock.now() - datetime.fromisoformat(moment)).total_seconds())
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60:,} min ago"
