"""What a bucket must notify, on any store: one rule for each lane, prefix and suffix."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quicksilver.domain import lanes
from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.partition import CANARY_PREFIX

# Deletes and tags are notified too: the ledger says why they fire nothing.
_EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")


@dataclass(frozen=True, slots=True)
class Rule:
    """Notify a lane of these events for keys with this prefix and suffix; empty ones match all."""

    name: str
    lane: str
    events: tuple[str, ...]
    prefix: str
    suffix: str = ""


def rules_of(
    datasets: Datasets, bucket: str, told: Iterable[str] = lanes.WEBHOOK_LANES
) -> list[Rule]:
    """The rules that a bucket should have for the lanes `told`."""
    ways = tuple(told)
    rules = [
        Rule(f"quicksilver-{lane}-{name}{suffix}", lane, _EVENTS, prefix, suffix)
        for prefix, suffix, name in _filters(datasets, bucket)
        for lane in ways
    ]
    canary = (_EVENTS[0],)
    return rules + [
        Rule(f"quicksilver-{lane}-canary", lane, canary, CANARY_PREFIX) for lane in ways
    ]


def buckets_of(datasets: Datasets) -> list[str]:
    """The buckets that datasets name, each once, as they are declared."""
    return list(dict.fromkeys(dataset.bucket for dataset in datasets.datasets))


def notification(
    datasets: Datasets, bucket: str, arns: Mapping[str, str], kind: str
) -> dict[str, Any]:
    """A bucket's whole notification configuration, as `aws s3api` takes it.

    `arns` are the targets by lane, `kind` is what they are: `Queue` or `Topic`.
    """
    rules = rules_of(datasets, bucket, arns)
    return {
        f"{kind}Configurations": [
            {
                "Id": rule.name,
                f"{kind}Arn": arns[rule.lane],
                "Events": list(rule.events),
                "Filter": {
                    "Key": {
                        "FilterRules": [
                            {"Name": name, "Value": value}
                            for name, value in (("prefix", rule.prefix), ("suffix", rule.suffix))
                            if value
                        ]
                    }
                },
            }
            for rule in rules
        ]
    }


def _filters(datasets: Datasets, bucket: str) -> list[tuple[str, str, str]]:
    """Prefix, suffix and the dataset's name of each rule that is needed: none that another covers,
    since a store refuses rules that overlap, or notifies twice."""
    wanted = [
        (dataset.prefix, suffix, dataset.name)
        for dataset in datasets.datasets
        if dataset.bucket == bucket
        for suffix in _suffixes(dataset)
    ]
    kept: list[tuple[str, str, str]] = []
    for prefix, suffix, name in sorted(wanted, key=lambda one: (len(one[0]), len(one[1]))):
        if not any(prefix.startswith(p) and suffix.endswith(s) for p, s, _ in kept):
            kept.append((prefix, suffix, name))
    return kept


def _suffixes(dataset: Dataset) -> list[str]:
    suffixes = list(dataset.suffixes)
    marker = dataset.ready.marker
    if marker and not any(marker.endswith(suffix) for suffix in suffixes):
        suffixes.append(marker)
    return suffixes
