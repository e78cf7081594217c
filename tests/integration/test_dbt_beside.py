"""Somebody's `dbt run` in a loop beside builds: its locks cost them a wait, and no attempt."""

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from quicksilver.build.batch import build_batch
from quicksilver.build.result import BuildOutcome, BuildResult
from quicksilver.domain.partition import Partition
from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.ledger import BegunBuild
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer
from tests.support.waiting import until

MONTHS = [date(2019 + at // 12, at % 12 + 1, 1) for at in range(25)]

# Reports of a colleague, whose project keeps indexes and rights on what it reads: the locks that
# this takes come in another order than a build's, and its grants change rows of the catalog.
_FILES = {
    "dbt_project.yml": """
name: reports
profile: reports
models: {+materialized: table}
on-run-end:
  - grant select on all tables in schema bronze, silver, gold, partitions to public
""",
    "models/by_month.sql": """
{{ config(post_hook=[
  "drop index if exists silver.by_payment",
  "create index by_payment on silver.yellow_trips (payment_type)",
  "drop index if exists bronze.by_vendor",
  'create index by_vendor on bronze.yellow_tripdata ("VendorID")',
]) }}
select dt, count(*) as trips from silver.yellow_trips group by dt
""",
    "models/by_reason.sql": "select dt, reason from silver.yellow_trips_rejected",
}
_LOOP = """
import sys
from dbt.cli.main import dbtRunner
folder = sys.argv[1]
while True:
    ended = dbtRunner().invoke(["run", "--project-dir", folder, "--profiles-dir", folder,
        "--target-path", folder + "/target", "--log-path", folder + "/logs", "--quiet",
        "--no-send-anonymous-usage-stats"])
    print("ok" if ended.success else "failed", flush=True)
"""


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


@contextmanager
def _running_again_and_again(folder: Path, url: str) -> Generator[Path]:
    """`dbt run` in a loop of a process of its own; a line in the file for each that ended."""
    at = conninfo_to_dict(url)
    output = (
        f"{{type: postgres, host: '{at['host']}', port: {at.get('port', 5432)},"
        f" user: '{at['user']}', password: '{at['password']}', dbname: '{at['dbname']}',"
        " schema: reports, threads: 2}"
    )
    files = {
        **_FILES,
        "profiles.yml": f"reports: {{target: dev, outputs: {{dev: {output}}}}}",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    said = folder / "runs.txt"
    with (
        said.open("w") as out,
        subprocess.Popen([sys.executable, "-c", _LOOP, str(folder)], stdout=out) as process,
    ):
        try:
            yield said
            assert process.poll() is None, "it ran to the end"
        finally:
            process.kill()


async def test_no_attempt_is_lost(stage: PartitionStage, tmp_path: Path) -> None:
    await stage.build(MONTHS[0], stage.put(generate_month(2019, 1, 20), MONTHS[0]))
    told: list[str] = []
    ended: list[BuildOutcome] = []

    async def tell(_: BegunBuild, outcome: BuildOutcome) -> None:
        ended.append(outcome)

    async def waits(_: BegunBuild, why: str) -> None:
        told.append(why)

    rounds = 0
    with _running_again_and_again(tmp_path, stage.url) as runs:
        until(lambda: "ok" in runs.read_text(), "the first dbt run", within=200)
        before = len(runs.read_text().splitlines())
        within = time.monotonic() + 240
        # New partitions first, whose tables are attached; then the same, whose rows are replaced.
        while rounds < 2 or not told:
            assert time.monotonic() < within, "no build ever met the other's work"
            rounds += 1
            builds = [
                BegunBuild(
                    next(stage.ids),
                    Partition.of_day(stage.dataset.name, dt),
                    rounds,
                    1,
                    (stage.put(generate_month(dt.year, dt.month, 20, rounds), dt),),
                )
                for dt in MONTHS
            ]
            await build_batch(stage.settings, stage.dataset, builds, tell, waits)
        assert len(runs.read_text().splitlines()) > before, "it ran meanwhile"
    wrong = [str(outcome) for outcome in ended if not isinstance(outcome, BuildResult)]
    assert wrong == []
    assert len(ended) == rounds * len(MONTHS)
    assert {stage.counts(dt)[0] for dt in MONTHS} == {20}
    assert all(bronze == silver + bad for bronze, silver, bad in map(stage.counts, MONTHS))
    assert stage.scratch() == []
