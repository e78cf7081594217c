"""Pruning: what is older than the retention goes, a bounded bite at a time."""

from datetime import timedelta

from quicksilver.ledger import Ledger

# Now and then: nothing waits for it.
INTERVAL = 600.0


class Pruning:
    """Keeps the ledger's history to the retention."""

    def __init__(self, ledger: Ledger, keep: timedelta) -> None:
        self._ledger = ledger
        self._keep = keep

    async def run_once(self) -> int:
        """Drop all that is too old; how many rows.

        Raises:
            LedgerUnavailableError: the rest goes with the next pass.
        """
        dropped = 0
        while count := await self._ledger.upkeep.prune(keep=self._keep):
            dropped += count
        return dropped
