"""The dbt project: parsed once per version of its files, kept, and read from there."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence, Set
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quicksilver.build.dbt_files import digest_of
from quicksilver.build.dbt_invocation import DbtProject, writable
from quicksilver.build.dbt_patches import light_locks
from quicksilver.settings import load_settings
from quicksilver.support.project import project_folder

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


def analytics() -> Path:
    """The folder of the project's dbt project."""
    return project_folder() / "analytics"


# What of the project decides how it parses. Not `target/`, which parsing writes.
_SOURCES = (
    "dbt_project.yml",
    "models",
    "macros",
    "seeds",
    "tests",
    "snapshots",
    "package",
    "dbt_packages",
)


@cache
def seeds_version() -> str:
    """Names the content of the seeds."""
    return digest_of(analytics(), ["seeds"])


@cache
def _version() -> str:
    profiles = digest_of(_profiles(), ["profiles.yml"])
    versions = (metadata.version("dbt-core"), metadata.version("dbt-postgres"))
    return digest_of(analytics(), _SOURCES, profiles, *versions)


def _profiles() -> Path:
    """The folder of `profiles.yml`.

    Raises:
        SettingsError: a setting is wrong, DBT_PROFILES_DIR among them.
    """
    return load_settings().dbt_profiles_dir


def dbt_project() -> DbtProject:
    """The project as dbt is invoked on it.

    Raises:
        SettingsError: as `_profiles`.
    """
    # What dbt has to say, a build says from its results.
    return DbtProject(analytics(), _profiles(), ("--log-level", "none"))


def manifest() -> Manifest:
    """The parsed project, from memory, else from this version's cache, else parsed now.

    Raises:
        ModelError: the project does not parse; dbt's own words.
    """
    return _parsed(_version(), _cache_folders())


@cache
def _parsed(version: str, folders: Sequence[Path]) -> Manifest:
    with light_locks():
        parsed = dbt_project().kept_or_parsed(version, folders)
    # What a kept one has not: who reads whom.
    parsed.build_parent_and_child_maps()
    # The one that it came with lies in memory that a fork shares.
    parsed._lock = threading.Lock()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    return parsed


def _cache_folders() -> tuple[Path, ...]:
    """With the user's caches, for all stacks of theirs; where that cannot be, beside the state."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = os.environ.get("QUICKSILVER_HOME")
    own = [Path(home).resolve() / "dbt"] if home else []
    return (Path(root) / "quicksilver" / "dbt", *own)


def cache_folder() -> Path:
    """Where parsed projects are kept.

    Raises:
        OSError: no folder can be written.
    """
    return writable(_cache_folders())


def is_published(node: Any) -> bool:
    """Whether a node of the project is a model whose table Quicksilver publishes."""
    # A unit test that could not run comes without one.
    kind = getattr(node.config, "materialized", None)
    return kind == "partition" and node.config.meta.get("published", True)


def downstream(bronze_table: str) -> list[Any]:
    """The project's models that read a bronze table, however far below it."""
    parsed: Any = manifest()
    known = {
        source.unique_id
        for source in parsed.sources.values()
        if f"{source.schema}.{source.identifier}" == bronze_table
    }
    return [parsed.nodes[name] for name in _reached(parsed.child_map, known, "model.")]


def seeds_above(models: Sequence[Any]) -> list[Any]:
    """The seeds that models read, however far above them."""
    parsed: Any = manifest()
    known = {model.unique_id for model in models}
    return [parsed.nodes[name] for name in _reached(parsed.parent_map, known, "seed.")]


def tables_above(models: Set[str]) -> set[tuple[str, str]]:
    """Schema and name of every table that models (by their unique ids) read, but their own."""
    parsed: Any = manifest()
    above = _reached(parsed.parent_map, set(models), "")
    nodes = [parsed.nodes.get(name) or parsed.sources.get(name) for name in above]
    return {
        (node.schema, node.identifier if node.resource_type == "source" else node.alias)
        for node in nodes
        if node is not None and (node.resource_type == "source" or is_published(node))
    }


# What builds run beside the macros that models and tests name.
_MATERIALIZATIONS = ("materialization_partition_postgres", "materialization_test_default")


def macros_of_builds() -> list[Any]:
    """Every macro that building the project's models and tests can reach."""
    parsed: Any = manifest()
    edges = {name: macro.depends_on.macros for name, macro in parsed.macros.items()}
    start = {name for name in edges if name.rpartition(".")[2] in _MATERIALIZATIONS}
    start |= {name for node in parsed.nodes.values() for name in node.depends_on.macros}
    names = [*start, *_reached(edges, start, "macro.")]
    return [parsed.macros[name] for name in names if name in parsed.macros]


def _reached(edges: Mapping[str, Sequence[str]], start: set[str], kind: str) -> list[str]:
    """What edges lead to from some nodes, themselves left out, that is of a kind; sorted."""
    seen, left = set(start), list(start)
    while left:
        new = set(edges.get(left.pop(), ())) - seen
        seen |= new
        left += new
    return sorted(name for name in seen - start if name.startswith(kind))


def seeds() -> list[Any]:
    """All seeds of the project."""
    return [node for node in manifest().nodes.values() if node.resource_type == "seed"]


def scratch_names() -> list[str]:
    """The models of the project that a build makes scratch tables of, published or not."""
    nodes: list[Any] = list(manifest().nodes.values())
    return [node.alias for node in nodes if node.config.materialized == "partition"]
