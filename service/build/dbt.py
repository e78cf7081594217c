"""dbt inside this process: the project parsed once per version of its files, then only run.

One invocation at a time and process: dbt keeps its adapter in a global.
"""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import conninfo_to_dict

from quicksilver.build import dbt_patches as dbt_shortcuts
from quicksilver.support.postgres import conninfo
from quicksilver.errors import ModelError
from quicksilver.settings import PROJECT, Settings, load_settings
from quicksilver.warehouse.connection import SCRATCH_OPTIONS

# dbt itself is imported where it is called: that takes 1.6 s, and who deploys a flow only reads it.
if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

ANALYTICS = PROJECT / "analytics"

# What of the project decides how it parses. Not `target/`, which parsing writes.
_SOURCES = ("dbt_project.yml", "models", "macros", "seeds", "tests")
_PARSED = "partial_parse.msgpack"
# Versions whose parse is kept: about a megabyte each.
_KEPT = 10


@dataclass(frozen=True, slots=True)
class NodeResult:
    """How one model or test ended."""

    unique_id: str
    name: str
    kind: str
    status: str
    seconds: float
    rows: int
    message: str
    compiled: str
    schema: str
    is_published: bool

    @property
    def ok(self) -> bool:
        """Whether it neither failed nor was left out because another one did."""
        return self.status in ("success", "pass", "warn")


def preload() -> None:
    """Import dbt, parse the project and compile it once, so that a fork of this process only runs.

    dbt builds much of itself on first use (JSON schemas, serializers, templates): 0.7 s of a core.
    Opens no connection, leaves no thread and no descriptor.

    Raises:
        ModelError: the project does not parse.
    """
    # Imported by dbt when a build begins.
    importlib.import_module("dbt.task.build")
    _invoke(
        ["compile", "--no-introspect"],
        {"QUICKSILVER_BUILD": "0", "DBT_PG_DBNAME": "warehouse"},
        select="path:models",
        exclude="resource_type:unit_test",
    )


@cache
def seeds_version() -> str:
    """Names the content of the seeds."""
    return _digest("seeds")


@cache
def _version() -> str:
    profiles = hashlib.sha256((_profiles() / "profiles.yml").read_bytes()).hexdigest()
    versions = (metadata.version("dbt-core"), metadata.version("dbt-postgres"))
    return _digest(*_SOURCES, *versions, profiles)


def _profiles() -> Path:
    """The folder of `profiles.yml`.

    Raises:
        SettingsError: a setting is wrong, DBT_PROFILES_DIR among them.
    """
    return load_settings().dbt_profiles_dir


def _digest(*names: str) -> str:
    """Of the files and folders of the project that are called so, and of the names themselves."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0")
        top = ANALYTICS / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file():
                digest.update(path.relative_to(ANALYTICS).as_posix().encode() + b"\0")
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def manifest() -> Manifest:
    """The parsed project, from memory, else from this version's cache, else parsed now.

    Raises:
        ModelError: the project does not parse; dbt's own words.
    """
    return _parsed(_version(), _cache_folders())


@cache
def _parsed(version: str, folders: Sequence[Path]) -> Manifest:
    with _light_locks():
        parsed = _load(version, folders)
    # The one that it came with lies in memory that a fork shares.
    parsed._lock = threading.Lock()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    return parsed


def _load(version: str, folders: Sequence[Path]) -> Manifest:
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    kept = [path for folder in folders if (path := folder / version / _PARSED).exists()]
    if kept:
        parsed = Manifest.from_msgpack(kept[0].read_bytes(), decoder=extended_mashumuro_decoder)
        # What the macros see as `graph`; dbt itself only makes it when it parses.
        parsed.build_flat_graph()
        return parsed
    folder = _writable(folders)
    path = folder / version / _PARSED
    with tempfile.TemporaryDirectory(dir=folder) as target:
        outcome = dbtRunner().invoke(["parse", *_flags(Path(target))])
        if not outcome.success or not isinstance(outcome.result, Manifest):
            raise ModelError(f"the dbt project {ANALYTICS} does not parse: {outcome.exception}")
        path.parent.mkdir(exist_ok=True)
        # Whole or not at all: two processes that parse at once leave the same file twice.
        (Path(target) / _PARSED).replace(path)
    for old in sorted(folder.glob(f"*/{_PARSED}"), key=_age)[_KEPT:]:
        shutil.rmtree(old.parent, ignore_errors=True)
    return outcome.result


def _age(path: Path) -> float:
    with suppress(FileNotFoundError):
        return -path.stat().st_mtime
    return 0.0


def _cache_folders() -> tuple[Path, ...]:
    """With the user's caches, for all stacks of theirs; where that cannot be, beside the state."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = os.environ.get("QUICKSILVER_HOME")
    own = [Path(home).resolve() / "dbt"] if home else []
    return (Path(root) / "quicksilver" / "dbt", *own)


def _writable(folders: Sequence[Path]) -> Path:
    """The first of the folders that can be written.

    Raises:
        OSError: none can.
    """
    for folder in folders[:-1]:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    folders[-1].mkdir(parents=True, exist_ok=True)
    return folders[-1]


def _flags(target: Path) -> list[str]:
    """What every invocation is told: nothing is written, said or sent that nobody reads."""
    return [
        "--project-dir", str(ANALYTICS),
        "--profiles-dir", str(_profiles()),
        "--target-path", str(target),
        "--log-path", str(target),
        "--log-level", "none",
        "--log-level-file", "none",
        "--no-send-anonymous-usage-stats",
        "--no-version-check",
        "--no-use-colors",
        "--quiet",
    ]  # fmt: skip


def run(
    settings: Settings,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    select: str,
    exclude: str = "resource_type:unit_test",
) -> list[NodeResult]:
    """Invoke dbt on the warehouse of the settings, and say how each node ended.

    `environment` holds for this invocation only. An empty list: nothing is selected.

    Raises:
        ModelError: dbt did not get as far as its nodes.
    """
    names = {**warehouse_environment(settings), **environment}
    return [
        _node_result(result) for result in _invoke(command, names, select=select, exclude=exclude)
    ]


def _invoke(
    command: Sequence[str], environment: Mapping[str, str], *, select: str, exclude: str
) -> list[Any]:
    from dbt.cli.main import dbtRunner

    dbt_shortcuts.install()
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    target = Path(tempfile.mkdtemp(prefix="quicksilver-dbt-"))
    try:
        parsed = manifest()
        _aim(parsed, environment["DBT_PG_DBNAME"])
        with _light_locks():
            outcome = dbtRunner(manifest=parsed).invoke(
                [
                    *command, *_flags(target),
                    "--select", *select.split(),
                    "--exclude", *exclude.split(),
                    "--no-write-json",
                    "--no-populate-cache",
                    "--no-print",
                ]
            )  # fmt: skip
    finally:
        shutil.rmtree(target, ignore_errors=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    if outcome.exception is not None:
        if not isinstance(outcome.exception, Exception):
            raise outcome.exception
        raise ModelError(f"dbt: {outcome.exception}") from outcome.exception
    result: Any = outcome.result
    return list(result.results)


@contextmanager
def _light_locks() -> Generator[None]:
    """Give dbt, which locks among its threads only, locks of this process only.

    It asks for those of a spawned process, which it never spawns: each is a named semaphore, the
    first one starts a process that watches over them, and after a fork all builds would share it.
    """
    spawn: Any = multiprocessing.get_context("spawn")
    own = {"Lock": threading.Lock, "RLock": threading.RLock, "get_context": _without_names}
    for name, replacement in own.items():
        setattr(spawn, name, replacement)
    try:
        yield
    finally:
        for name in own:
            delattr(spawn, name)


def _without_names(method: str | None = None) -> Any:
    """The context of the locks that dbt's classes make by a method taken when they were defined."""
    return multiprocessing.get_context(method or "fork")


def warehouse_environment(settings: Settings) -> dict[str, str]:
    """What `profiles.yml` reads, from the warehouse's URL.

    Raises:
        SettingsError: no warehouse is configured.
    """
    settings.require("warehouse_url")
    parts = conninfo_to_dict(conninfo(settings.warehouse_url.get_secret_value(), SCRATCH_OPTIONS))
    user = str(parts.get("user") or os.environ.get("PGUSER") or "postgres")
    found = {
        # dbt's profile has no place for settings of the session; libpq reads them here.
        "PGOPTIONS": str(parts["options"]),
        "DBT_PG_HOST": str(parts.get("host") or "localhost"),
        "DBT_PG_PORT": str(parts.get("port") or 5432),
        "DBT_PG_USER": user,
        "DBT_PG_DBNAME": str(parts.get("dbname") or user),
        "DBT_PG_PASSWORD": str(
            parts.get("password") or settings.dbt_pg_password.get_secret_value()
        ),
    }
    if parts.get("sslmode"):
        found["DBT_PG_SSLMODE"] = str(parts["sslmode"])
    return found


def _aim(parsed: Manifest, database: str) -> None:
    """Point a parsed project at a database, whichever it was parsed for; forget the last run."""
    nodes: list[Any] = [*parsed.nodes.values(), *parsed.sources.values()]
    for node in nodes:
        if node.relation_name:
            node.relation_name = node.relation_name.replace(
                f'"{node.database}".', f'"{database}".', 1
            )
        node.database = database
        if getattr(node, "compiled", False):
            # An ephemeral model keeps its SQL, and with it the scratch tables of the last build.
            node.compiled = False
            node.compiled_code = None
            node.extra_ctes_injected = False
            node.extra_ctes = []


def is_published(node: Any) -> bool:
    """Whether a node of the project is a model whose table Quicksilver publishes."""
    # A unit test that could not run comes without one.
    kind = getattr(node.config, "materialized", None)
    return kind == "partition" and node.config.meta.get("published", True)


def scratch_names() -> list[str]:
    """The models of the project that a build makes scratch tables of, published or not."""
    nodes: list[Any] = list(manifest().nodes.values())
    return [node.alias for node in nodes if node.config.materialized == "partition"]


def _node_result(result: Any) -> NodeResult:
    node = result.node
    rows = result.adapter_response.get("rows_affected") if result.adapter_response else None
    return NodeResult(
        unique_id=node.unique_id,
        name=node.name,
        kind=str(node.resource_type),
        status=str(result.status),
        seconds=round(result.execution_time, 4),
        rows=int(result.failures or 0) if node.resource_type == "test" else int(rows or 0),
        message=str(result.message or ""),
        compiled=getattr(node, "compiled_code", None) or "",
        schema=node.schema,
        is_published=is_published(node),
    )
