"""Alignment: future builds can publish although the ledger is younger than the warehouse.

A ledger that was recreated, or restored from a backup, would assign build ids that the warehouse's
fences treat as given up, and keys that Prefect already knows.
"""

from typing import Protocol

import structlog

from quicksilver.ledger import Ledger

_log = structlog.get_logger(__name__)

# A backup may be restored while the service runs, so the check is repeated, rarely.
INTERVAL = 300.0


class Fences(Protocol):
    """What the warehouse knows of builds."""

    async def newest_build(self) -> int:
        """The highest build id that ever held a fence."""
        ...


class Alignment:
    """Keeps the ledger's ids ahead of the warehouse's."""

    def __init__(self, ledger: Ledger, warehouse: Fences) -> None:
        self._ledger = ledger
        self._warehouse = warehouse

    async def run_once(self) -> bool:
        """Raise the ids of future builds if the warehouse knows newer ones; whether it does.

        Raises:
            LedgerUnavailableError, LedgerRightsError, WarehouseUnavailableError: not known yet.
        """
        newest = await self._warehouse.newest_build()
        is_behind = await self._ledger.upkeep.raise_build_ids(newest)
        if is_behind:
            _log.warning(
                "the warehouse knows newer builds than the ledger: was a backup restored?",
                newest=newest,
            )
        return is_behind
