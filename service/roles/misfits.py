"""Misfits: datasets (or gates) that cannot be brought to Prefect now, each with its own wait.

The wait doubles with every failure in a row and is known to this process alone: a dispatcher that
starts tries each dataset once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from quicksilver.support import clock
from quicksilver.support.backoff import delay

# Seconds after the first failure, and after the tenth and later ones: a bucket or deployment that
# was fixed is found within five minutes, and a permanent failure costs one try in that time.
_BASE = 5.0
_CAP = 300.0


# People are told from the second failure in a row: a restart of MinIO is not worth an alert.
_TOLD_FROM = 2


@dataclass(frozen=True, slots=True)
class Misfit:
    """A dataset in trouble: failures in a row, until when it waits, and why."""

    failures: int
    until: datetime
    why: str
    is_told: bool = False


class Misfits:
    """The datasets in trouble."""

    def __init__(self) -> None:
        self._by_name: dict[str, Misfit] = {}
        # Datasets known to be well: alerts that an earlier process raised for them are cleared.
        self._well: set[str] = set()

    def record(self, datasets: Iterable[str], why: str) -> datetime:
        """Note a failure of datasets; until when they wait."""
        now = clock.now()
        waits = [now]
        for name in datasets:
            known = self._by_name.get(name)
            if known is None or known.until <= now:
                # Otherwise it belongs to the same pass: one failure, however many builds met it.
                failures = known.failures + 1 if known else 1
                wait = timedelta(seconds=delay(failures, base=_BASE, cap=_CAP))
                is_told = known is not None and known.is_told
                known = self._by_name[name] = Misfit(failures, now + wait, why, is_told)
                self._well.discard(name)
            waits.append(known.until)
        return max(waits)

    def to_name(self, datasets: Iterable[str]) -> list[str]:
        """The datasets that people should be told about now; each is named once."""
        named = [
            name
            for name in datasets
            if (known := self._by_name.get(name))
            and known.failures >= _TOLD_FROM
            and not known.is_told
        ]
        for name in named:
            self._by_name[name] = replace(self._by_name[name], is_told=True)
        return named

    def clear(self, dataset: str) -> bool:
        """The dataset is well; whether that is news."""
        self._by_name.pop(dataset, None)
        is_news = dataset not in self._well
        self._well.add(dataset)
        return is_news

    def held(self) -> dict[str, str]:
        """What waits now, each with the reason."""
        now = clock.now()
        return {name: misfit.why for name, misfit in self._by_name.items() if misfit.until > now}

    def on_trial(self) -> list[str]:
        """Datasets whose wait is over and that had no success since."""
        now = clock.now()
        return [name for name, misfit in self._by_name.items() if misfit.until <= now]

    def next_trial(self) -> datetime | None:
        """When the first wait ends."""
        now = clock.now()
        waits = [m.until for m in self._by_name.values() if m.until > now]
        return min(waits, default=None)
