"""The partition that a person means."""

from quicksilver.domain.datasets import Datasets
from quicksilver.domain.partition import Partition


def meant(datasets: Datasets, dataset: str, name: str) -> Partition:
    """The partition of that name; a month of a dataset of days is that of its first day.

    A dataset that is no longer declared has its partitions by their whole names.
    """
    declared = datasets.by_name.get(dataset)
    if declared is not None and declared.each == "partition":
        for rest in ("", "-01", "-01-01"):
            if declared.pattern.fields_of(name + rest) is not None:
                return Partition(dataset, name + rest)
    return Partition(dataset, name)
