"""Where months come from, what they look like, and which files are turned away."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from quicksilver.build.columns import ArrowTable, ArrowType, problems
from quicksilver.errors import SettingsError
from quicksilver.flows.nyc_tlc import source as tlc_source
from quicksilver.flows.nyc_tlc.file import RefusedFileError, check_file
from quicksilver.flows.nyc_tlc.generated import (
    Flaws,
    generate_month,
    usual_flaws,
    write_generated_year,
)
from quicksilver.flows.nyc_tlc.source import (
    Fetched,
    NotPublished,
    Origin,
    SameAsBefore,
    SourceUnavailableError,
    file_name,
    open_source,
)
from tests.support.declared import yellow_columns

COLUMNS = yellow_columns()
REQUIRED = [column.name for column in COLUMNS if column.required]

MARCH = date(2019, 3, 1)
NAME = "yellow_tripdata_2019-03.parquet"

# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Web:
    """A web server whose next answers a test writes."""

    url: str
    answer: Answer | None = None
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append((self.path, dict(self.headers)))
            assert known.answer is not None
            known.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known = Web(f"http://127.0.0.1:{server.server_port}/trip-data/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


def says(status: int, body: bytes = b"", length: int | None = None, **headers: str) -> Answer:
    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(status)
        to.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            to.send_header(name, value)
        to.end_headers()
        to.wfile.write(body)

    return answer


class TestFolder:
    def test_copies_the_month_and_hashes_it(self, tmp_path: Path) -> None:
        lake, into = _folders(tmp_path)
        (lake / NAME).write_bytes(b"trips" * 1000)
        fetched = open_source(str(lake)).fetch(MARCH, into)
        assert isinstance(fetched, Fetched)
        assert fetched.path.read_bytes() == b"trips" * 1000
        assert fetched.size == 5000
        assert fetched.sha256 == hashlib.sha256(b"trips" * 1000).hexdigest()

    def test_file_url(self, tmp_path: Path) -> None:
        lake, into = _folders(tmp_path / "with space")
        (lake / NAME).write_bytes(b"x")
        assert isinstance(open_source(lake.as_uri()).fetch(MARCH, into), Fetched)

    def test_a_month_that_is_not_there_is_not_published(self, tmp_path: Path) -> None:
        lake, into = _folders(tmp_path)
        outcome = open_source(str(lake)).fetch(MARCH, into)
        assert outcome == NotPublished(str(lake / NAME))

    def test_a_folder_that_vanished_is_no_unpublished_month(self, tmp_path: Path) -> None:
        lake, into = _folders(tmp_path)
        source = open_source(str(lake))
        lake.rmdir()
        with pytest.raises(SourceUnavailableError, match=f"{NAME}.*is gone"):
            source.fetch(MARCH, into)

    @pytest.mark.parametrize(
        ("location", "reason"),
        [
            ("/nowhere/at/all", "there is no folder /nowhere/at/all"),
            ("nowhere-in-the-project", "there is no folder .*/nowhere-in-the-project"),
            ("ftp://host/x", "needs an http"),
            ("file://other-host/x", "this machine only"),
            ("http://host:port/x", "no valid URL"),
            ("http:///trip-data", "names no host"),
        ],
    )
    def test_a_mistyped_source_is_refused_at_once(self, location: str, reason: str) -> None:
        with pytest.raises(SettingsError, match=f"TLC_SOURCE.*{reason}"):
            open_source(location)


class TestWeb:
    def test_downloads_from_below_the_base_url(self, web: Web, tmp_path: Path) -> None:
        body = b"p" * 3_000_000
        web.answer = says(200, body, ETag='"v1"')
        fetched = open_source(web.url).fetch(MARCH, tmp_path)
        assert isinstance(fetched, Fetched)
        assert fetched.path.read_bytes() == body
        assert fetched.sha256 == hashlib.sha256(body).hexdigest()
        assert fetched.origin == Origin(f"{web.url}{NAME}", '"v1"')
        assert open_source(web.url).publishes(MARCH)
        assert {path for path, _ in web.asked} == {f"/trip-data/{NAME}"}

    def test_asks_only_for_what_changed(self, web: Web, tmp_path: Path) -> None:
        web.answer = says(304)
        known = Origin(f"{web.url}{NAME}", '"v1"')
        assert open_source(web.url).fetch(MARCH, tmp_path, known) == SameAsBefore()
        assert web.asked[0][1]["If-None-Match"] == '"v1"'

    def test_another_sources_version_says_nothing(self, web: Web, tmp_path: Path) -> None:
        web.answer = says(200, b"x")
        open_source(web.url).fetch(MARCH, tmp_path, Origin("http://elsewhere/a", '"v1"'))
        assert "If-None-Match" not in web.asked[0][1]

    def test_credentials_are_used_and_never_shown(self, web: Web, tmp_path: Path) -> None:
        location = web.url.replace("http://", "http://me:s3cret@") + "?key=s3cret"
        web.answer = says(500)
        with pytest.raises(SourceUnavailableError) as caught:
            open_source(location).fetch(MARCH, tmp_path)
        assert "s3cret" not in str(caught.value)
        assert web.asked[0][0] == f"/trip-data/{NAME}?key=s3cret"
        assert web.asked[0][1]["Authorization"].startswith("Basic ")

    @pytest.mark.parametrize(
        "answer",
        [
            says(404),
            says(410),
            says(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"),
        ],
    )
    def test_no_such_file_is_not_published(self, web: Web, tmp_path: Path, answer: Answer) -> None:
        web.answer = answer
        assert open_source(web.url).fetch(MARCH, tmp_path) == NotPublished(f"{web.url}{NAME}")
        assert not open_source(web.url).publishes(MARCH)

    @pytest.mark.parametrize("status", [304, 401, 403, 429, 500, 502, 503])
    def test_any_other_answer_is_a_failure(self, web: Web, tmp_path: Path, status: int) -> None:
        web.answer = says(status)
        source = open_source(web.url)
        with pytest.raises(SourceUnavailableError, match=f"{NAME}: .* answered {status}"):
            source.fetch(MARCH, tmp_path)
        with pytest.raises(SourceUnavailableError, match=f"{NAME}: .* answered {status}"):
            source.publishes(MARCH)

    def test_a_page_that_blocks_is_no_missing_month(self, web: Web, tmp_path: Path) -> None:
        web.answer = says(
            403, b"<HTML><H1>403 ERROR</H1>The request could not be satisfied.</HTML>"
        )
        with pytest.raises(SourceUnavailableError, match=f"{NAME}: .* answered 403"):
            open_source(web.url).fetch(MARCH, tmp_path)

    def test_a_truncated_download_is_an_error(self, web: Web, tmp_path: Path) -> None:
        web.answer = says(200, b"only half", length=18)
        with pytest.raises(SourceUnavailableError, match=f"{NAME}: .* was not delivered"):
            open_source(web.url).fetch(MARCH, tmp_path)

    def test_a_truncated_chunked_download_is_an_error(self, web: Web, tmp_path: Path) -> None:
        def broken(to: BaseHTTPRequestHandler) -> None:
            to.protocol_version = "HTTP/1.1"
            to.send_response(200)
            to.send_header("Transfer-Encoding", "chunked")
            to.end_headers()
            to.wfile.write(b"9\r\nonly half\r\n")
            to.close_connection = True

        web.answer = broken
        with pytest.raises(SourceUnavailableError, match=NAME):
            open_source(web.url).fetch(MARCH, tmp_path)

    def test_a_source_without_end_is_cut_off(
        self, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tlc_source, "LARGEST", 1000)
        web.answer = says(200, b"x" * 1001)
        with pytest.raises(SourceUnavailableError, match="larger than 1000 bytes"):
            open_source(web.url).fetch(MARCH, tmp_path)

    def test_a_source_that_drips_is_cut_off(
        self, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tlc_source, "LONGEST_SECONDS", -1.0)
        web.answer = says(200, b"x")
        with pytest.raises(SourceUnavailableError, match="only 1 bytes came"):
            open_source(web.url).fetch(MARCH, tmp_path)

    def test_nobody_listens(self, tmp_path: Path) -> None:
        with pytest.raises(SourceUnavailableError, match=NAME):
            open_source("http://127.0.0.1:9/").fetch(MARCH, tmp_path)


class TestCheck:
    def test_a_sound_file(self, tmp_path: Path) -> None:
        path = _write(tmp_path, generate_month(2019, 3, 300), row_group_size=100)
        assert check_file(path, COLUMNS) == 300

    def test_todays_layout_is_sound_too(self, tmp_path: Path) -> None:
        assert (
            check_file(_write(tmp_path, generate_month(2025, 3, 50, layout="2025")), COLUMNS) == 50
        )

    @pytest.mark.parametrize("column", REQUIRED)
    def test_each_required_column_is_required(self, tmp_path: Path, column: str) -> None:
        path = _write(tmp_path, generate_month(2019, 3, 20).drop_columns([column]))
        with pytest.raises(RefusedFileError, match=f"^{NAME}: column {column} is missing$"):
            check_file(path, COLUMNS)

    def test_optional_columns_may_be_missing(self, tmp_path: Path) -> None:
        table = generate_month(2019, 3, 20)
        optional = [name for name in table.column_names if name not in REQUIRED]
        assert check_file(_write(tmp_path, table.drop_columns(optional)), COLUMNS) == 20

    @pytest.mark.parametrize("wrong", [pa.string(), pa.null(), pa.bool_(), pa.list_(pa.float64())])
    def test_a_column_of_another_kind(self, tmp_path: Path, wrong: ArrowType) -> None:
        table = _with_column(generate_month(2019, 3, 20), "total_amount", wrong)
        with pytest.raises(
            RefusedFileError, match=f"{NAME}: column total_amount is of type .*, not a number"
        ):
            check_file(_write(tmp_path, table), COLUMNS)

    def test_every_reason_is_named(self) -> None:
        table = generate_month(2019, 3, 20).drop_columns(["VendorID"])
        table = _with_column(table, "tpep_pickup_datetime", pa.string())
        assert list(problems(table.schema, COLUMNS)) == [
            "column VendorID is missing",
            "column tpep_pickup_datetime is of type string, not a timestamp",
        ]

    def test_a_column_under_both_of_its_names(self) -> None:
        table = generate_month(2019, 3, 20)
        doubled = table.append_column("Airport_fee", pa.nulls(20, pa.float64()))
        assert list(problems(doubled.schema, COLUMNS)) == ["column airport_fee is there 2 times"]

    @pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>", b"PAR1" * 10])
    def test_no_parquet(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / NAME
        path.write_bytes(content)
        with pytest.raises(RefusedFileError, match=f"^{NAME}: not readable parquet: ."):
            check_file(path, COLUMNS)

    def test_cut_off_at_the_end(self, tmp_path: Path) -> None:
        path = _write(tmp_path, generate_month(2019, 3, 200))
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(RefusedFileError, match="not readable parquet"):
            check_file(path, COLUMNS)

    def test_a_corrupt_page_under_a_sound_footer(self, tmp_path: Path) -> None:
        path = _write(tmp_path, generate_month(2019, 3, 5_000))
        column = pq.ParquetFile(path).metadata.row_group(0).column(16)
        content = bytearray(path.read_bytes())
        start = column.dictionary_page_offset or column.data_page_offset
        middle = start + column.total_compressed_size // 2
        content[middle : middle + 64] = bytes(64)
        path.write_bytes(content)
        assert pq.read_metadata(path).num_rows == 5_000, "the footer shows nothing"
        with pytest.raises(RefusedFileError, match=f"^{NAME}: not readable parquet"):
            check_file(path, COLUMNS)

    def test_no_rows(self, tmp_path: Path) -> None:
        with pytest.raises(RefusedFileError, match="holds no rows"):
            check_file(_write(tmp_path, generate_month(2019, 3, 20).slice(0, 0)), COLUMNS)


class TestGenerated:
    def test_same_seed_same_month(self) -> None:
        assert generate_month(2019, 3, 200, seed=7).equals(generate_month(2019, 3, 200, seed=7))
        assert not generate_month(2019, 3, 200, seed=7).equals(generate_month(2019, 3, 200, seed=8))

    def test_the_layout_of_2019(self) -> None:
        schema = generate_month(2019, 1, 50).schema
        assert schema.names[0] == "VendorID"
        assert schema.field("airport_fee").type == pa.null()
        assert schema.field("passenger_count").type == pa.float64()
        assert len(schema.names) == 19

    def test_the_layout_of_2025(self) -> None:
        schema = generate_month(2025, 1, 50, layout="2025").schema
        assert schema.field("VendorID").type == pa.int32()
        assert schema.field("store_and_fwd_flag").type == pa.large_string()
        assert {"Airport_fee", "cbd_congestion_fee"} < set(schema.names)

    @pytest.mark.parametrize("month", [1, 3, 11])
    def test_exactly_the_flaws_asked_for(self, month: int) -> None:
        asked = Flaws(
            negative_total=3,
            zero_length=4,
            outside_month=5,
            duplicate=6,
            just_before=7,
            unknown_meter=8,
        )
        rows = generate_month(2019, month, 1000, flaws=asked).to_pylist()
        first = datetime(2019, month, 1)  # noqa: DTZ001
        trips = Counter(tuple(row.items()) for row in rows)
        away = [abs((row["tpep_pickup_datetime"] - first).days) for row in rows]
        assert len(rows) == 1000
        assert sum(row["total_amount"] < 0 for row in rows) == 3
        assert sum(row["tpep_dropoff_datetime"] <= row["tpep_pickup_datetime"] for row in rows) == 4
        assert sum(days >= 32 for days in away) == 5
        assert sum(trips.values()) - len(trips) == 6
        assert sum(row["tpep_pickup_datetime"] < first for row in rows) == 7 + 3
        assert sum(row["VendorID"] is None for row in rows) == 8

    def test_flaws_need_room(self) -> None:
        with pytest.raises(ValueError, match="do not fit"):
            generate_month(2019, 1, 5, flaws=Flaws(duplicate=5))

    def test_a_year_is_a_source_and_says_that_it_is_invented(self, tmp_path: Path) -> None:
        lake, into = _folders(tmp_path)
        paths = write_generated_year(lake, 2019, rows=1000)
        assert [path.name for path in paths] == [
            f"yellow_tripdata_2019-{month:02d}.parquet" for month in range(1, 13)
        ]
        assert list(lake.iterdir()) != []
        fetched = open_source(str(lake)).fetch(MARCH, into)
        assert isinstance(fetched, Fetched)
        assert check_file(fetched.path, COLUMNS) == 1000
        assert b"invented" in pq.read_schema(fetched.path).metadata[b"quicksilver.generated"]
        again = write_generated_year(lake, 2019, months=[3], rows=1000)
        assert again[0].read_bytes() == fetched.path.read_bytes(), "or a second ingest would land"
        total = pq.read_table(fetched.path)["total_amount"]
        assert (
            _compute.sum(_compute.less(total, 0)).as_py() == usual_flaws(1000).negative_total == 2
        )


def test_file_name() -> None:
    assert file_name(date(2025, 11, 1)) == "yellow_tripdata_2025-11.parquet"


def _folders(under: Path) -> tuple[Path, Path]:
    lake, into = under / "lake", under / "into"
    lake.mkdir(parents=True)
    into.mkdir()
    return lake, into


def _write(folder: Path, table: ArrowTable, row_group_size: int | None = None) -> Path:
    path = folder / NAME
    pq.write_table(table, path, compression="zstd", row_group_size=row_group_size)
    return path


def _with_column(table: ArrowTable, name: str, kind: ArrowType) -> ArrowTable:
    return table.set_column(table.column_names.index(name), name, pa.nulls(table.num_rows, kind))
