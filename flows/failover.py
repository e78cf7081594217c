"""What a flow does in the service's place while no dispatcher is alive: it settles builds.

An unsettled build holds its partition for ever: one that published, one whose run died,
one that was fired or claimed and never began.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

from prefect.logging import get_logger

from quicksilver.domain.partition import Partition
from quicksilver.errors import PrefectUnavailableError, WarehouseUnavailableError
from quicksilver.ledger import Ledger
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.settler import Settler
from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.warehouse.connection import Warehouse

_log = get_logger("quicksilver")


class Failover:
    """Ends builds as the service's settler would, and frees what a dead dispatcher claimed."""

    def __init__(self, settings: Settings, ledger: Ledger, settler: Settler) -> None:
        self._ledger = ledger
        self._settler = settler
        self._lease = timedelta(seconds=settings.claim_lease)
        self._owner = f"stand-in:{uuid4()}"

    async def is_wanted(self) -> bool:
        """Whether no dispatcher gave a sign of life for a lease.

        Raises:
            LedgerUnavailableError: it cannot be asked.
        """
        return not await self._ledger.upkeep.dispatchers_alive(within=self._lease)

    async def run_once(self) -> set[Partition]:
        """One pass over the active builds; the partitions that a build still holds after it.

        What Prefect or the warehouse cannot tell now is asked again by the next pass.

        Raises:
            LedgerUnavailableError: the ledger does not answer.
        """
        # Given back and not taken up: a run that was made for it all the same finds its key spent.
        await self._ledger.claims.adopt(self._owner, lease=self._lease)
        for claim in await self._ledger.claims.own_claims(self._owner):
            why = "the dispatcher that claimed it is gone"
            await self._ledger.claims.release(claim, self._owner, error=why, due_at=clock.now())
        try:
            await self._settler.run_once()
        except (PrefectUnavailableError, WarehouseUnavailableError) as error:
            _log.warning("builds cannot be settled now: %s", error)
        return {build.partition for build in await self._ledger.settlement.active_builds()}


@asynccontextmanager
async def failing_over(settings: Settings, ledger: Ledger) -> AsyncGenerator[Failover]:
    """A stand-in with a client of Prefect of its own, closed at the end."""
    deployments = Deployments(
        settings.prefect_api_url, settings.prefect_auth_string.get_secret_value()
    )
    await deployments.open()
    try:
        yield Failover(
            settings, ledger, Settler(settings, ledger, deployments, Warehouse(settings))
        )
    finally:
        await deployments.close()
