"""Every dataset in one row of the overview: its state, landings, pace, and newest partitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from quicksilver.ledger import Ledger
from quicksilver.support.postgres import Row
from quicksilver.web.pages.calendar import Cell, cell_of
from quicksilver.web.pages.charts import Chart, Point, chart
from quicksilver.web.pages.formats import span

# As many partitions as a strip shows, and builds as a sparkline.
STRIP = 90
_SPARK = 40

_WORST = ("failed", "paused", "running", "pending", "waiting", "built")

_GRAINS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "month": timedelta(days=31),
    "year": timedelta(days=366),
}


@dataclass(frozen=True, slots=True)
class Glance:
    """A dataset at a glance; `counts` are partitions by state, `late` whether a landing is due."""

    row: Row
    counts: Mapping[str, int]
    state: str
    landed_at: datetime | None
    due_at: datetime | None
    middle: float | None
    slow: float | None
    spark: Chart
    rows_a_day: int
    strip: Sequence[Cell]

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.row["name"]


async def glances(ledger: Ledger, counts: Sequence[Row]) -> list[Glance]:
    """Every declared dataset, and those no longer declared that still hold partitions."""
    strips = await ledger.overview.last_partitions(STRIP)
    builds = await ledger.overview.recent_builds(_SPARK)
    rows_a_day = await ledger.overview.rows_a_day()
    landings = await ledger.watch.newest_landings()
    spans = await ledger.overview.calendar_spans()
    found: list[Glance] = []
    for row in await ledger.views.dataset_rows():
        name = row["name"]
        own = {c["shown_state"]: c["partitions"] for c in counts if c["dataset"] == name}
        if not own and not row["is_declared"]:
            continue
        took = sorted(
            b["seconds"] for b in builds.get(name, []) if b["state"] == "succeeded" and b["seconds"]
        )
        landed_at = landings[name]["landed_at"] if name in landings else None
        is_monthly = bool(spans.get(name, {}).get("is_monthly"))
        found.append(
            Glance(
                row,
                own,
                "paused" if row["paused_at"] else next((s for s in _WORST if own.get(s)), "none"),
                landed_at,
                _due(ledger, name, landed_at, is_monthly=is_monthly),
                took[len(took) // 2] if took else None,
                took[min(len(took) - 1, int(len(took) * 0.95))] if took else None,
                _spark(builds.get(name, [])),
                rows_a_day.get(name, 0),
                [cell_of(cell) for cell in strips.get(name, [])],
            )
        )
    return found


def _due(
    ledger: Ledger, name: str, landed_at: datetime | None, *, is_monthly: bool
) -> datetime | None:
    """By when the next landing is expected: as declared, or by the grain of its partitions."""
    declared = ledger.datasets.by_name.get(name)
    if declared is None or landed_at is None:
        return None
    if declared.fresh_within is not None:
        return landed_at + declared.fresh_within
    grain: Any = "month" if is_monthly else declared.pattern.grain
    return landed_at + _GRAINS[grain] if grain in _GRAINS else None


def _spark(builds: Sequence[Row]) -> Chart:
    return chart(
        [
            Point(
                b["seconds"],
                f"{b['partition']}: {span(b['seconds'])}",
                "" if b["state"] == "succeeded" else "failed",
            )
            for b in builds
            if b["seconds"] is not None
        ],
        span,
    )
