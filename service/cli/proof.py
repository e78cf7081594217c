"""`quicksilver status --proof`: the page's proof that nothing was lost, in the same words."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from quicksilver.cli.listing import Listing
from quicksilver.ledger import Ledger
from quicksilver.support import clock

_DIFFERENCES = {
    "unknown": "listed, unknown to the ledger",
    "missing": "in the ledger, not listed",
    "newer": "landed since the comparison",
    "unbuilt": "not built at the newest generation",
}
_ORIGINS = {
    "objects": "objects",
    "fast": "fast lane",
    "only_durable": "only the durable lane",
    "only_sweep": "only a sweep",
    "only_poll": "only polling",
    "otherwise": "otherwise",
}


async def read_proof(ledger: Ledger, *, dataset: str | None, last: int) -> dict[str, Any]:
    """The proof as JSON takes it; `last` is how many of the newest events are looked at."""
    return {
        "proof": [row for row in await ledger.proof.compare() if dataset in (None, row["dataset"])],
        "origins": [
            {**row, "lost_by_push": row["only_sweep"] / row["objects"] if row["objects"] else 0.0}
            for row in await ledger.proof.origins(last=last)
            if dataset in (None, row["dataset"])
        ],
        "lanes": await ledger.watch.lane_states(),
        "counters": await ledger.views.counters(),
        "last_events": last,
    }


def proof_tables(answer: dict[str, Any]) -> RenderableType:
    """What `read_proof` gave, for people."""
    found = answer["counters"].get("sweep_found", 0)
    return Group(
        _sides(answer["proof"]),
        _origins(answer["origins"], answer["last_events"]),
        _lanes(answer["lanes"]),
        Text(f"objects that only a sweep found, ever: {found:,}"),
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
            _number(row["in_bronze"]),
            _number(row["in_ledger"]),
            _number(row["built"]),
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
            row["dataset"], *(_number(row[n]) for n in _ORIGINS), f"{row['lost_by_push']:.2%}"
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


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _age(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    seconds = int((clock.now() - moment).total_seconds())
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60:,} min ago"
