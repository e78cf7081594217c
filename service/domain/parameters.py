"""What a fired run is given: templates of a declaration, filled with what is known of a build."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.declaration import FIELD
from quicksilver.domain.manifest import ManifestFile
from quicksilver.domain.partition import Partition, fields, prefixes

# Default parameters of a flow that reports to the ledger; `dt` is the partition's name.
OF_OUR_FLOW = {"dataset": "{dataset}", "dt": "{partition}", "generation": "{generation}"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The build that a run is asked for; `files` are what it is to read."""

    partition: Partition
    generation: int
    attempt: int
    files: tuple[ManifestFile, ...] = ()


def values(dataset: Dataset, asked: Asked) -> dict[str, Any]:
    """Every field of a build: text, but for numbers (`generation`, `attempt`, `size`) and the list
    `files`, the manifest's keys."""
    partition = asked.partition
    found: dict[str, Any] = {
        **fields(dataset, partition),
        "dataset": dataset.name,
        "partition": partition.name,
        "generation": asked.generation,
        "attempt": asked.attempt,
        "bucket": dataset.bucket,
        "prefix": prefixes(dataset, partition.name)[0],
        "files": [file.key for file in asked.files],
    }
    if dataset.each == "object" and asked.files:
        (one, *_) = asked.files
        found |= {"key": one.key, "etag": one.etag, "size": one.size}
        found["version_id"] = one.version_id
    return found


def fill(template: Any, known: Mapping[str, Any]) -> Any:
    """A template with its fields filled in; a text that is one field alone keeps its type."""
    if isinstance(template, str):
        alone = FIELD.fullmatch(template)
        if alone is not None and alone[1] in known:
            return known[alone[1]]
        return FIELD.sub(lambda m: str(known[m[1]]) if m[1] in known else m[0], template)
    if isinstance(template, Mapping):
        items = cast("Mapping[str, Any]", template).items()
        return {name: fill(value, known) for name, value in items}
    if isinstance(template, list | tuple):
        return [fill(value, known) for value in cast("list[Any]", template)]
    return template


def parameters_of(
    dataset: Dataset, asked: Asked, taken: Collection[str] | None = None
) -> dict[str, Any]:
    """The parameters of a run for this build.

    The dataset's own templates. Without them: what our flow takes or, for another flow, the fields
    among the parameters that it takes (`taken`; None: unknown, so no parameters).
    """
    known = values(dataset, asked)
    if dataset.parameters is not None:
        return fill(dataset.parameters, known)
    if dataset.is_ours:
        return fill(OF_OUR_FLOW, known)
    return {name: value for name, value in known.items() if name in (taken or ())}
