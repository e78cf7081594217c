"""`datasets.yaml`: which keys are bronze partitions, when one is ready, what builds it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from quicksilver.domain.declaration import ColumnRule, Dataset, DbtRule, Gate, ReadinessRule, Strict
from quicksilver.errors import DatasetsError, UnknownDatasetError

__all__ = ["ColumnRule", "Dataset", "Datasets", "DbtRule", "Gate", "ReadinessRule", "load_datasets"]


_Model = TypeVar("_Model", bound=Strict)


class Datasets(Strict):
    """All declared datasets, in the file's order."""

    datasets: tuple[Dataset, ...]
    path: Path
    gates: tuple[Gate, ...] = ()
    lines: dict[str, int] = Field(default={})

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
            UnknownDatasetError: when it is not declared; the message lists those that are.
        """
        try:
            return self.by_name[name]
        except KeyError:
            known = ", ".join(self.by_name) or "none"
            raise UnknownDatasetError(
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
    _refuse_shared_tables(declared, path, tree)
    _refuse_unknown_fields(declared, path, tree)
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


def _refuse_shared_tables(declared: list[Dataset], path: Path, tree: Any) -> None:
    """Two datasets that publish into one table would replace each other's rows."""
    owners: dict[str, str] = {}
    for dataset in declared:
        if not dataset.bronze_table:
            continue
        owner = owners.setdefault(dataset.bronze_table, dataset.name)
        if owner != dataset.name:
            line = _line(tree, ("datasets", dataset.name, "bronze_table"))
            raise DatasetsError(
                f"{path}:{line}: {dataset.name}: bronze_table: {dataset.bronze_table} is the table"
                f" of {owner}: each would replace the other's rows; give each a table of its own,"
                " or declare one dataset whose key has a dimension, e.g. region={region}"
            )


def _refuse_unknown_fields(declared: list[Dataset], path: Path, tree: Any) -> None:
    for dataset in declared:
        templates = {"parameters": dataset.parameters, "job_variables": dataset.job_variables}
        if dataset.dbt is not None:
            templates["dbt"] = dataset.dbt.vars
        for field, template in templates.items():
            if unknown := dataset.unknown_fields(template):
                line = _line(tree, ("datasets", dataset.name, field))
                names = ", ".join(f"{{{name}}}" for name in unknown)
                known = ", ".join(f"{{{name}}}" for name in sorted(dataset.known_fields))
                raise DatasetsError(
                    f"{path}:{line}: {dataset.name}: {field}: {names} is not known here (known:"
                    f" {known})"
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
