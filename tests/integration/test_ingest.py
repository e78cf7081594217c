"""The daily ingest, on a real Prefect server: twelve months into an S3, and what stops them."""

import shutil
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from prefect.artifacts import Artifact

from quicksilver.errors import SettingsError
from quicksilver.flows.nyc_tlc import ingest
from quicksilver.flows.nyc_tlc.generated import write_generated_year
from quicksilver.flows.nyc_tlc.ingest import (
    IngestFailedError,
    ingest_one_month,
    months_to_ask,
    usual_year,
)
from quicksilver.flows.nyc_tlc.outcome import MonthOutcome, MonthResult, as_markdown
from quicksilver.support import clock

pytestmark = pytest.mark.usefixtures("prefect_api")

MONTHS = [date(2019, month, 1) for month in range(1, 13)]


@dataclass
class Closed:
    """What the gate was called with."""

    calls: list[tuple[str, int, list[date]]] = field(default_factory=list)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trip-data")
    write_generated_year(folder, 2019, rows=60)
    return folder


@pytest.fixture
def source(year: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a year in it, the test's own."""
    shutil.copytree(year, tmp_path / "source")
    monkeypatch.setenv("TLC_SOURCE", str(tmp_path / "source"))
    return tmp_path / "source"


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 of the user's own with an empty bucket `datasets`, which the settings point at."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("MINIO_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("MINIO_ACCESS_KEY", "someone")
    monkeypatch.setenv("MINIO_SECRET_KEY", "something")
    client = boto3.client(
        "s3",
        endpoint_url=moto_url,
        aws_access_key_id="someone",
        aws_secret_access_key="something",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="datasets")
    yield client
    for key in _keys(client):
        client.delete_object(Bucket="datasets", Key=key)
    client.delete_bucket(Bucket="datasets")
    client.close()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Closed:
    """A gate that only notes that it was reached."""
    closed = Closed()

    async def close_year(dataset: str, year: int, months: list[date]) -> dict[str, Any]:
        closed.calls.append((dataset, year, list(months)))
        return {"months": len(months)}

    module = types.ModuleType("quicksilver.flows.nyc_tlc.close_year")
    module.close_year = close_year  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "quicksilver.flows.nyc_tlc.close_year", module)
    return closed


@pytest.fixture
def spring() -> Iterator[None]:
    """It is March 2019: the year has three months, which is enough for most tests."""
    clock.advance(datetime(2019, 3, 20, tzinfo=UTC) - clock.now())
    yield
    clock.reset()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their waits."""
    eager = ingest_one_month.with_options(retry_delay_seconds=0, retry_jitter_factor=0)
    monkeypatch.setattr(ingest, "ingest_one_month", eager)


class Web:
    """A source on the web: a folder, with answers of the test's own for some months."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.conditional = 0
        self.answers: dict[str, Callable[[], int]] = {}
        self.before: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def serve(self, to: BaseHTTPRequestHandler) -> None:
        name = to.path.rpartition("/")[2]
        with self._lock:
            self.asked.append(name)
        self.before()
        status = self.answers.get(name, lambda: 200)()
        path = self.folder / name
        etag = f'"{path.stat().st_mtime_ns}"' if path.exists() else ""
        if status == 200 and to.headers["If-None-Match"] == etag:
            self.conditional += 1
            status = 304
        body = path.read_bytes() if status == 200 else b""
        to.send_response(status)
        to.send_header("Content-Length", str(len(body)))
        to.send_header("ETag", etag)
        to.end_headers()
        to.wfile.write(body)


@pytest.fixture
def web(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    served = Web(source)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.serve(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("TLC_SOURCE", f"http://127.0.0.1:{server.server_port}/trip-data")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_year_lands_once_and_the_gate_is_reached(s3: Any, source: Path, gate: Closed) -> None:
    outcomes = ingest.ingest_nyc_tlc(2019)
    assert outcomes == {f"{month:%Y-%m}": "landed" for month in MONTHS}
    assert _keys(s3) == [_key(month) for month in MONTHS]
    for month in MONTHS:
        body = s3.get_object(Bucket="datasets", Key=_key(month))["Body"].read()
        assert body == (source / _name(month)).read_bytes()
    assert gate.calls == [("nyc_tlc.yellow_tripdata", 2019, MONTHS)]
    shown = Artifact.get("ingest-nyc-tlc")
    assert "| 2019-12 | landed | 60 | " in str(getattr(shown, "data", None))

    before = [s3.head_object(Bucket="datasets", Key=_key(month)) for month in MONTHS]
    again = ingest.ingest_nyc_tlc(2019)
    assert again == {f"{month:%Y-%m}": "unchanged" for month in MONTHS}
    after = [s3.head_object(Bucket="datasets", Key=_key(month)) for month in MONTHS]
    assert [head["LastModified"] for head in before] == [head["LastModified"] for head in after]
    assert len(gate.calls) == 2


@pytest.mark.usefixtures("spring")
def test_only_the_month_that_changed_lands_again(s3: Any, source: Path, gate: Closed) -> None:
    ingest.ingest_nyc_tlc(2019)
    write_generated_year(source, 2019, months=[2], rows=60, seed=2)
    again = ingest.ingest_nyc_tlc(2019)
    assert [month for month, outcome in again.items() if outcome == "landed"] == ["2019-02"]


@pytest.mark.usefixtures("spring")
def test_files_that_are_refused_close_the_gate_and_stop_nobody_else(
    s3: Any, source: Path, gate: Closed
) -> None:
    corrupt = source / _name(date(2019, 1, 1))
    corrupt.write_bytes(corrupt.read_bytes()[:-50])
    lacking = source / _name(date(2019, 3, 1))
    pq.write_table(pq.read_table(lacking).drop_columns(["total_amount"]), lacking)
    # Were it retried, this would take four minutes and run into the test's own limit.
    with pytest.raises(IngestFailedError) as caught:
        ingest.ingest_nyc_tlc(2019)
    message = str(caught.value)
    assert "2 of 3 months of 2019 closed the gate" in message
    assert "yellow_tripdata_2019-01.parquet: not readable parquet" in message
    assert "2019-03 failed: yellow_tripdata_2019-03.parquet: column total_amount is missing" in (
        message
    )
    assert _keys(s3) == [_key(date(2019, 2, 1))]
    assert gate.calls == []


@pytest.mark.usefixtures("spring")
def test_a_refused_file_leaves_the_month_in_bronze_as_it_was(
    s3: Any, source: Path, gate: Closed
) -> None:
    ingest.ingest_nyc_tlc(2019)
    before = s3.get_object(Bucket="datasets", Key=_key(MONTHS[1]))["Body"].read()
    (source / _name(MONTHS[1])).write_bytes(b"<html>maintenance</html>")
    with pytest.raises(IngestFailedError):
        ingest.ingest_nyc_tlc(2019)
    assert s3.get_object(Bucket="datasets", Key=_key(MONTHS[1]))["Body"].read() == before


@pytest.mark.usefixtures("spring")
def test_a_month_that_is_not_published_keeps_the_gate_open(s3: Any, web: Web, gate: Closed) -> None:
    for month in MONTHS[1:]:
        web.answers[_name(month)] = lambda: 404
    outcomes = ingest.ingest_nyc_tlc(2019)
    assert list(outcomes.values()) == ["landed"] + ["not published"] * 2
    assert gate.calls == [("nyc_tlc.yellow_tripdata", 2019, MONTHS[:1])]


@pytest.mark.usefixtures("spring")
def test_without_any_month_there_is_nothing_to_close(s3: Any, source: Path, gate: Closed) -> None:
    for path in source.iterdir():
        path.unlink()
    assert set(ingest.ingest_nyc_tlc(2019).values()) == {"not published"}
    assert gate.calls == []


@pytest.mark.usefixtures("spring")
def test_what_the_web_has_not_changed_is_not_downloaded_again(
    s3: Any, web: Web, gate: Closed
) -> None:
    ingest.ingest_nyc_tlc(2019)
    assert web.conditional == 0
    assert set(ingest.ingest_nyc_tlc(2019).values()) == {"unchanged"}
    assert web.conditional == 3
    # Somebody overwrites a month in bronze: then the source's version is worth its download.
    s3.put_object(Bucket="datasets", Key=_key(MONTHS[0]), Body=b"something else")
    assert list(ingest.ingest_nyc_tlc(2019).values()).count("landed") == 1


@pytest.mark.usefixtures("spring")
def test_green_lands_in_its_own_dataset_and_closes_no_year(
    s3: Any, source: Path, gate: Closed
) -> None:
    for month in MONTHS[:2]:
        yellow = pq.read_table(source / _name(month))
        green = [name.replace("tpep_", "lpep_") for name in yellow.column_names]
        pq.write_table(yellow.rename_columns(green), source / _name(month, "green"))
    shutil.copy(source / _name(MONTHS[2]), source / _name(MONTHS[2], "green"))
    with pytest.raises(IngestFailedError, match="column lpep_pickup_datetime is missing") as caught:
        ingest.ingest_nyc_tlc(2019, "green")
    assert "yearly_summary" not in str(caught.value)
    (source / _name(MONTHS[2], "green")).unlink()
    outcomes = ingest.ingest_nyc_tlc(2019, "green")
    assert list(outcomes.values()) == ["unchanged", "unchanged", "not published"]
    assert _keys(s3) == [_key(month, "green") for month in MONTHS[:2]]
    assert gate.calls == []


@pytest.mark.usefixtures("spring", "at_once")
def test_a_source_that_fails_is_retried_three_times(s3: Any, web: Web, gate: Closed) -> None:
    fails_twice = iter([503, 502])
    web.answers[_name(MONTHS[0])] = lambda: next(fails_twice, 200)
    web.answers[_name(MONTHS[1])] = lambda: 500
    with pytest.raises(IngestFailedError, match=r"1 of 3 months.*2019-02 failed: .* answered 500"):
        ingest.ingest_nyc_tlc(2019)
    assert web.asked.count(_name(MONTHS[0])) == 3
    assert web.asked.count(_name(MONTHS[1])) == 4
    assert len(_keys(s3)) == 2
    assert gate.calls == []


def test_four_months_at_once_and_never_five(s3: Any, web: Web, gate: Closed) -> None:
    lock = threading.Lock()
    four = threading.Barrier(4, timeout=60)
    busy: list[int] = [0, 0]

    def meet() -> None:
        with lock:
            busy[0] += 1
            busy[1] = max(busy)
        four.wait()
        with lock:
            busy[0] -= 1

    web.before = meet
    assert set(ingest.ingest_nyc_tlc(2019).values()) == {"landed"}
    assert busy == [0, 4]


def test_retries_as_the_contract_has_them() -> None:
    assert isinstance(ingest.ingest_nyc_tlc.parameters.properties["year"], dict)
    assert ingest_one_month.name == "ingest_one_month"
    assert ingest_one_month.retries == 3
    assert ingest_one_month.retry_delay_seconds == [60, 120, 240]
    assert ingest_one_month.retry_jitter_factor == 0.5
    assert ingest.ingest_nyc_tlc.name == "ingest-nyc-tlc"
    assert ingest.dbt_build.name == "dbt_build"


def test_a_mistyped_source_fails_at_once(
    s3: Any, gate: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLC_SOURCE", "/nowhere/at/all")
    with pytest.raises(SettingsError, match="there is no folder /nowhere/at/all"):
        ingest.ingest_nyc_tlc(2019)


def test_the_year_of_thirty_days_ago() -> None:
    assert usual_year(date(2020, 1, 30)) == 2019
    assert usual_year(date(2020, 1, 31)) == 2020


def test_months_of_the_future_are_not_asked_for() -> None:
    assert months_to_ask(2019, date(2019, 3, 1)) == MONTHS[:3]
    assert months_to_ask(2019, date(2020, 1, 1)) == MONTHS
    for impossible in (2008, 2021):
        with pytest.raises(ValueError, match=f"year {impossible}"):
            months_to_ask(impossible, date(2020, 1, 1))
    with pytest.raises(ValueError, match=r"begin in 2011.*files of 2009 and 2010 have another lay"):
        months_to_ask(2010, date(2020, 1, 1))
    with pytest.raises(ValueError, match="fhvhv-trip records begin in 2019"):
        months_to_ask(2018, date(2020, 1, 1), "fhvhv")
    with pytest.raises(ValueError, match="green-taxi records begin in 2013"):
        months_to_ask(2012, date(2020, 1, 1), "green")


def test_the_table_survives_a_reason_with_bars_and_lines() -> None:
    table = as_markdown("d", 2019, [MonthResult(MONTHS[0], MonthOutcome.FAILED, "a|b\nc")])
    assert table.splitlines()[-1] == "| 2019-01 | failed: a\\|b c |  |  |"


def _keys(client: Any) -> list[str]:
    listed = client.list_objects_v2(Bucket="datasets")
    return [item["Key"] for item in listed.get("Contents", [])]


def _key(month: date, taxi: str = "yellow") -> str:
    return f"bronze/nyc_tlc/{taxi}_tripdata/dt={month}/data.parquet"


def _name(month: date, taxi: str = "yellow") -> str:
    return f"{taxi}_tripdata_{month:%Y-%m}.parquet"
