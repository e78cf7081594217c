"""A failure that comes again and again is said once, and counted."""

from time import monotonic

# The same failure is said again after so many seconds: a log that is cut every hour shows it too.
_SAY_AGAIN = 600.0


class Repeated:
    """The failures in a row of one thing since it last went well."""

    def __init__(self) -> None:
        self.failures = 0
        self._said = ""
        self._said_at = 0.0

    def is_news(self, text: str) -> bool:
        """Count a failure; whether it is to be said: it is the first, another one, or long ago."""
        self.failures += 1
        if text == self._said and monotonic() - self._said_at <= _SAY_AGAIN:
            return False
        self._said, self._said_at = text, monotonic()
        return True

    def end(self) -> int:
        """It went well; how many failures there were before."""
        failures, self.failures, self._said = self.failures, 0, ""
        return failures
