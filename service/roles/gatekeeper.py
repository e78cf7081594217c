"""Gates: when every partition of a set is built, a deployment is fired, once for each generation.

A set's generation is the sum of its members' built generations: it rises whenever one of them is
built again, and never falls.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from quicksilver.domain.datasets import Gate
from quicksilver.domain.gates import GateSet, follower_of, members_of, sets_of
from quicksilver.domain.parameters import Asked, values
from quicksilver.domain.partition import Partition
from quicksilver.errors import DeploymentRefusedError
from quicksilver.ledger import Ledger
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.alerts import keep_alerts
from quicksilver.roles.misfits import Misfits
from quicksilver.support.postgres import Row

_log = structlog.get_logger(__name__)

# Woken by every build that ends; the tick only catches a wake that was missed.
TICK = 30.0

# The alert of a gate whose deployment is unknown to Prefect or refuses the run.
_ALERT = "gate"


class Gatekeeper:
    """Checks the gates whenever a build ends, and fires those that are complete."""

    def __init__(self, ledger: Ledger, deployments: Deployments) -> None:
        self._ledger = ledger
        self._deployments = deployments
        self._misfits = Misfits()

    async def run_once(self) -> int:
        """Open what is complete, fire what is open; how many runs were fired.

        A gate whose deployment does not exist, or refuses the run, raises an alert, waits longer
        each time, and does not delay other gates.

        Raises:
            LedgerUnavailableError, PrefectUnavailableError: what is open stays open, and is fired
                by the next pass.
        """
        gates = self._ledger.datasets.gates
        members = await self._ledger.gates.members(members_of(gates)) if gates else []
        complete = [
            (gate.name, found.key, found.generation)
            for gate in gates
            for found in sets_of(gate, members, self._ledger.datasets)
            if found.is_complete
        ]
        for name, key in await self._ledger.gates.open(complete):
            _log.info("a gate opened", gate=name, set=key)
        fired = 0
        stuck: dict[str, str] = {}
        by_name = {gate.name: gate for gate in gates}
        held = self._misfits.held()
        for row in await self._ledger.gates.unfired():
            name = row["gate"]
            if name in stuck:
                continue
            if name in held:
                stuck[name] = held[name]
                continue
            try:
                asked = await self._asked(row, by_name)
                if asked is None:
                    continue
                fired += await self._fire(row, *asked)
                self._misfits.clear(name)
            except DeploymentRefusedError as error:
                stuck[name] = (
                    f"{name} cannot fire for {row['set_key']}: {error}, or correct the deployment"
                    " in datasets.yaml"
                )
                self._misfits.record([name], stuck[name])
        wanted = {(_ALERT, name): text for name, text in stuck.items()}
        await keep_alerts(self._ledger, wanted, kinds=[_ALERT])
        return fired

    async def _asked(
        self, row: Row, gates: Mapping[str, Gate]
    ) -> tuple[str, dict[str, Any]] | None:
        """The deployment that an open gate fires, and its parameters; None: no longer declared."""
        gate = gates.get(row["gate"])
        if gate is not None:
            found = GateSet(gate, row["set_key"], (), row["generation"])
            return gate.deployment, found.parameters
        follower = follower_of(row["gate"])
        dataset = self._ledger.datasets.by_name.get(follower[0]) if follower else None
        if follower is None or dataset is None or follower[1] not in dataset.then:
            return None
        deployment = follower[1]
        await self._deployments.deployment_id(deployment)
        known = values(
            dataset, Asked(Partition(dataset.name, row["set_key"]), row["generation"], 1)
        )
        taken = self._deployments.taken(deployment)
        return deployment, {name: value for name, value in known.items() if name in taken}

    async def _fire(self, row: Row, deployment: str, parameters: dict[str, Any]) -> bool:
        name, key, generation = row["gate"], row["set_key"], row["generation"]
        run = await self._deployments.create_run(
            deployment,
            parameters=parameters,
            key=row["key"],
            run_name=f"{name.rpartition(':')[2]} {key} g{generation}",
            tags=[f"gate:{name}"],
        )
        return await self._ledger.gates.mark_fired(name, key, generation, run)
