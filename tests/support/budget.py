"""What each test file costs in processor seconds, and the most that it may.

Processor time, of this process and of everything below it, says the same on a busy machine and on
an idle one. A server that several files share counts for the file that runs meanwhile: budgets
are generous, and catch what has become several times as expensive.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator

import psutil
import pytest

_PROPERTY = "processor seconds"

# Seconds a file may take; what starts the whole stack, or several, takes more than the rest.
USUAL = 600.0
BUDGETS = {
    "tests/acceptance/test_chaos.py": 1500.0,
    "tests/acceptance/test_hosts.py": 1500.0,
    "tests/acceptance/test_observed.py": 1500.0,
    "tests/acceptance/test_page.py": 1500.0,
    "tests/acceptance/test_put_to_silver.py": 1500.0,
    "tests/integration/test_compose.py": 1500.0,
    "tests/integration/test_engine.py": 1500.0,
    "tests/integration/test_stack_runs.py": 1500.0,
}


def processor_seconds() -> float:
    """Of this process and everything below it, what has ended included."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue  # it has ended: its parent counts it
        total += times.user + times.system + times.children_user + times.children_system
    return total


class Budget:
    """A pytest plugin: measures each test where it runs, adds up where reports arrive."""

    def __init__(self) -> None:
        self._before = processor_seconds()
        self.by_file: defaultdict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """At a test's end, give its report what was used since the last one's."""
        if call.when == "teardown":
            now = processor_seconds()
            item.user_properties.append((_PROPERTY, now - self._before))
            self._before = now
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a report to its file's sum."""
        if report.when == "teardown":
            used = dict(report.user_properties).get(_PROPERTY, 0.0)
            assert isinstance(used, float)
            self.by_file[report.nodeid.partition("::")[0]] += used

    def _dearest(self) -> list[tuple[str, float]]:
        return sorted(self.by_file.items(), key=lambda item: item[1], reverse=True)

    def over(self) -> list[str]:
        """One line for each file that took more than it may."""
        return [
            f"{file} took {used:.0f} processor seconds, its budget is {allowed:.0f}:"
            " make it cheaper, or raise its budget in tests/support/budget.py and say why"
            for file, used in self._dearest()
            if used > (allowed := BUDGETS.get(file, USUAL))
        ]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Report the most expensive files, and those over their budgets."""
        if len(self.by_file) < 2 and not self.over():
            return
        terminalreporter.section("processor seconds by file")
        total = sum(self.by_file.values())
        for file, used in self._dearest()[:25]:
            terminalreporter.write_line(f"{used:7.1f}  {file}")
        terminalreporter.write_line(f"{total:7.1f}  in all")
        for line in self.over():
            terminalreporter.write_line(line, red=True)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """In CI a file over its budget fails the run."""
        is_told = not os.environ.get("PYTEST_XDIST_WORKER")
        if os.environ.get("CI") and is_told and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED if self.over() else session.exitstatus
