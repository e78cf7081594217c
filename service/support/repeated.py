"""A repeated failure is reported once, and counted."""

from time import monotonic

# Seconds until the same failure is reported again, so that an hourly log file shows it too.
_SAY_AGAIN = 600.0


class Repeated:
    """The consecutive failures of one thing since its last success."""

    def __init__(self) -> None:
        self.failures = 0
        self._said = ""
        self._said_at = 0.0

    def is_news(self, text: str) -> bool:
        """Count a failure; whether to report it: it is new, or was last reported long ago."""
        self.failures += 1
        if text == self._said and monotonic() - self._said_at <= _SAY_AGAIN:
            return False
        self._said, self._said_at = text, monotonic()
        return True

    def end(self) -> int:
        """Note a success; the number of failures before it."""
        failures, self.failures, self._said = self.failures, 0, ""
        return failures
