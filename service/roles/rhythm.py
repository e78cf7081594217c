"""When a dataset is compared with bronze again."""

from dataclasses import dataclass
from time import monotonic

from quicksilver.support.backoff import delay

# A dataset that could not be compared is tried again after these many seconds, doubled each time
# up to the sweep's own interval.
_RETRY = 5.0


@dataclass(slots=True)
class Rhythm:
    """When a dataset was last compared, and how often in a row that failed."""

    compared_at: float | None = None
    retry_at: float = 0.0
    failures: int = 0

    def due_in(self, interval: float) -> float:
        """Seconds until it is compared again."""
        if self.failures:
            return self.retry_at - monotonic()
        return self.compared_at + interval - monotonic() if self.compared_at is not None else 0.0

    def fail(self, interval: float) -> None:
        """It could not be compared."""
        self.failures += 1
        self.retry_at = monotonic() + delay(self.failures, base=_RETRY, cap=interval)

    def succeed(self) -> None:
        """It was compared."""
        self.failures, self.compared_at = 0, monotonic()
