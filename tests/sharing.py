"""How `make test` shares the tests among processes: `-p tests.sharing`.

A process starts a server when its first test asks for one. So a file's tests stay together, files
that want the same server do too, and the long ones begin first: at the end, short ones fill the
gaps.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Longest first. What shares a server is one group: the whole stack, or Prefect's.
_STACK = ("test_observed", "test_put_to_silver", "test_told")
_PREFECT = (
    *("test_engine", "test_worker", "test_ingest", "test_dispatcher", "test_gates", "test_upgrade"),
    *("test_doctor", "test_doctor_prefect", "test_blocks", "test_automations"),
    *("test_deployments", "test_stack_fixtures"),
)
_ALONE = ("test_chaos", "test_hosts", "test_compose", "test_page")

# Their tests share no more than what every process has anyway: each goes to whoever is free.
_APART = ("test_stack_runs", "test_canary", "test_stack", "test_partition_build")

_LONG = (*_STACK, *_PREFECT, *_ALONE, *_APART)


def _file(test: str) -> str:
    return test.partition("::")[0].rpartition("/")[2].removesuffix(".py")


def group_of(test: str) -> str:
    """What a test, by its pytest name, must share a process with."""
    file = _file(test)
    if file in _STACK:
        return "stack"
    if file in _PREFECT:
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
    """The long ones first, and a group's files side by side."""
    turns = {name: turn for turn, name in enumerate(_LONG)}
    items.sort(key=lambda item: turns.get(_file(item.nodeid), len(turns)))
