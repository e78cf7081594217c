"""Gates: when every partition of a set is built, a deployment is fired, once for each generation.

A set's generation is the sum of what its members were built at: it rises whenever one of them is
built anew, and never falls.
"""

from collections.abc import Mapping

import structlog

from quicksilver.domain.gates import GateSet, members_of, sets_of
from quicksilver.errors import DeploymentRefusedError
from quicksilver.ledger import Ledger
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.roles.misfits import Misfits

_log = structlog.get_logger(__name__)

# Woken by every build that ends; the tick only catches a wake that was missed.
TICK = 30.0

# The alert of a gate whose deployment Prefect does not know, or refuses to run.
_ALERT = "gate"


class Gatekeeper:
    """Looks at the gates whenever a build ends, and fires those that are complete."""

    def __init__(self, ledger: Ledger, deployments: Deployments) -> None:
        self._ledger = ledger
        self._deployments = deployments
        self._misfits = Misfits()

    async def run_once(self) -> int:
        """Open what is complete, fire what is open; how many runs were fired.

        A gate whose deployment is not there, or refuses the run, raises an alert, waits longer
        each time, and holds no other gate up.

        Raises:
            LedgerUnavailableError, PrefectUnavailableError: what is open stays open, and is fired
                by the next pass.
        """
        gates = self._ledger.datasets.gates
        members = await self._ledger.gates.members(members_of(gates)) if gates else []
        for gate in gates:
            for found in sets_of(gate, members, self._ledger.datasets):
                if found.is_complete and await self._ledger.gates.open(
                    gate.name, found.key, found.generation
                ):
                    _log.info("a gate opened", gate=gate.name, set=found.key)
        fired = 0
        stuck: dict[str, str] = {}
        by_name = {gate.name: gate for gate in gates}
        held = self._misfits.held()
        for row in await self._ledger.gates.unfired():
            gate = by_name.get(row["gate"])
            if gate is None:
                continue
            if gate.name in stuck:
                continue
            if gate.name in held:
                stuck[gate.name] = held[gate.name]
                continue
            found = GateSet(gate, row["set_key"], (), row["generation"])
            try:
                fired += await self._fire(found, row["key"])
                self._misfits.clear(gate.name)
            except DeploymentRefusedError as error:
                stuck[gate.name] = (
                    f"gate {gate.name} cannot fire for {found.key}: {error}, or correct the gate's"
                    " deployment in datasets.yaml"
                )
                self._misfits.record([gate.name], stuck[gate.name])
        await self._tell(stuck)
        return fired

    async def _fire(self, found: GateSet, key: str) -> bool:
        gate = found.gate
        run = await self._deployments.create_run(
            gate.deployment,
            parameters=found.parameters,
            key=key,
            run_name=f"{gate.name} {found.key} g{found.generation}",
            tags=[f"gate:{gate.name}"],
        )
        return await self._ledger.gates.mark_fired(gate.name, found.key, found.generation, run)

    async def _tell(self, stuck: Mapping[str, str]) -> None:
        for name, text in stuck.items():
            await raise_alert(self._ledger, _ALERT, name, text)
        for row in await self._ledger.watch.alerts(is_open=True, limit=1000):
            if row["kind"] == _ALERT and row["subject"] not in stuck:
                await clear_alert(self._ledger, _ALERT, row["subject"])
