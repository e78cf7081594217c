"""Records in the ledger when the receiver last refused a sender's token."""

from dataclasses import dataclass, field
from datetime import datetime

from quicksilver.domain.lanes import WEBHOOK_LANES
from quicksilver.ledger import Ledger
from quicksilver.support import clock

# Refused senders cost the ledger one row per interval, however fast they try.
FLUSH_SECONDS = 2.0


@dataclass(slots=True)
class Refusals:
    """When the receiver of this process last refused a sender's token, by lane."""

    last: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def note(self, lane: str | None) -> None:
        """A token was refused; other names than the lanes' are not kept."""
        if lane in WEBHOOK_LANES:
            self.last[lane] = clock.now()

    async def run_once(self, ledger: Ledger) -> int:
        """Record new refusals in the ledger; the number of lanes.

        Raises:
            LedgerUnavailableError: they are recorded later.
        """
        told = 0
        for lane, at in list(self.last.items()):
            await ledger.watch.record_refusal(lane, at)
            told += 1
            if self.last.get(lane) == at:
                del self.last[lane]
        return told
