"""What dbt finds out anew on every invocation, remembered; what it makes for nobody here, left out.

A run is one process and one invocation of dbt, so whatever dbt does before its first statement is
part of every build's time: together these are a quarter of the time that dbt itself takes
(`bench/README.md`). Each replaces one function of dbt by another that gives the answer it would
give here. `QUICKSILVER_DBT_SHORTCUTS=0` switches all of them off.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import CodeType
from typing import Any

from quicksilver.settings import Settings, load_settings

# A replacement, made from what it replaces.
Make = Callable[[Any], Any]

# The minor versions that every patch below was read against and tested with. Under any other, dbt
# runs as it is.
_CHECKED = {
    "dbt-core": "1.11",
    "dbt-postgres": "1.11",
    "dbt-common": "1.39",
}


@dataclass(frozen=True, slots=True)
class _Patch:
    """One function of dbt, what takes its place, and the distribution that has it."""

    owner: type
    name: str
    make: Make
    distribution: str

    def put(self) -> bool:
        """Put it in place; False: this version was not checked, or has no such function."""
        installed = metadata.version(self.distribution)
        replaced = getattr(self.owner, self.name, None)
        if not installed.startswith(_CHECKED[self.distribution] + ".") or replaced is None:
            return False
        setattr(self.owner, self.name, self.make(replaced))
        return True


def install(settings: Settings) -> list[str]:
    """Put the patches into this process, once; the names of those that this dbt does not take.

    None, where `QUICKSILVER_DBT_SHORTCUTS=0` says so.
    """
    return _install() if settings.dbt_shortcuts else []


@cache
def _install() -> list[str]:
    from dbt.adapters.postgres.connections import PostgresConnectionManager
    from dbt.compilation import Linker
    from dbt.plugins.manager import PluginManager
    from dbt.task.build import BuildTask
    from dbt_common.behavior_flags import BehaviorFlagRendered
    from dbt_common.clients.jinja import MacroFuzzEnvironment
    from dbt_common.events.event_manager import EventManager

    patches = [
        _Patch(PluginManager, "get_prefixed_modules", _found_once, "dbt-core"),
        _Patch(BehaviorFlagRendered, "_default_source", _no_source, "dbt-common"),
        _Patch(Linker, "get_graph_summary", _no_summary, "dbt-core"),
        _Patch(BuildTask, "get_model_schemas", _of_others, "dbt-core"),
        # That of native values is a kind of it.
        _Patch(MacroFuzzEnvironment, "compile", _compiled_once, "dbt-common"),
        _Patch(PostgresConnectionManager, "release", _kept_open, "dbt-postgres"),
        _Patch(EventManager, "fire_event", _told_to_listeners, "dbt-common"),
    ]
    return [f"{patch.owner.__name__}.{patch.name}" for patch in patches if not patch.put()]


def _found_once(find: Callable[[], dict[str, Any]]) -> Any:
    """dbt's plugins, sought in every folder of `sys.path`: 60 ms. None is installed meanwhile."""
    return staticmethod(cache(find))


def _no_source(_: object) -> Any:
    """Which module made a flag, for a message that nobody reads: the whole stack with its source
    lines, six times, 20 ms."""
    return staticmethod(lambda: "dbt")


def _no_summary(_: object) -> Callable[[Any, Any], dict[int, Any]]:
    """The graph as JSON, twice, for a file in a folder that is removed: 20 ms."""
    return lambda _self, _manifest: {}


def _kept_open(release: Callable[[Any], None]) -> Callable[[Any], None]:
    """Connections: closed after each node and opened for the next, 7 ms each, and the new session
    reads the catalog anew. The thread keeps its own; dbt closes them all when it is done."""

    def keep(self: Any) -> None:
        connection = self.get_if_exists()
        if connection is None or connection.state != "open" or connection.handle.closed:
            release(self)
            return
        # As closing would: what was not committed is gone, also what dbt does not know of.
        connection.handle.rollback()
        connection.transaction_open = False

    return keep


def _told_to_listeners(fire: Callable[..., None]) -> Callable[..., None]:
    """Events that no log and no callback hears, each written as a protocol message: 200 a build.

    A warning may be an error by the project's settings, whoever listens.
    """

    def fire_event(
        self: Any,
        e: Any,
        level: Any = None,
        node: Any = None,
        force_warn_or_error_handling: bool = False,
    ) -> None:
        may_be_error = force_warn_or_error_handling or (level or e.level_tag()).value == "warn"
        if self.loggers or self.callbacks or may_be_error:
            fire(self, e, level, node, force_warn_or_error_handling)

    return fire_event


def _of_others(schemas_of: Callable[..., set[Any]]) -> Callable[..., set[Any]]:
    """The schemas that a build needs, for which dbt opens a connection of its own: 40 ms.

    What is materialized as `partition` is made in the schema of scratch tables and published into
    its own, which publishing creates.
    """

    def get_model_schemas(self: Any, adapter: Any, selected_uids: Iterable[str]) -> set[Any]:
        nodes = self.manifest.nodes
        others = [
            uid
            for uid in selected_uids
            if uid not in nodes or nodes[uid].config.materialized != "partition"
        ]
        return schemas_of(self, adapter, frozenset(others))

    return get_model_schemas


def _compiled_once(compile_template: Callable[..., CodeType]) -> Callable[..., CodeType]:
    """Templates, such as the values of `profiles.yml`, each of which is compiled at every use."""
    known: dict[tuple[type, str, bool], CodeType] = {}

    def compile(  # noqa: A001 - jinja's name for it
        self: Any,
        source: Any,
        name: str | None = None,
        filename: str | None = None,
        raw: bool = False,
        defer_init: bool = False,
    ) -> Any:
        if raw or name or filename or not isinstance(source, str):
            return compile_template(self, source, name, filename, raw, defer_init)
        # An environment's class and its extensions go together; filters are looked up when it runs.
        key = (type(self), source, defer_init)
        if key not in known:
            known[key] = compile_template(self, source, name, filename, raw, defer_init)
        return known[key]

    return compile


@contextmanager
def light_locks() -> Generator[None]:
    """Give dbt, which locks among its threads only, locks of this process only.

    It asks for those of a spawned process, which it never spawns: each is a named semaphore, the
    first one starts a process that watches over them, and after a fork all builds would share it.
    As the patches, left out where the setting says so.
    """
    if not load_settings().dbt_shortcuts:
        yield
        return
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
