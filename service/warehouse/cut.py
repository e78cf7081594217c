"""How a dataset's tables are cut into partitions: the column that tells them apart. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition

KeyValue: TypeAlias = date | str


@dataclass(frozen=True, slots=True)
class Cut:
    """The column by which a table is list-partitioned, and its SQL type."""

    column: str
    sql_type: str

    @property
    def columns(self) -> dict[str, str]:
        """The columns that bronze has before a file's own, and their SQL types."""
        return {self.column: self.sql_type} | {"dt": "date"}

    def value(self, partition: Partition) -> KeyValue:
        """What the column holds in every row of the partition."""
        return partition.dt if self is BY_DATE else partition.name

    def tag(self, partition: Partition) -> str:
        """The partition in the name of a table: short, and of letters that need no quotes."""
        if self is BY_DATE:
            return f"{partition.dt:%Y%m%d}"
        # A name has any length and any letters; 56 bits tell a hundred thousand of them apart.
        return "k" + hashlib.sha256(partition.name.encode()).hexdigest()[:14]


BY_DATE = Cut("dt", "date")
BY_NAME = Cut("partition_name", "text")

_DATE_GRAINS = ("year", "month", "day")


def cut_of(dataset: Dataset) -> Cut:
    """By `dt`, where a day (or month, or year) is one partition; else by the partition's name."""
    pattern = dataset.pattern
    is_date = dataset.each == "partition" and pattern.grain in _DATE_GRAINS
    return BY_DATE if is_date and not pattern.dimensions else BY_NAME
