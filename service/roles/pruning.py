"""Pruning: deletes what is older than the retention, a bounded batch at a time."""

from datetime import timedelta

from quicksilver.ledger import Ledger

# Rarely: no other job waits for it.
INTERVAL = 600.0

# Sent announcements: long enough for diagnosis; the partitions themselves hold the state.
_KEEP_SENT = timedelta(days=3)


class Pruning:
    """Keeps the ledger's history to the retention."""

    def __init__(self, ledger: Ledger, keep: timedelta) -> None:
        self._ledger = ledger
        self._keep = keep

    async def run_once(self) -> int:
        """Delete all that is too old; how many rows of the history.

        Raises:
            LedgerUnavailableError: the rest goes with the next pass.
        """
        await self._ledger.outbox.prune(keep=_KEEP_SENT)
        dropped = 0
        while count := await self._ledger.upkeep.prune(keep=self._keep):
            dropped += count
        return dropped
