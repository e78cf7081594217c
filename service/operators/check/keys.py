"""`quicksilver check KEY`: which partition an object of that key would be in, or why none."""

from dataclasses import dataclass

from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.location import split_location
from quicksilver.domain.partition import CANARY_PREFIX, Match, match

_WHY = {
    "outside-datasets": "it does not begin with {prefix}",
    "no-partition": "it lies where the dataset's keys do, and does not fit {key}",
    "bad-date": "it fits {key}, but for a date that no calendar has",
    "other-file": "its file is not data: files are {globs}, and hidden, temporary or unfinished"
    " ones never are",
}


@dataclass(frozen=True, slots=True)
class KeyFinding:
    """What a key is to one dataset: a partition, or none and the reason why."""

    dataset: str
    partition: str | None
    reason: str
    why: str


def explain_key(datasets: Datasets, location: str) -> list[KeyFinding]:
    """What a key is to each dataset, partitions first; `s3://bucket/key` asks its bucket's alone.

    Empty where no dataset is declared for the bucket.
    """
    bucket, key = split_location(location)
    findings = [
        _of(dataset, key)
        for dataset in datasets.datasets
        if bucket is None or dataset.bucket == bucket
    ]
    return sorted(findings, key=lambda finding: finding.partition is None)


def _of(dataset: Dataset, key: str) -> KeyFinding:
    if key.startswith(CANARY_PREFIX):
        return KeyFinding(dataset.name, None, "canary", "it is one of the service's own heartbeats")
    found = match(dataset, key)
    if isinstance(found, Match):
        name = found.partition.name
        is_marker = dataset.is_marker(found.file)
        why = "it is the partition's marker" if is_marker else f"fires {dataset.deployment}"
        return KeyFinding(dataset.name, name, "fits", why)
    why = _WHY[found].format(
        prefix=dataset.prefix or "any prefix", key=dataset.key, globs=", ".join(dataset.globs)
    )
    return KeyFinding(dataset.name, None, found, why)
