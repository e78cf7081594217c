"""What people are shown of a build: its columns, its report, and no secret."""

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from quicksilver.flows.nyc_tlc.generated import generate_month
from tests.acceptance.test_put_to_silver import built, settled
from tests.support.full_stack import BUCKET, DATASET, FullStack
from tests.support.waiting import until


@contextmanager
def browser(stack: FullStack) -> Generator[httpx.Client]:
    """An operator who has logged in."""
    with httpx.Client(base_url=stack.env["QUICKSILVER_URL"], trust_env=False, timeout=30) as client:
        token = stack.env["QUICKSILVER_OPERATOR_TOKENS"]
        client.post("/login", data={"token": token, "name": "me"})
        yield client


def test_no_secret_is_shown_anywhere(full_stack: FullStack) -> None:
    full_stack.put_month(2021, 2)
    built(full_stack, "2021-02-01", 1)
    settled(full_stack, "2021-02-01")
    recent = {"sort": "START_TIME_DESC", "limit": 50}
    shown = [json.dumps(full_stack.prefect("POST", "/flow_runs/filter", recent))]
    shown += [
        json.dumps(full_stack.prefect("POST", f"/{kind}/filter", {"limit": 200}))
        for kind in ("logs", "artifacts", "task_runs", "deployments", "work_pools")
    ]
    with browser(full_stack) as pages:
        paths = ("/", "/partitions", "/events", "/metrics", "/api/partitions")
        for path in (*paths, f"/partitions/{DATASET}/2021-02-01"):
            answer = pages.get(path)
            assert answer.is_success, path
            shown.append(answer.text)
    names = ("MINIO_SECRET_KEY", "DBT_PG_PASSWORD", "QUICKSILVER_OPERATOR_TOKENS")
    secrets = [full_stack.env[name] for name in names]
    secrets += full_stack.env["QUICKSILVER_WEBHOOK_TOKENS"].split(",")
    # The ledger's password, out of its URL.
    secrets.append(full_stack.env["QUICKSILVER_DATABASE_URL"].split(":")[2].split("@")[0])
    assert "in bronze" in shown[2], "the report is among the artifacts"
    assert not [
        name for secret in secrets for name, text in enumerate(shown) if secret and secret in text
    ]


def test_an_unknown_column_is_said_once_on_the_page_in_the_log_and_as_an_event(
    full_stack: FullStack,
) -> None:
    full_stack.put_month(2021, 3)
    built(full_stack, "2021-03-01", 1)
    key = "bronze/nyc_tlc/yellow_tripdata/dt=2021-03-01/data.parquet"
    for seed in (1, 2):
        drifted = generate_month(2021, 3, 100, seed).append_column("surge", pa.array([1.5] * 100))
        body = BytesIO()
        pq.write_table(drifted, body)
        full_stack.minio.put_object(BUCKET, key, BytesIO(body.getvalue()), len(body.getvalue()))
        built(full_stack, "2021-03-01", 1 + seed)
    told = full_stack.ledger(
        "select payload from quicksilver.announcement"
        " where name = 'quicksilver.partition.schema' and payload->>'dt' = '2021-03-01'"
    )
    assert [row["payload"]["reason"] for row in told] == ["new in bronze: surge"]
    with browser(full_stack) as pages:
        page = pages.get(f"/partitions/{DATASET}/2021-03-01").text
        # A link to the report of each build that published, which opens the artifact.
        links = re.findall(r"/builds/\d+/report", page)
        assert len(links) == 3
        there = pages.get(links[0], follow_redirects=False).headers["location"]
        assert "/artifacts/artifact/" in there
        log = pages.get(links[0].replace("report", "log")).text
    assert page.count("<code>surge</code>") == 1
    assert "rows in bronze" in log
    service_log = full_stack.stack.home.folder / "logs" / "service.log"
    until(lambda: service_log.read_text().count("new in bronze: surge") == 1, "the line in the log")
