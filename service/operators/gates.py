"""Gates as operators see them."""

from dataclasses import dataclass
from typing import Literal

from quicksilver.domain.gates import GateSet, members_of, sets_of
from quicksilver.ledger import Ledger
from quicksilver.support.postgres import Row

GateState = Literal["waiting", "pending", "fired"]


@dataclass(frozen=True, slots=True)
class GateView:
    """A set as operators see it: `waiting`, `pending` (complete, about to fire) or `fired`.

    `fired` is the newest firing, if any: a row with generation, fired_at and flow_run_id.
    """

    found: GateSet
    fired: Row | None

    @property
    def state(self) -> GateState:
        """Where the set is; one that fired and is dirty again waits."""
        if not self.found.is_complete:
            return "waiting"
        is_fired = self.fired is not None and self.fired["generation"] >= self.found.generation
        return "fired" if is_fired else "pending"


async def look_at_gates(ledger: Ledger) -> list[GateView]:
    """Every set of every declared gate: those that wait first, then the newest.

    Raises:
        LedgerUnavailableError: nothing is known.
    """
    gates = ledger.datasets.gates
    if not gates:
        return []
    members = await ledger.gates.members(members_of(gates))
    fired = {(row["gate"], row["set_key"]): row for row in await ledger.gates.runs()}
    views = [
        GateView(found, fired.get((gate.name, found.key)))
        for gate in gates
        for found in reversed(sets_of(gate, members, ledger.datasets))
    ]
    return sorted(views, key=lambda view: ("waiting", "pending", "fired").index(view.state))
