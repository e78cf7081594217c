"""Checks that the deployments of datasets and gates can be fired, before anything lands.

One that cannot be fired affects only its own datasets: an alert names it, and the rest goes on.
"""

from collections.abc import Collection

from quicksilver.domain.datasets import Dataset, Gate
from quicksilver.domain.parameters import OF_OUR_FLOW
from quicksilver.ledger import Ledger
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.alerts import keep_alerts

# A deployment that was changed is reported within so many seconds.
INTERVAL = 300.0

ALERT = "deployment"


class DeploymentChecks:
    """Raises and clears `deployment` alerts."""

    def __init__(self, ledger: Ledger, deployments: Deployments) -> None:
        self._ledger = ledger
        self._deployments = deployments

    async def run_once(self) -> int:
        """Look at every deployment once; how many cannot be fired.

        Raises:
            LedgerUnavailableError, PrefectUnavailableError: not known now.
        """
        refusals = await self.refusals()
        wanted = {(ALERT, name): text for name, text in refusals.items()}
        await keep_alerts(self._ledger, wanted, kinds=[ALERT])
        return len(refusals)

    async def refusals(self) -> dict[str, str]:
        """By dataset or gate, why its deployment cannot be fired.

        Raises:
            PrefectUnavailableError: Prefect does not answer.
        """
        declared = self._ledger.datasets
        found: dict[str, str] = {}
        for each in (*declared.datasets, *declared.gates):
            given, at_will = given_parameters(each)
            why = await self._deployments.refusal_of(each.deployment, given, at_will=at_will)
            if why is not None:
                found[each.name] = f"{each.name} cannot be fired: {why}"
        return found


def given_parameters(declared: Dataset | Gate) -> tuple[Collection[str], bool]:
    """The names of a run's parameters, and whether it is given only those that its flow takes."""
    if isinstance(declared, Gate):
        return ("year",) if declared.each == "year" else ("dt",), False
    if declared.parameters is not None:
        return tuple(declared.parameters), False
    if declared.is_ours:
        return tuple(OF_OUR_FLOW), False
    return declared.known_fields, True
