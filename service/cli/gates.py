"""The gates in `quicksilver status`: the page's table in the same words."""

from collections.abc import Sequence

from rich.text import Text

from quicksilver.cli.listing import Listing
from quicksilver.domain.gates import GateSet
from quicksilver.operators.gates import GateView

_COLOURS = {"waiting": "cyan", "pending": "yellow", "fired": "green"}


def gates_table(views: Sequence[GateView]) -> Listing:
    """Every set, for people."""
    waiting = sum(view.state == "waiting" for view in views)
    listing = Listing(
        *("set", "state", "still missing", "fired last", "run"),
        free=("still missing",),
        title="Gates",
        caption=f"{waiting} of {len(views)} wait",
    )
    for view in views:
        fired = view.fired
        listing.add(
            f"{view.found.gate.name} {view.found.key}",
            Text(view.state, _COLOURS[view.state]),
            _missing(view.found),
            f"generation {fired['generation']}" if fired else "never",
            str(fired["flow_run_id"] or "none") if fired else "none",
        )
    return listing


def _missing(found: GateSet) -> str:
    is_one = len(found.gate.datasets) == 1
    lines = [
        f"{state}: "
        + ", ".join(m.partition if is_one else f"{m.partition} of {m.dataset}" for m in members)
        for state, members in found.missing_by_state
    ]
    return "\n".join(lines) or "nothing"
