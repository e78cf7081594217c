"""The gates in `quicksilver status`: the page's table in the same words."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from service.gates import GateSet, GateView

_COLOURS = {"waiting": "cyan", "pending": "yellow", "fired": "green"}


def gates_table(views: Sequence[GateView]) -> Table:
    """Every set, for people."""
    waiting = sum(view.state == "waiting" for view in views)
    table = Table(title="Gates", title_justify="left", caption=f"{waiting} of {len(views)} wait")
    for name in ("set", "state", "still missing", "fired last", "run"):
        table.add_column(name, overflow="fold")
    for view in views:
        fired = view.fired
        table.add_row(
            Text(f"{view.found.gate.name} {view.found.key}"),
            Text(view.state, _COLOURS[view.state]),
            Text(_missing(view.found)),
            f"generation {fired['generation']}" if fired else "never",
            str(fired["flow_run_id"] or "none") if fired else "none",
        )
    return table


def _missing(found: GateSet) -> str:
    is_one = len(found.gate.datasets) == 1
    lines = [
        f"{state}: " + ", ".join(str(m.dt) if is_one else f"{m.dt} of {m.dataset}" for m in members)
        for state, members in found.missing_by_state
    ]
    return "\n".join(lines) or "nothing"
