"""`quicksilver init --plan`: what init would do, and how an administrator does it instead."""

from collections.abc import Callable
from typing import Any

from quicksilver.domain.datasets import Datasets, load_datasets
from quicksilver.errors import QuicksilverError
from quicksilver.lake.commands import ALIAS, lane_commands, reader_policy
from quicksilver.ledger.migrate import pending
from quicksilver.operators.setup import wants_warehouse
from quicksilver.orchestrator.deploy import PREFECT_FILE, declared_deployments
from quicksilver.orchestrator.pool import POOL, answering, plan_pool
from quicksilver.settings import Settings

Say = Callable[[str], None]


async def plan(
    settings: Settings,
    say: Say,
    *,
    queue_dir: str | None = None,
    receiver_url: str | None = None,
    lanes: bool = True,
    set_pool_command: bool = False,
) -> None:
    """Say what `initialise` with the same arguments would do; nothing is changed.

    A part that does not answer is reported, and the rest is planned all the same.

    Raises:
        SettingsError, DatasetsError: a setting or `datasets.yaml` is wrong.
    """
    datasets = load_datasets(settings.datasets_file)
    say(f"ledger: {await _of_the_ledger(settings)}")
    tables = [d.bronze_table for d in datasets.datasets if d.bronze_table]
    say(
        f"warehouse: fence, bookkeeping and tables of the dbt project, {', '.join(tables)}"
        if wants_warehouse(datasets)
        else "warehouse: nothing, no dataset has a bronze_table"
    )
    try:
        async with answering(settings) as client:
            say((await plan_pool(client, settings.pool, set_command=set_pool_command))[1])
    except QuicksilverError as error:
        say(f"work pool {settings.pool}: not known yet: {error}")
    for line in _deployments(settings):
        say(line)
    if lanes:
        for line in _lanes(datasets, receiver_url or settings.url, queue_dir):
            say(line)


async def _of_the_ledger(settings: Settings) -> str:
    url = settings.database_url.get_secret_value()
    if not url:
        return "QUICKSILVER_DATABASE_URL is not set"
    try:
        names = await pending(url)
    except QuicksilverError as error:
        return f"not known yet: {error}"
    return f"migrations {', '.join(names)}" if names else "in place"


def _deployments(settings: Settings) -> list[str]:
    found: list[dict[str, Any]] = declared_deployments()["deployments"]
    if not found:
        return [f"deployments: none, {PREFECT_FILE} declares none"]
    lines: list[str] = []
    for deployment in found:
        pool = str((deployment.get("work_pool") or {}).get("name", ""))
        where = f" in work pool {settings.pool if pool == POOL else pool}" if pool else ""
        when = ", ".join(_when(s) for s in deployment.get("schedules") or [])
        lines.append(
            f"deployment {deployment.get('entrypoint')} / {deployment.get('name')}{where}"
            + (f", scheduled {when}" if when else "")
        )
    return lines


def _when(schedule: dict[str, Any]) -> str:
    words = [schedule.get(k) for k in ("cron", "interval", "rrule") if schedule.get(k)]
    return f"{words[0] if words else schedule} {schedule.get('timezone', '')}".strip()


def _lanes(datasets: Datasets, receiver_url: str, queue_dir: str | None) -> list[str]:
    return [
        "lake: buckets, two webhook targets and their rules, as these commands do;"
        " rules and targets of others stay:",
        "# FAST_TOKEN and DURABLE_TOKEN: the first and the last of QUICKSILVER_WEBHOOK_TOKENS;"
        f" `mc alias set {ALIAS} …` first",
        *lane_commands(datasets, receiver_url=receiver_url, queue_dir=queue_dir),
        "# the policy that the service's own credentials need, as quicksilver-policy.json:",
        reader_policy(datasets),
        f"mc admin policy create {ALIAS} quicksilver quicksilver-policy.json",
        f"mc admin policy attach {ALIAS} quicksilver --user ACCESS_KEY",
        "# without events: `quicksilver init --no-lanes`, and QUICKSILVER_SWEEP_INTERVAL says how"
        " many seconds after its PUT an object is found at worst",
    ]
