"""`ingest-nyc-tlc`: TLC's months of a year into bronze, each checked, whole, and only when new.

What lands here becomes silver through MinIO's events; this flow does not build it. Its last task,
the gate, waits for that and closes the year when every month is green.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from quicksilver.build.layout import declared_columns
from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import DatasetsError, QuicksilverError, SettingsError
from quicksilver.flows.nyc_tlc.file import RefusedFileError, check_file
from quicksilver.flows.nyc_tlc.landing import BronzeTarget
from quicksilver.flows.nyc_tlc.outcome import MonthOutcome, MonthResult, as_markdown
from quicksilver.flows.nyc_tlc.source import NotPublished, SameAsBefore, Taxi, open_source
from quicksilver.orchestrator.blocks import settings_of_run
from quicksilver.settings import load_settings
from quicksilver.support import clock

# The stream that the yearly mart is made of.
DATASET = "nyc_tlc.yellow_tripdata"

# Others share the source and the lake: four downloads fill the line but not the memory.
MONTHS_AT_ONCE = 4
# TLC publishes a month about two months late; in January that is still the year before.
YEAR_OF_DAYS_AGO = timedelta(days=30)
# TLC's yellow months begin in 2009; see `_OTHER_LAYOUT`.
FIRST_YEAR: dict[Taxi, int] = {"yellow": 2011, "green": 2013, "fhv": 2015, "fhvhv": 2019}
_OTHER_LAYOUT = (
    "; the files of 2009 and 2010 have another layout: other names, payment types as words, and"
    " coordinates where later years have zones"
)

_NEVER_RETRIED = (RefusedFileError, SettingsError, DatasetsError)


class IngestFailedError(QuicksilverError):
    """Months that did not reach bronze; the others did, and the year was not closed."""


def worth_retrying(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Not for a refused file or a wrong setting: waiting does not fix these."""
    return not isinstance(state.result(raise_on_failure=False), _NEVER_RETRIED)


@task(
    name="ingest_one_month",
    task_run_name="ingest {taxi} {month:%Y-%m}",
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=60),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def ingest_one_month(month: date, taxi: Taxi = "yellow") -> MonthResult:
    """Bring one month (its first day) into bronze, unless it is there with the same content.

    Raises:
        RefusedFileError: no readable parquet, or a required column is missing; not retried.
        SourceUnavailableError: the source did not deliver it.
        BronzeUnavailableError: MinIO did not take it.
    """
    settings = asyncio.run(settings_of_run())
    dataset = load_datasets(settings.datasets_file).get(dataset_of(taxi))
    landing = BronzeTarget(settings, dataset, month)
    held = landing.current()
    with tempfile.TemporaryDirectory(prefix="quicksilver-ingest-") as folder:
        fetched = open_source(settings.tlc_source, taxi).fetch(
            month, Path(folder), held.origin if held else None
        )
        match fetched:
            case NotPublished(where):
                return MonthResult(month, MonthOutcome.NOT_PUBLISHED, where)
            case SameAsBefore():
                size = held.size if held else None
                return MonthResult(month, MonthOutcome.UNCHANGED, str(landing), size=size)
            case _:
                pass
        # Checked even when bronze has the same bytes: they may not have come through here.
        rows = check_file(fetched.path, declared_columns(dataset))
        outcome = MonthOutcome.UNCHANGED
        if not landing.same_content(held, fetched):
            landing.land(fetched)
            outcome = MonthOutcome.LANDED
    get_run_logger().info("%s %s: %d rows", landing, outcome, rows)
    return MonthResult(month, outcome, str(landing), rows, fetched.size)


@task(name="dbt_build", cache_policy=NO_CACHE, persist_result=False)
async def dbt_build(year: int, months: Sequence[date]) -> dict[str, Any]:
    """The gate: wait for the year's partitions, then build and test what spans them.

    Raises:
        QuicksilverError: a partition was not built, or a test across partitions failed.
    """
    # dbt takes seconds to import; a run that lands nothing and closes nothing need not pay.
    from quicksilver.flows.nyc_tlc.close_year import close_year

    return await close_year(DATASET, year, months)


@flow(
    name="ingest-nyc-tlc",
    description="TLC's months of a year into bronze, then the gate that closes the year.",
    # The cast only quiets a checker: Prefect's own type parameter is invariant.
    task_runner=cast("Any", ThreadPoolTaskRunner(max_workers=MONTHS_AT_ONCE)),
)
def ingest_nyc_tlc(year: int | None = None, taxi: Taxi = "yellow") -> dict[str, str]:
    """Ingest a year (default: the year of 30 days ago); a month that fails stops no other.

    Yellow's year is closed at the end; no mart spans a year of the others.

    Returns:
        Month (`2019-01`) → what became of it.

    Raises:
        SettingsError: a setting is wrong, `TLC_SOURCE` among them.
        IngestFailedError: after all months were tried; the message names those that failed.
    """
    logger = get_run_logger()
    settings = load_settings()
    # Wrong settings are one clear error here, not twelve.
    dataset = load_datasets(settings.datasets_file).get(dataset_of(taxi)).name
    open_source(settings.tlc_source)
    today = clock.now().date()
    asked = usual_year(today) if year is None else year
    months = months_to_ask(asked, today, taxi)
    futures = [ingest_one_month.submit(month, taxi) for month in months]
    results = [_result(month, future) for month, future in zip(months, futures, strict=True)]
    report = as_markdown(dataset, asked, results)
    logger.info("%s", report)
    create_markdown_artifact(
        key="ingest-nyc-tlc" if dataset == DATASET else f"ingest-nyc-tlc-{taxi}",
        markdown=report,
        description=f"{dataset} {asked}, month by month",
    )
    failed = [result for result in results if result.outcome is MonthOutcome.FAILED]
    if failed:
        reasons = "; ".join(f"{result.month:%Y-%m} {result}" for result in failed)
        kept = " closed the gate, gold.yearly_summary stays as it was"
        raise IngestFailedError(
            f"{len(failed)} of {len(results)} months of {asked}"
            f"{kept if dataset == DATASET else ' did not reach bronze'}: {reasons}"
        )
    there = [result.month for result in results if result.outcome is not MonthOutcome.NOT_PUBLISHED]
    if dataset != DATASET:
        logger.info("nothing spans a year of %s", dataset)
    elif there:
        closed = dbt_build.submit(asked, there).result()
        logger.info("%d is closed: %s", asked, closed)
    else:
        logger.info("no month of %d is published, there is nothing to close", asked)
    return {f"{result.month:%Y-%m}": str(result) for result in results}


def dataset_of(taxi: Taxi) -> str:
    """Where a taxi's months land, a name of `datasets.yaml`."""
    return f"nyc_tlc.{taxi}_tripdata"


def usual_year(today: date) -> int:
    """The year that is ingested when none is asked for."""
    return (today - YEAR_OF_DAYS_AGO).year


def months_to_ask(year: int, today: date, taxi: Taxi = "yellow") -> list[date]:
    """The first days of a year's months that have begun.

    Raises:
        ValueError: TLC has no such year.
    """
    first = FIRST_YEAR[taxi]
    if not first <= year <= today.year:
        known = "taxi" if taxi in ("yellow", "green") else "trip"
        raise ValueError(
            f"year {year}: TLC's {taxi}-{known} records begin in {first}, today is {today}"
            f"{_OTHER_LAYOUT if taxi == 'yellow' and year in (2009, 2010) else ''}"
        )
    months = (date(year, month, 1) for month in range(1, 13))
    return [month for month in months if month <= today]


def _result(month: date, future: PrefectFuture[MonthResult]) -> MonthResult:
    """What a month's task came to; its failure is a line of the table, not the end of the run."""
    try:
        return future.result()
    except Exception as error:  # whatever ended it, the other months go on
        return MonthResult(month, MonthOutcome.FAILED, str(error) or type(error).__name__)
