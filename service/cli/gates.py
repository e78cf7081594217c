"""The gates in `quicksilver status`: the page's table in the same words."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.text import Text

from quicksilver.cli.listing import Listing

_COLOURS = {"waiting": "cyan", "pending": "yellow", "fired": "green"}


def gates_table(gates: Sequence[dict[str, Any]]) -> Listing:
    """Every set, for people."""
    waiting = sum(gate["state"] == "waiting" for gate in gates)
    listing = Listing(
        *("set", "state", "still missing", "fired last", "run"),
        free=("still missing",),
        title="Gates",
        caption=f"{waiting} of {len(gates)} wait",
    )
    for gate in gates:
        fired = gate["fired_generation"]
        listing.add(
            f"{gate['gate']} {gate['set']}",
            Text(gate["state"], _COLOURS[gate["state"]]),
            _missing(gate),
            "never" if fired is None else f"generation {fired}",
            str(gate["flow_run_id"] or "none"),
        )
    return listing


def _missing(gate: dict[str, Any]) -> str:
    is_one = len(gate["datasets"]) == 1

    def name(member: dict[str, str]) -> str:
        return member["partition"] + ("" if is_one else f" of {member['dataset']}")

    lines = [
        f"{state}: " + ", ".join(map(name, members))
        for state, members in groupby(gate["missing"], lambda member: member["state"])
    ]
    return "\n".join(lines) or "nothing"
