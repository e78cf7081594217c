"""How `make test` shares the tests among processes: `-p tests.sharing`.

A process starts a server when its first test asks for one. So a file's tests stay together, files
that want the same server do too, and the long ones begin first: at the end, short ones fill the
gaps.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Longest first.
_LONG = (
    "acceptance/test_put_to_silver",
    "acceptance/test_chaos",
    "acceptance/test_hosts",
    "integration/test_engine",
    "integration/test_compose",
    "integration/test_stack_runs",
    "acceptance/test_observed",
    "integration/test_canary",
    "integration/test_stack",
    "integration/test_partition_build",
    "integration/test_ingest",
)

# Their tests share no more than what every process has anyway: each goes to whoever is free.
_APART = ("integration/test_stack", "integration/test_partition_build", "integration/test_canary")

# These share a Prefect server.
_WITH_PREFECT = (
    *("test_automations", "test_deployments", "test_dispatcher", "test_stack_fixtures"),
    "test_upgrade",
)


def group_of(test: str) -> str:
    """What a test, by its pytest name, must share a process with."""
    file = test.partition("::")[0].removeprefix("tests/").removesuffix(".py")
    if file.endswith(_WITH_PREFECT):
        return "prefect"
    # In `TestServers` one stack serves all.
    return test if file in _APART and "::TestServers::" not in test else file


class _Sharing(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """xdist's own scheduler, with our groups."""
    return _Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first."""
    turns = {f"tests/{name}.py": turn for turn, name in enumerate(_LONG)}
    items.sort(key=lambda item: turns.get(item.nodeid.partition("::")[0], len(turns)))
