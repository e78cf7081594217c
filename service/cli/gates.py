"""The gates in `quicksilver status`: the page's table in the same words."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

_COLOURS = {"waiting": "cyan", "pending": "yellow", "fired": "green"}


def gates_table(gates: Sequence[dict[str, Any]]) -> Table:
    """Sets as `service.api.shown_gate` gives them, for people."""
    waiting = sum(row["state"] == "waiting" for row in gates)
    table = Table(title="Gates", title_justify="left", caption=f"{waiting} of {len(gates)} wait")
    for name in ("set", "state", "still missing", "fired last", "run"):
        table.add_column(name, overflow="fold")
    for row in gates:
        table.add_row(
            Text(f"{row['gate']} {row['set']}"),
            Text(row["state"], _COLOURS[row["state"]]),
            Text(", ".join(map(_missing, row["missing"])) or "nothing"),
            f"generation {row['fired_generation']}" if row["fired_at"] else "never",
            row["flow_run_id"] or "none",
        )
    return table


def _missing(member: dict[str, str]) -> str:
    return f"{member['dataset']}/{member['dt']} ({member['state']})"
