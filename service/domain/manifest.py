"""The files of a partition's generation: what a build reads, exactly."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class ManifestFile:
    """One object as it was listed: size in bytes, etag without quotes."""

    key: str
    etag: str
    version_id: str | None
    size: int

    def to_json(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return {
            "key": self.key,
            "etag": self.etag,
            "version": self.version_id,
            "size": self.size,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "ManifestFile":
        """Back from the ledger."""
        return cls(row["key"], row["etag"], row.get("version"), int(row["size"]))


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One row of a bronze listing."""

    key: str
    etag: str
    size: int
    last_modified: datetime


def same_content(first: Iterable[ManifestFile], second: Iterable[ManifestFile]) -> bool:
    """Whether two manifests name the same files with the same content."""
    return {(f.key, f.etag) for f in first} == {(f.key, f.etag) for f in second}
