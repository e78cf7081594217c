"""Which partitions an object's key belongs to. Pure: no clock, no network, no state."""

import re
from dataclasses import dataclass, field
from datetime import date

from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.keys import KeyPattern
from quicksilver.domain.reasons import Ignored

# Where the service's own heartbeat objects lie: outside every partition, but notified like them.
CANARY_PREFIX = "_quicksilver/canary/"

_TIME = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T\d{2}(?::\d{2})?)?)?)?(?:/|$)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One `(dataset, name)`: the unit that is built.

    `name` is the time at the dataset's grain, then the dimensions: `2024-05-01`, `2024-05`,
    `2024-05-01T13/region=eu`; where each object is a partition, the variable part of its key.
    `day` is the first day of its time, None without a time; read off the name unless given.
    """

    dataset: str
    name: str
    day: date | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Read the day off the name."""
        if self.day is None and (found := _TIME.match(self.name)):
            year, month, day = (int(part or 1) for part in found.groups())
            try:
                object.__setattr__(self, "day", date(year, month, day))
            except ValueError:
                return

    @classmethod
    def of_day(cls, dataset: str, day: date) -> "Partition":
        """The partition of a day in a dataset whose grain is the day."""
        return cls(dataset, day.isoformat(), day)

    @property
    def dt(self) -> date:
        """The first day of its time.

        Raises:
            ValueError: it has no time.
        """
        if self.day is None:
            raise ValueError(f"{self} has no time: its dataset's key names none")
        return self.day

    def __str__(self) -> str:
        return f"{self.dataset}/{self.name}"


@dataclass(frozen=True, slots=True)
class Match:
    """A key that belongs to a partition; `file` is what the pattern's tail stands for."""

    partition: Partition
    file: str


def match(dataset: Dataset, key: str) -> Match | Ignored:
    """The partition of one dataset that a key belongs to, or the reason why there is none.

    Returns:
        A `Match`, or one of `outside-datasets`, `no-partition` (it lies where the dataset's keys
        do, and fits no partition), `bad-date`, `other-file`.
    """
    pattern = dataset.pattern
    found = pattern.fit(key)
    if isinstance(found, str):
        if found == "bad-date":
            return Ignored.BAD_DATE
        is_near = key.startswith(pattern.prefix or "\0")
        return Ignored.NO_PARTITION if is_near else Ignored.OUTSIDE_DATASETS
    if not dataset.holds(found.rest):
        return Ignored.OTHER_FILE
    dt = found.time.date() if found.time else None
    name = pattern.object_name(key) if dataset.each == "object" else pattern.name_of(found)
    return Match(Partition(dataset.name, name, dt), found.rest)


# For a key without a partition: the most telling reason comes last.
_TELLING = list(Ignored)


def matches(datasets: Datasets, bucket: str, key: str) -> tuple[Match, ...] | Ignored:
    """The partitions that a key belongs to, at most one of each dataset, or the reason.

    Returns:
        Matches in the order of the datasets; or `canary`, `unknown-bucket`, or the most telling
        of the reasons that `match` gives.
    """
    if key.startswith(CANARY_PREFIX):
        return Ignored.CANARY
    found = [match(dataset, key) for dataset in datasets.datasets if dataset.bucket == bucket]
    fitting = tuple(one for one in found if isinstance(one, Match))
    if fitting:
        return fitting
    return max(
        (one for one in found if isinstance(one, Ignored)),
        key=_TELLING.index,
        default=Ignored.UNKNOWN_BUCKET,
    )


def prefixes(dataset: Dataset, name: str) -> tuple[str, ...]:
    """The key prefixes under which a partition's objects lie.

    Raises:
        ValueError: the dataset has no partition of that name.
    """
    if dataset.each == "object":
        return (dataset.pattern.object_key(name),)
    return dataset.pattern.prefixes_of(name)


def fields(dataset: Dataset, partition: Partition) -> dict[str, str]:
    """The values of the pattern's fields, of a partition by its name.

    Raises:
        ValueError: the dataset has no partition of that name.
    """
    if dataset.each == "object":
        return object_fields(dataset.pattern, dataset.pattern.object_key(partition.name))
    found = dataset.pattern.fields_of(partition.name)
    if found is None:
        raise ValueError(f"{partition.name!r} is not a partition of {dataset.key}")
    return found


def object_fields(pattern: KeyPattern, key: str) -> dict[str, str]:
    """The values of the pattern's fields in an object's key; `dt` is its day, YYYY-MM-DD.

    Raises:
        ValueError: the key does not fit the pattern.
    """
    found = pattern.fit(key)
    if isinstance(found, str):
        raise ValueError(f"{key!r} does not fit {pattern.text}")  # noqa: TRY004
    own = dict(found.fields)
    if found.time is not None:
        own["dt"] = found.time.date().isoformat()
    return own
