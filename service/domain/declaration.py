"""What a declaration may say of a dataset and of a gate. Pure."""

from __future__ import annotations

import codecs
import fnmatch
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from quicksilver.domain.durations import Duration
from quicksilver.domain.keys import GRAINS, KeyPattern, parse_pattern

# Files that no dataset holds at any depth: what writers leave behind or have not finished, and the
# copies that a file manager makes.
_NEVER_DATA = re.compile(
    r".*(\.(tmp|crc|inprogress|partial|filepart|_COPYING_)|_?\$folder\$| copy( \d+)?(\.[^/]*)?)",
    re.DOTALL,
)
_COMPRESSED = ("", ".gz", ".zst", ".snappy")
_FORMATS: dict[str, tuple[str, ...]] = {
    "parquet": ("*.parquet",),
    "csv": tuple(f"*.csv{end}" for end in _COMPRESSED),
    "json": tuple(f"*.{kind}{end}" for kind in ("json", "jsonl", "ndjson") for end in _COMPRESSED),
    "avro": ("*.avro",),
    "orc": ("*.orc",),
}
# Simple kinds of a column; `decimal(p,s)` beside them.
KINDS = (
    *("integer", "number", "text", "timestamp", "timestamptz", "date", "time"),
    *("boolean", "uuid", "json", "binary"),
)
_DECIMAL = re.compile(r"decimal\((\d{1,4}),\s*(\d{1,4})\)", re.ASCII)


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


# Columns that every table of Postgres has already, and bronze's own.
_TAKEN = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", "dt", "partition_name")
_NAME_BYTES = 63


Globs = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Deployment = Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]


# Fields of every build; the fields of the dataset's key are added.
OF_A_BUILD = ("dataset", "partition", "generation", "attempt", "bucket", "prefix", "files")
# Further fields where each object is its own partition.
OF_AN_OBJECT = ("key", "etag", "size", "version_id")
FIELD = re.compile(r"{([a-z_][a-z0-9_]*)}", re.ASCII)


def named_fields(template: Any) -> Iterator[str]:
    """The fields that a template names, at any depth."""
    if isinstance(template, str):
        yield from FIELD.findall(template)
    elif isinstance(template, Mapping):
        for value in cast("Mapping[str, Any]", template).values():
            yield from named_fields(value)
    elif isinstance(template, list | tuple):
        for value in cast("list[Any]", template):
            yield from named_fields(value)


class Strict(BaseModel):
    """A declaration that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class ReadinessRule(Strict):
    """When a dirty partition may be built. All rules given must hold; `max_wait` ends the wait."""

    any_file: bool = True
    quiet: Duration | None = None
    marker: str | None = Field(default=None, min_length=1, pattern=r"^[^/{}*]+$")
    min_files: int | None = Field(default=None, ge=1, le=1_000_000)
    max_wait: Duration | None = None


class ColumnRule(Strict):
    """One column of a dataset's files, under the name that bronze gives it."""

    kind: str
    required: bool = False
    former: tuple[str, ...] = ()

    @field_validator("kind")
    @classmethod
    def _known(cls, value: str) -> str:
        found = _DECIMAL.fullmatch(value)
        if found is not None:
            precision, scale = int(found[1]), int(found[2])
            if not (1 <= precision <= 1000 and scale <= precision):
                raise ValueError(f"{value}: precision is 1 to 1000, scale at most the precision")
            return f"decimal({precision},{scale})"
        if value not in KINDS:
            raise ValueError(f"{value!r} is not a kind: {', '.join(KINDS)} or decimal(p,s)")
        return value


class CsvRule(Strict):
    """How a dataset's CSV files are written."""

    # None: a tab where the suffix is `.tsv`, else a comma.
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)
    escape: str | None = Field(default=None, min_length=1, max_length=1)
    # Without one, the declared columns are the file's, in their order.
    header: bool = True
    # What means null where it is not quoted.
    null: tuple[str, ...] = ("",)
    encoding: str = "utf-8"

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError:
            raise ValueError(f"{value!r} is not an encoding: utf-8, latin-1, cp1252") from None
        return value


class DbtRule(Strict):
    """The user's own dbt project, and how it builds a partition of the dataset."""

    project: str
    profiles_dir: str | None = None
    target: str | None = None
    select: str = ""
    vars: dict[str, Any] = {}
    command: Literal["build", "run", "test", "snapshot", "seed"] = "build"
    # Runs of the project at a time: views swap, so one by default.
    max_running: int = Field(default=1, ge=1, le=1000)


class Dataset(Strict):
    """One declared stream of bronze partitions."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=200)
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    key: str
    # What counts as data; without either, parquet for our flow and any file for other flows.
    files: Globs = ()
    # The format of every file, whatever its suffix; `files`, if given, still selects them.
    format: Literal["parquet", "csv", "json", "avro", "orc"] | None = None
    csv: CsvRule = CsvRule()
    # What is a partition: all files of a time and its dimensions, or each object by itself.
    each: Literal["partition", "object"] = "partition"
    deployment: Deployment
    # The deployment's parameters, each a value or a template of fields: `{dt}`, `{files}`.
    parameters: dict[str, Any] | None = None
    # How a build is known to be over; None: `ledger` for our own flow, `run` for any other.
    ends: Literal["ledger", "run"] | None = None
    job_variables: dict[str, Any] = {}
    work_queue: str | None = None
    tags: tuple[str, ...] = ()
    # Deployments that are fired once for each generation that is built.
    then: tuple[Deployment, ...] = ()
    dbt: DbtRule | None = None
    bronze_table: str = Field(default="", pattern=r"^([a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*)?$")
    columns: dict[str, ColumnRule] = {}
    on_bad_file: Literal["fail", "skip"] = "fail"
    bad_text: Literal["refuse", "replace"] = "refuse"
    select: str = ""
    ready: ReadinessRule = ReadinessRule()
    skip_unchanged: bool = True
    # What happens to silver when bronze no longer holds an object of a partition.
    when_gone: Literal["keep", "remove"] = "keep"
    max_running: int | None = Field(default=None, ge=1, le=10_000)
    # How many partitions one run may take when a backlog waits; 1: each has a run of its own.
    max_partitions_per_run: int = Field(default=25, ge=1, le=200)
    attempts: int = Field(default=5, ge=1, le=100)
    time_limit: Duration = Field(default=timedelta(minutes=30), gt=timedelta(0))
    # How long a dirty partition may wait before an alert is raised.
    overdue: Duration = timedelta(hours=1)
    # How long nothing new may land before an alert is raised; never by default.
    fresh_within: Duration | None = None
    newest_first: bool = False
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)

    @field_validator("key")
    @classmethod
    def _pattern(cls, value: str) -> str:
        parse_pattern(value)
        return value

    @field_validator("columns")
    @classmethod
    def _names(cls, value: dict[str, ColumnRule]) -> dict[str, ColumnRule]:
        for name in value:
            if name in _TAKEN:
                raise ValueError(
                    f"{name!r} is a column of every bronze table already: declare another name,"
                    f" with `former: [{name}]`"
                )
            if not name.strip() or "\0" in name or len(name.encode()) > _NAME_BYTES:
                raise ValueError(
                    f"{name!r} cannot be a column's name: 1 to {_NAME_BYTES} bytes; what the file"
                    " calls it goes into `former`"
                )
        return value

    @field_validator("files")
    @classmethod
    def _globs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for glob in value:
            if not glob or "/" in glob:
                raise ValueError(f"{glob!r} is not a file's name: globs are of the last segment")
        return value

    @model_validator(mode="after")
    def _together(self) -> Dataset:
        if self.each == "object" and self.ready != ReadinessRule():
            raise ValueError("ready: an object is a partition of its own, and ready when it lands")
        return self

    @cached_property
    def pattern(self) -> KeyPattern:
        """What the key pattern means."""
        return parse_pattern(self.key)

    @property
    def prefix(self) -> str:
        """The literal start of every key of the dataset: what the notification filters on."""
        return self.pattern.prefix

    @cached_property
    def globs(self) -> tuple[str, ...]:
        """What a data file's name looks like."""
        if self.files:
            return self.files
        if self.format:
            return _FORMATS[self.format]
        return ("*.parquet",) if self.is_ours and self.pattern.tail else ("*",)

    @cached_property
    def suffixes(self) -> tuple[str, ...]:
        """The literal ends of data files' keys, for the notification filter; ("",) for any."""
        if self.pattern.suffix:
            return (self.pattern.suffix,)
        found = tuple(dict.fromkeys(re.split(r"[*?\]]", glob)[-1] for glob in self.globs))
        return ("",) if "" in found else found

    @cached_property
    def ends_by(self) -> Literal["ledger", "run"]:
        """How a build is known to be over."""
        if self.ends is not None:
            return self.ends
        return "ledger" if self.deployment.startswith("silver-build/") else "run"

    @cached_property
    def is_ours(self) -> bool:
        """Whether our own flow builds it, `silver-build` or one around it: into our warehouse."""
        is_named_so = self.deployment.startswith("silver-build/")
        return self.ends_by == "ledger" and (is_named_so or bool(self.bronze_table))

    @cached_property
    def is_keyed_by_dt(self) -> bool:
        """Whether `dt`, a date, names a partition: days, months or years without dimensions."""
        grain = self.pattern.grain
        return (
            self.each == "partition"
            and grain is not None
            and GRAINS.index(grain) <= GRAINS.index("day")
            and not self.pattern.dimensions
        )

    @cached_property
    def known_fields(self) -> frozenset[str]:
        """The fields that templates of the dataset may name."""
        of_key = {name.partition(":")[0] for name in re.findall(r"{([^{}]*)}", self.key)}
        timed = {"dt"} if self.pattern.grain else set[str]()
        own = OF_AN_OBJECT if self.each == "object" else ()
        return frozenset({*OF_A_BUILD, *of_key, *timed, *own} - {"file", "path"})

    def unknown_fields(self, template: Any) -> list[str]:
        """Unknown fields that a template names, sorted."""
        return sorted(set(named_fields(template)) - self.known_fields)

    def is_marker(self, rest: str) -> bool:
        """Whether a file of a partition is its marker."""
        return self.ready.marker is not None and rest.rpartition("/")[2] == self.ready.marker

    def holds(self, rest: str) -> bool:
        """Whether a file of a partition is data or the marker, by what its key has behind the
        partition: hidden, temporary and unfinished files are neither, at any depth."""
        if self.is_marker(rest):
            return True
        folders = rest.split("/")
        if any(folder.startswith(("_", ".")) for folder in folders):
            return False
        name = folders[-1]
        if _NEVER_DATA.fullmatch(name):
            return False
        return any(fnmatch.fnmatchcase(name, glob) for glob in self.globs)


class Gate(Strict):
    """A set of partitions that fires a deployment when all of them are built.

    `each: year` waits for the twelve months of a year of every dataset named, and fires with the
    parameter `year`; `month`, `day` and `hour` wait for the partitions that landed of each such
    span; `partition` (or `dt`) waits for the same name in every dataset, and fires with `dt`.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=200)
    datasets: tuple[str, ...] = Field(min_length=1)
    each: Literal["year", "month", "day", "hour", "partition", "dt"]
    deployment: Deployment
