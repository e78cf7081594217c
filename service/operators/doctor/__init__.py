"""`quicksilver doctor`: walks the chain from the settings to silver, link by link; then the
parts as `/readyz`, the page and `quicksilver status` tell them.

A link behind a broken one is skipped: its finding would only be a consequence.
"""

from collections.abc import Callable

from quicksilver.errors import QuicksilverError, SettingsError
from quicksilver.operators.doctor import connections, databases, history, host, lake, orchestrator
from quicksilver.operators.doctor.check import BrokenError, Check, Finding, Probe

__all__ = ["Finding", "Probe", "run_checks", "skipped_checks"]

_LINKS: tuple[tuple[str, tuple[str, ...], Check], ...] = (
    ("settings", (), databases.check_settings),
    ("datasets", (), databases.check_datasets),
    ("ledger", ("settings",), databases.check_ledger),
    ("migrations", ("ledger", "datasets"), databases.check_migrations),
    ("warehouse", ("settings", "datasets"), databases.check_warehouse),
    ("connections", ("ledger", "warehouse"), connections.check_connections),
    ("store", ("settings",), lake.check_store),
    ("bucket", ("store", "datasets"), lake.check_bucket),
    ("lanes", ("bucket",), lake.check_lanes),
    ("service", ("settings",), lake.check_service),
    ("operators", ("service",), lake.check_operators),
    ("reach", ("lanes", "service"), lake.check_reach),
    ("canary", ("reach", "migrations"), lake.check_canary),
    ("prefect", (), orchestrator.check_prefect),
    ("history", ("prefect",), history.check_history),
    ("work pool", ("prefect",), orchestrator.check_pool),
    ("deployments", ("prefect", "datasets"), orchestrator.check_deployments),
    ("worker", ("work pool",), orchestrator.check_worker),
    ("engine", ("worker",), orchestrator.check_engine),
    ("dbt", ("settings",), orchestrator.check_dbt),
    ("disk", (), host.check_disk),
    ("clock", ("ledger",), host.check_clock),
)


async def run_checks(probe: Probe, show: Callable[[Finding], None]) -> list[Finding]:
    """Check every link, reporting each as soon as it is known; all findings."""
    ok: set[str] = set()
    try:
        for link, needs, check in _LINKS:
            missing = [need for need in needs if need not in ok]
            if missing:
                finding = Finding(link, "skipped", f"needs {', '.join(missing)}")
            else:
                finding = await _finding(link, check, probe)
            if finding.status == "ok":
                ok.add(link)
            probe.findings.append(finding)
            show(finding)
    finally:
        if probe.ledger is not None:
            await probe.ledger.database.close()
    return probe.findings


def skipped_checks(error: SettingsError, show: Callable[[Finding], None]) -> list[Finding]:
    """All findings where the settings themselves are refused: nothing else can be checked."""
    findings = [Finding("settings", "broken", str(error), "correct it in the environment or .env")]
    findings += [
        Finding(link, "skipped", "needs settings") for link, _, _ in _LINKS if link != "settings"
    ]
    for finding in findings:
        show(finding)
    return findings


async def _finding(link: str, check: Check, probe: Probe) -> Finding:
    try:
        return Finding(link, "ok", await check(probe))
    except BrokenError as error:
        return Finding(link, "broken", error.found, error.fix)
    except QuicksilverError as error:
        return Finding(link, "broken", str(error), "see the message")
    except Exception as error:
        # Whatever the error is, the links behind it are still worth checking.
        seen = f"{type(error).__name__}: {error}"
        return Finding(link, "broken", seen, "not foreseen: please report it with this line")
