"""`datasets.yaml`: which keys are bronze partitions, when one is ready, what builds it."""

from __future__ import annotations

import fnmatch
import re
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from quicksilver.errors import DatasetsError

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=3650)


def parse_duration(value: object) -> object:
    """`30s`, `5m`, `1h30m`, `250ms`, `2d` or a number of seconds, as a timedelta.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no duration: write 30s, 5m, 1h30m or 2d")  # noqa: TRY004
    if not isinstance(value, int | float | str):
        return value
    if isinstance(value, int | float):
        return _span(value, value)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", value, re.ASCII)
    if not parts or "".join(number + unit for number, unit in parts) != value.replace(" ", ""):
        raise ValueError(f"{value!r} is no duration: write 30s, 5m, 1h30m or 2d")
    return _span(sum(float(number) * _UNITS[unit] for number, unit in parts), value)


def _span(seconds: float, value: object) -> timedelta:
    try:
        span = timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        span = timedelta.max
    # Beyond, adding it to a date leaves the calendar.
    if not timedelta(0) <= span <= _LONGEST:
        raise ValueError(f"{value!r} is no duration: between 0 s and 3650 d")
    return span


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


_Model = TypeVar("_Model", bound=_Strict)


class ReadinessRule(_Strict):
    """When a dirty partition may be built. All rules given must hold; `max_wait` ends the wait."""

    any_file: bool = True
    quiet: Duration | None = None
    marker: str | None = Field(default=None, min_length=1, pattern=r"^[^/{}*]+$")
    min_files: int | None = Field(default=None, ge=1, le=1_000_000)
    max_wait: Duration | None = None


class ColumnRule(_Strict):
    """One column of a dataset's files, under the name that bronze gives it."""

    kind: Literal["timestamp", "integer", "number", "text", "date", "boolean"]
    required: bool = False
    former: tuple[str, ...] = ()


class Dataset(_Strict):
    """One declared stream of bronze partitions."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=200)
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    key: str
    files: str = "*.parquet"
    deployment: str = Field(pattern=r"^[^/\s]+/[^/\s]+$")
    bronze_table: str = Field(default="", pattern=r"^([a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*)?$")
    columns: dict[str, ColumnRule] = {}
    select: str = ""
    ready: ReadinessRule = ReadinessRule()
    skip_unchanged: bool = True
    # What becomes of silver when bronze holds no object of a partition any more.
    when_gone: Literal["keep", "remove"] = "keep"
    max_running: int | None = Field(default=None, ge=1, le=10_000)
    # How many partitions one run may take when a backlog waits; 1: each has a run of its own.
    max_partitions_per_run: int = Field(default=25, ge=1, le=200)
    attempts: int = Field(default=5, ge=1, le=100)
    time_limit: Duration = Field(default=timedelta(minutes=30), gt=timedelta(0))
    # How long a dirty partition may wait before somebody is told.
    overdue: Duration = timedelta(hours=1)
    # How long nothing new may land before somebody is told; never by default.
    fresh_within: Duration | None = None
    newest_first: bool = False
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)

    @field_validator("key")
    @classmethod
    def _pattern(cls, value: str) -> str:
        fields = re.findall(r"{([^}]*)}", value)
        if fields.count("dt") != 1 or fields.count("file") != 1 or len(fields) != 2:
            raise ValueError("needs {dt} once and {file} once, and no other field")
        if not value.endswith("/{file}"):
            raise ValueError("must end with /{file}: a partition is a folder")
        if value.startswith("/") or "//" in value:
            raise ValueError("has an empty path segment")
        if re.search(r"[{}]", re.sub(r"{(dt|file)}", "", value)):
            raise ValueError("has a brace that closes nothing")
        return value

    @cached_property
    def prefix(self) -> str:
        """The literal start of every key of the dataset: what the notification filters on."""
        return self.key.split("{dt}")[0]

    @cached_property
    def suffix(self) -> str:
        """The literal end of every data file's key, for the notification filter; may be empty."""
        return re.split(r"[*?\]]", self.files)[-1]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """A key of this dataset, groups `dt` and `file`."""
        before, after = self.key.removesuffix("{file}").split("{dt}")
        return re.compile(
            re.escape(before)
            + r"(?P<dt>\d{4}-\d{2}-\d{2})"
            + re.escape(after)
            + r"(?P<file>[^/]+)",
            re.ASCII | re.DOTALL,
        )

    def holds(self, file: str) -> bool:
        """Whether a file of a partition's folder is data or the marker (`_` and `.` are not)."""
        if file == self.ready.marker:
            return True
        return not file.startswith(("_", ".")) and fnmatch.fnmatchcase(file, self.files)


class Gate(_Strict):
    """A set of partitions that fires a deployment when all of them are built.

    `each: year` waits for the twelve months of a year of every dataset named, and fires with the
    parameter `year`; `each: dt` waits for the same dt of every dataset, and fires with `dt`.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=200)
    datasets: tuple[str, ...] = Field(min_length=1)
    each: Literal["year", "dt"]
    deployment: str = Field(pattern=r"^[^/\s]+/[^/\s]+$")


class Datasets(_Strict):
    """All declared datasets, in the file's order."""

    datasets: tuple[Dataset, ...]
    path: Path
    gates: tuple[Gate, ...] = ()
    lines: dict[str, int] = {}

    @cached_property
    def by_name(self) -> dict[str, Dataset]:
        """Datasets by their name."""
        return {dataset.name: dataset for dataset in self.datasets}

    def line_of(self, name: str, field: str) -> int:
        """The line (from 1) of a dataset's field, or of the dataset if the field is left out."""
        return self.lines.get(f"{name}:{field}") or self.lines.get(name) or 1

    def get(self, name: str) -> Dataset:
        """The dataset of that name.

        Raises:
            DatasetsError: when it is not declared; the message lists those that are.
        """
        try:
            return self.by_name[name]
        except KeyError:
            known = ", ".join(self.by_name) or "none"
            raise DatasetsError(
                f"dataset {name!r} is not declared in {self.path} (declared: {known})"
            ) from None


def load_datasets(path: Path) -> Datasets:
    """Read and check `datasets.yaml`.

    Raises:
        DatasetsError: `file:line: reason`, for the first thing that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DatasetsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DatasetsError(f"{path}:{line}: not YAML: not UTF-8") from error
    try:
        tree: Any = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = str(error.problem).partition("\n")[0]
        raise DatasetsError(f"{path}:{line}: not YAML: {problem}") from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DatasetsError(f"{path}:{line}: not YAML: {error.reason}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise DatasetsError(f"{path}:1: not YAML: {type(error).__name__}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("datasets"), dict):
        raise DatasetsError(f"{path}:1: needs a mapping `datasets:` at the top")
    declared: list[Dataset] = []
    gates: list[Gate] = []
    top = cast("dict[str, Any]", tree)
    for field in top:
        if field not in ("datasets", "gates"):
            raise DatasetsError(f"{path}:{_line(tree, (field,))}: unknown field {field!r}")
    declared += [_read(Dataset, path, tree, "datasets", name) for name in top["datasets"]]
    _refuse_overlap(declared, path, tree)
    if not isinstance(top.get("gates", {}), dict):
        raise DatasetsError(f"{path}:{_line(tree, ('gates',))}: needs a mapping `gates:`")
    for name in top.get("gates", {}):
        gate = _read(Gate, path, tree, "gates", name)
        unknown = [d for d in gate.datasets if d not in top["datasets"]]
        if unknown:
            line = _line(tree, ("gates", name, "datasets"))
            raise DatasetsError(
                f"{path}:{line}: {name}: datasets: {', '.join(unknown)} is not declared"
            )
        gates.append(gate)
    lines = {d.name: _line(tree, ("datasets", d.name)) for d in declared}
    for dataset in declared:
        for field in top["datasets"][dataset.name]:
            where = ("datasets", dataset.name, field)
            lines[f"{dataset.name}:{field}"] = _line(tree, where)
    for gate in gates:
        where = ("gates", gate.name, "deployment")
        lines[f"{gate.name}:deployment"] = _line(tree, where)
    return Datasets(datasets=tuple(declared), gates=tuple(gates), path=path, lines=lines)


def _read(model: type[_Model], path: Path, tree: Any, section: str, name: Any) -> _Model:
    """One entry of a section, checked; the error names the line of what is wrong."""
    body: Any = tree[section][name]
    if not isinstance(body, dict):
        raise DatasetsError(
            f"{path}:{_line(tree, (section, name))}: {name}: needs a mapping of fields"
        )
    fields = cast("dict[str, Any]", body)
    if "name" in fields:
        line = _line(tree, (section, name, "name"))
        raise DatasetsError(f"{path}:{line}: {name}: name: unknown field")
    try:
        return model.model_validate({"name": name, **fields})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = (section, name, *first["loc"])
        field = ".".join(map(str, first["loc"]))
        reason = "unknown field" if first["type"] == "extra_forbidden" else first["msg"]
        reason = reason.removeprefix("Value error, ")
        raise DatasetsError(f"{path}:{_line(tree, where)}: {name}: {field}: {reason}") from None


def _refuse_overlap(declared: list[Dataset], path: Path, tree: Any) -> None:
    for position, dataset in enumerate(declared):
        for other in declared[:position]:
            if dataset.bucket == other.bucket and dataset.key == other.key:
                line = _line(tree, ("datasets", dataset.name, "key"))
                raise DatasetsError(
                    f"{path}:{line}: {dataset.name}: key: the same keys as {other.name};"
                    " an object belongs to one dataset"
                )


def _line(tree: Any, where: tuple[Any, ...]) -> int:
    """The line (from 1) of the deepest node on the way that the file really has."""
    line = 1
    node = tree
    for step in where:
        if not isinstance(node, dict) or step not in node:
            break
        line = node.lc.key(step)[0] + 1  # pyright: ignore[reportAttributeAccessIssue]
        node = node[step]
    return line
