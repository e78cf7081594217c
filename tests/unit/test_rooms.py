"""The rooms of the package: each imports only what stands below it, and nothing goes in circles.

`BELOW` is the table of design: a room, or one module of it, that a room may import. Every import
counts, one inside a function too.
"""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.checkout import PROJECT

PACKAGE = "quicksilver"

_ALL_BELOW_THE_WEB = (
    *("operators", "roles", "intake", "build", "ledger", "warehouse", "lake", "orchestrator"),
    *("domain", "support"),
)

# What each room may import beside itself, `errors` and `settings`.
BELOW: dict[str, tuple[str, ...]] = {
    "errors": (),
    "settings": ("support.project",),
    "support": (),
    "domain": ("support",),
    "ledger": ("domain", "support"),
    "warehouse": ("domain", "support"),
    "lake": ("domain", "support"),
    "orchestrator": ("domain", "support", "engine.command"),
    # It lists what a marker (`_SUCCESS`) finishes before it records the partition.
    "intake": ("ledger", "lake", "domain", "support"),
    "build": ("warehouse", "lake", "domain", "support", "ledger.rows"),
    "roles": ("ledger", "lake", "orchestrator", "domain", "support", "engine.protocol"),
    "operators": _ALL_BELOW_THE_WEB,
    "web": ("operators", "intake", "ledger", "domain", "support"),
    "app": ("web", *_ALL_BELOW_THE_WEB),
    "flows": _ALL_BELOW_THE_WEB,
    "cli": ("app", "web", "flows", "engine", "stack", *_ALL_BELOW_THE_WEB),
    # The warm engine and the embedded stack serve any project: they know nothing of this one.
    "engine": ("support.failpoint", "support.project"),
    "stack": ("engine.protocol", "engine.client", "support"),
    # Prefect's worker type: between Prefect and the engine, woken by the ledger's NOTIFY.
    "worker": ("engine", "support"),
    # What flows of other people's own import: the package hands it on.
    PACKAGE: ("flows.building",),
}

# Libraries that a room must do without.
WITHOUT: dict[str, tuple[str, ...]] = {
    "domain": ("psycopg", "httpx", "minio", "prefect", "fastapi", "starlette"),
    "intake": ("fastapi", "starlette", "uvicorn"),
    "engine": ("psycopg", "minio", "fastapi"),
}


def modules() -> dict[str, Path]:
    """Every module of the package by its name; a package's own is its `__init__`."""
    found: dict[str, Path] = {}
    for folder, name in ((PROJECT / "service", PACKAGE), (PROJECT / "flows", f"{PACKAGE}.flows")):
        for path in folder.rglob("*.py"):
            if path.is_relative_to(PROJECT / "service" / "templates"):
                continue  # flows of somebody's own, as `quicksilver new` writes them
            parts = path.relative_to(folder).with_suffix("").parts
            inner = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((name, *inner))] = path
    return found


MODULES = modules()


def imports_of(path: Path) -> Iterator[str]:
    """The full names that a module imports; of our own, the module that holds the name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def room_of(module: str) -> str:
    """The room that one of our modules stands in."""
    return module.split(".")[1] if "." in module else PACKAGE


def may_import(importer: str, imported: str) -> bool:
    """Whether the table lets one of our modules import another."""
    here, there = room_of(importer), room_of(imported)
    inner = imported.removeprefix(f"{PACKAGE}.")
    allowed = (here, "errors", "settings", *BELOW[here])
    return there != PACKAGE and any(
        inner == name or inner.startswith(f"{name}.") for name in allowed
    )


EDGES = {
    name: sorted({found for found in imports_of(path) if found.split(".")[0] == PACKAGE})
    for name, path in MODULES.items()
}


def test_every_room_stands_in_the_table() -> None:
    assert {room_of(name) for name in MODULES} == set(BELOW)


def test_nobody_imports_upward() -> None:
    wrong = [
        f"{importer} imports {imported}"
        for importer, found in EDGES.items()
        for imported in found
        if not may_import(importer, imported)
    ]
    assert wrong == []


def test_the_example_is_known_to_nobody_but_the_demo() -> None:
    known = {
        importer
        for importer, found in EDGES.items()
        if any(name.startswith("quicksilver.flows.nyc_tlc") for name in found)
    }
    assert {name for name in known if not name.startswith("quicksilver.flows.nyc_tlc")} <= {
        "quicksilver.cli.demo"
    }


def test_the_table_has_no_circle() -> None:
    rooms = {room: {name.split(".")[0] for name in below} - {room} for room, below in BELOW.items()}
    assert list(TopologicalSorter(rooms).static_order())


def test_modules_go_in_no_circle() -> None:
    inside = {
        name: {other for other in found if other in MODULES and other != name}
        for name, found in EDGES.items()
    }
    assert list(TopologicalSorter(inside).static_order())


@pytest.mark.parametrize("room", sorted(WITHOUT))
def test_a_room_does_without_some_libraries(room: str) -> None:
    wrong = [
        f"{name} imports {found}"
        for name, path in MODULES.items()
        if room_of(name) == room
        for found in imports_of(path)
        if found.split(".")[0] in WITHOUT[room]
    ]
    assert wrong == []


def test_few_files_lie_loose_at_the_top() -> None:
    loose = {path.name for path in (PROJECT / "service").glob("*.py")} - {"__init__.py"}
    assert len(loose) <= 4, loose
