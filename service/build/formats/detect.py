"""What a file is by its name: format and compression. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """The formats that are read."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    AVRO = "avro"
    ORC = "orc"


class Compression(StrEnum):
    """How the whole file is compressed, around its format."""

    GZIP = "gzip"
    ZSTD = "zstd"
    SNAPPY = "snappy"


_SUFFIXES = {
    "parquet": Format.PARQUET,
    "parq": Format.PARQUET,
    "pq": Format.PARQUET,
    "csv": Format.CSV,
    "tsv": Format.CSV,
    "txt": Format.CSV,
    "json": Format.JSON,
    "jsonl": Format.JSON,
    "ndjson": Format.JSON,
    "avro": Format.AVRO,
    "orc": Format.ORC,
}
_COMPRESSED = {
    "gz": Compression.GZIP,
    "gzip": Compression.GZIP,
    "zst": Compression.ZSTD,
    "zstd": Compression.ZSTD,
    "snappy": Compression.SNAPPY,
    "sz": Compression.SNAPPY,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a file is: `suffix` without its compression, in lower case."""

    format: Format
    compression: Compression | None
    suffix: str


def detect(key: str, declared: str | None) -> Shape:
    """What a key's name says; `declared` is the dataset's `format:`, which has the last word.

    A name that says nothing is taken for parquet, which says of itself when it is something else.
    """
    parts = key.rpartition("/")[2].lower().split(".")[1:]
    compression = _COMPRESSED.get(parts[-1]) if parts else None
    if compression is not None:
        parts = parts[:-1]
    suffix = parts[-1] if parts else ""
    found = Format(declared) if declared else _SUFFIXES.get(suffix, Format.PARQUET)
    return Shape(found, compression, suffix)
