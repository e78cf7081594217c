"""Which partition an object's key belongs to. Pure: no clock, no network, no state."""

from dataclasses import dataclass
from datetime import date

from quicksilver.domain.datasets import Dataset, Datasets

# Where the service's own heartbeat objects lie: outside every partition, told of like them.
CANARY_PREFIX = "_quicksilver/canary/"


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One `(dataset, dt)`: the unit that is built."""

    dataset: str
    dt: date

    def __str__(self) -> str:
        return f"{self.dataset}/{self.dt.isoformat()}"


@dataclass(frozen=True, slots=True)
class Match:
    """A key that was understood."""

    partition: Partition
    file: str


def match_key(datasets: Datasets, bucket: str, key: str) -> Match | str:
    """The partition that a key belongs to, or why it belongs to none.

    Returns:
        A `Match`, or one of `canary`, `unknown-bucket`, `outside-datasets`, `bad-date`,
        `other-file`.
    """
    if key.startswith(CANARY_PREFIX):
        return "canary"
    reason = "unknown-bucket"
    for dataset in datasets.datasets:
        if dataset.bucket != bucket:
            continue
        if reason == "unknown-bucket":
            reason = "outside-datasets"
        found = dataset.pattern.fullmatch(key)
        if found is None:
            continue
        try:
            dt = date.fromisoformat(found["dt"])
        except ValueError:
            reason = "bad-date"
            continue
        if not dataset.holds(found["file"]):
            reason = "other-file"
            continue
        return Match(Partition(dataset.name, dt), found["file"])
    return reason


def folder(dataset: Dataset, dt: date) -> str:
    """The key prefix, with its closing slash, of a partition's files."""
    return dataset.key.removesuffix("{file}").replace("{dt}", dt.isoformat())
