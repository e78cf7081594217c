"""How long things are kept: publications, actions, firings of gates, and Prefect's own runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import date, timedelta
from typing import Any

import pytest

from quicksilver import stack
from quicksilver.domain.partition import Partition
from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.operators.doctor import Probe, history
from quicksilver.settings import load_settings
from quicksilver.stack import Home
from quicksilver.stack.orchestrator import prefect_program
from quicksilver.support import clock
from quicksilver.warehouse.connection import Warehouse
from tests.support.checkout import PROJECT
from tests.support.ledger_harness import NAME, LedgerHarness
from tests.support.partition_stage import make_stage
from tests.support.servers import HOMES, MinioServer, Postgres

JANUARY, FEBRUARY = date(2019, 1, 1), date(2019, 2, 1)


async def test_publications_go_but_what_stands_in_silver_stays(
    warehouse_url: str, minio_server: MinioServer
) -> None:
    builder = make_stage(warehouse_url, minio_server)
    january = builder.put(generate_month(2019, 1, 20, seed=1), JANUARY)
    february = builder.put(generate_month(2019, 2, 20, seed=1), FEBRUARY)
    for _ in range(3):
        await builder.build(JANUARY, january)
    await builder.build(FEBRUARY, february)
    kept = "select build_id from quicksilver.publication order by 1"
    assert builder.rows(kept) == [(1,), (2,), (3,), (4,)]
    # A year later, as far as the first two are concerned.
    builder.run(
        "update quicksilver.publication set published_at = published_at - interval '1 year',"
        " superseded_at = superseded_at - interval '1 year' where build_id <> 2"
    )
    await builder.build(FEBRUARY, february)
    assert builder.rows(kept) == [(2,), (3,), (4,), (5,)], "1 is old, 2 young, 3 and 5 stand"
    held = await Warehouse(builder.settings).holdings(builder.dataset)
    assert {h.partition.name: h.build_id for h in held} == {"2019-01-01": 3, "2019-02-01": 5}
    # The answer for a run that died, and the fence that no older build passes.
    assert await builder.settle_named(Partition.of_day(builder.dataset.name, JANUARY), 3)


async def test_actions_and_firings_go_but_none_fires_again(ledger_url: str) -> None:
    kit = await LedgerHarness.open(ledger_url)
    for generation in (1, 2, 3):
        await kit.fetch(
            "insert into quicksilver.gate_run (gate, set_key, generation, opened_at, fired_at)"
            " values ('joined', '2024-01-01', %s, now(), now())",
            generation,
        )
    await kit.ledger.operators.log_action("anna", "rebuild", f"{NAME}/2024-01-01")
    keep = timedelta(days=30)
    assert await kit.ledger.upkeep.prune(keep=keep) == 0
    clock.advance(timedelta(days=31))
    try:
        await kit.ledger.operators.log_action("anna", "pause", NAME)
        assert await kit.ledger.upkeep.prune(keep=keep) == 3
    finally:
        clock.reset()
    assert await kit.fetch("select generation from quicksilver.gate_run") == [(3,)]
    assert [a["action"] for a in await kit.ledger.operators.actions()] == ["pause"]
    await kit.close()


def _told(environment: dict[str, str]) -> dict[str, Any]:
    """What Prefect itself makes of an environment."""
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import json; from prefect.settings import get_current_settings as s;"
            " v = s().server.services.db_vacuum; print(json.dumps([sorted("
            "v.enabled_vacuum_types), v.retention_period.days]))",
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(("kinds", "days"), json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_prefect_keeps_runs_for_thirty_days_in_stack_and_compose(
    stack_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    home: Home = stack_postgres.home

    # A home of Postgres alone has no port for Prefect.
    def port(*_: object) -> int:
        return 4200

    monkeypatch.setattr(Home, "port", port)
    lines = (PROJECT / "compose/settings/prefect-server.env").read_text().splitlines()
    compose = dict(line.split("=", 1) for line in lines if "VACUUM" in line)
    for environment in (dict(prefect_program(home).env), compose):
        told = _told({k: v for k, v in environment.items() if "VACUUM" in k})
        assert {"flow_runs", "events"} <= set(told["kinds"])
        assert told["days"] == 30
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD", str(7 * 24 * 3600))
    chosen = prefect_program(home).env["PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"]
    assert chosen == str(7 * 24 * 3600), "the environment is heard"


async def test_doctor_tells_how_much_prefect_keeps(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(prefect_api_url=prefect_api)
    own = stack.prefect_database(load_settings(home=HOMES / "prefect"))
    said = await history.check_history(Probe(settings, prefect_database=own))
    assert re.fullmatch(r"[\d,]+ flow runs, \d+ [kMG]B; kept for 30 days", said)
    assert "of unknown size without PREFECT_SERVER" in await history.check_history(Probe(settings))
    monkeypatch.setenv(
        "PREFECT_SERVER_DATABASE_CONNECTION_URL", own.replace("postgresql:", "postgresql+asyncpg:")
    )
    assert await history.check_history(Probe(settings)) == said
    nobody = Probe(settings, prefect_database="postgresql://127.0.0.1:9/x")
    assert "of unknown size: " in await history.check_history(nobody)
