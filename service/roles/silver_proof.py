"""Silver's proof: compares what the warehouse really holds with what the ledger records.

A restored older backup of the warehouse or of the ledger, or a truncated table, makes the two
differ without any error. Partitions that differ are built again, and named.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition
from quicksilver.ledger import Ledger
from quicksilver.roles.alerts import clear_alert, raise_alert

_log = structlog.get_logger(__name__)

# As often as bronze is compared: a restore or an emptied table is reported within so many seconds.
INTERVAL = 300.0

ALERT = "silver"

# Partitions that an alert names; it gives the number of the others.
_NAMED = 10


class Held(Protocol):
    """A partition that the warehouse says it holds."""

    @property
    def partition(self) -> Partition:
        """Which."""
        ...

    @property
    def build_id(self) -> int:
        """The build that published it."""
        ...

    @property
    def missing(self) -> tuple[str, ...]:
        """Tables that held rows of it when it was published, and hold none now."""
        ...


class Holdings(Protocol):
    """What is asked of the warehouse."""

    async def holdings(self, dataset: Dataset) -> Sequence[Held]:
        """Every published partition of a dataset, and whether its rows are there."""
        ...


class SilverProof:
    """Finds partitions whose silver differs from the ledger, and has them built again."""

    def __init__(self, ledger: Ledger, warehouse: Holdings) -> None:
        self._ledger = ledger
        self._warehouse = warehouse

    async def run_once(self) -> dict[Partition, str]:
        """Compare every dataset that our flow publishes; what differed, with the reason.

        Raises:
            LedgerUnavailableError, WarehouseUnavailableError: the rest is compared next time.
        """
        found: dict[Partition, str] = {}
        for dataset in self._ledger.datasets.datasets:
            # A user's own flow keeps its silver elsewhere.
            if dataset.is_ours:
                found |= await self._compare(dataset)
        return found

    async def _compare(self, dataset: Dataset) -> dict[Partition, str]:
        told = await self._ledger.proof.published(dataset.name)
        held = {one.partition: one for one in await self._warehouse.holdings(dataset)}
        differing = {
            p: why for p, build in told.items() if (why := _difference(build, held.get(p)))
        }
        if differing:
            # A partition that was published or raised meanwhile cannot be compared.
            now = await self._ledger.proof.published(dataset.name)
            differing = {p: why for p, why in differing.items() if now.get(p) == told[p]}
        if not differing:
            await clear_alert(self._ledger, ALERT, dataset.name)
            return {}
        await self._ledger.recording.rebuild(sorted(differing), asked_by="proof of silver")
        text = _told(dataset.name, differing)
        _log.warning("silver is not what the ledger says", dataset=dataset.name, text=text)
        await raise_alert(self._ledger, ALERT, dataset.name, text)
        return differing


def _difference(build: int, held: Held | None) -> str | None:
    """Why silver does not hold what a build published, or None when it does."""
    if held is None:
        return "the warehouse knows nothing of it"
    if held.build_id < build:
        return f"the warehouse holds build {held.build_id}, the ledger says {build}"
    if held.build_id > build:
        return f"the warehouse holds build {held.build_id}, which the ledger does not know"
    if held.missing:
        return f"{', '.join(held.missing)} is empty"
    return None


def _told(dataset: str, differing: Mapping[Partition, str]) -> str:
    named = [f"{p.name}: {why}" for p, why in sorted(differing.items())[:_NAMED]]
    rest = len(differing) - len(named)
    more = f"; and {rest} more" if rest else ""
    return (
        f"{len(differing)} partitions of {dataset} are not in silver as the ledger says, and are"
        f" built anew ({'; '.join(named)}{more}): was a backup restored, or a table emptied?"
    )
