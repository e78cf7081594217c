"""What the production stack's users may do, and may not: on real MinIO and real Postgres."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import psycopg
import pytest
from minio import Minio
from minio.error import S3Error
from psycopg.rows import dict_row

from quicksilver.domain.datasets import Datasets
from quicksilver.domain.partition import CANARY_PREFIX, Partition
from quicksilver.errors import LedgerRightsError
from quicksilver.lake.bronze import Bronze
from quicksilver.lake.targets import minio_admin
from quicksilver.ledger import Ledger
from quicksilver.ledger.claims import give_back
from quicksilver.ledger.migrate import migrate
from quicksilver.roles.alignment import Alignment
from quicksilver.roles.settler import Settler
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.postgres import BINARIES
from quicksilver.support.postgres import Database
from quicksilver.warehouse.connection import Warehouse
from tests.integration.test_senders import BEARER, serving
from tests.support.checkout import PROJECT
from tests.support.servers import MinioServer, Postgres
from tests.unit.test_sender_shapes import KEY, encoded, record

COMPOSE = PROJECT / "compose"
BUCKET = "datasets"  # the policy names it


def refused(call: Callable[[], Any]) -> bool:
    """Whether MinIO denies a call, and not something else."""
    try:
        call()
    except S3Error as error:
        return error.code == "AccessDenied"
    return False


@pytest.fixture
def users(minio_server: MinioServer, tmp_path: Path) -> Iterator[Callable[[str], Settings]]:
    """Settings of a user of `minio_users.py`, which has just made them."""
    for who in ("READER", "WRITER"):
        (tmp_path / f"{who}_ACCESS_KEY").write_text(f"{who.lower()}-{secrets.token_hex(4)}")
        (tmp_path / f"{who}_SECRET_KEY").write_text(secrets.token_hex(16))
    root = {
        "MINIO_ENDPOINT_URL": minio_server.endpoint_url,
        "MINIO_ACCESS_KEY": minio_server.access_key,
        "MINIO_SECRET_KEY": minio_server.secret_key,
        "QUICKSILVER_SECRETS_DIR": str(tmp_path),
    }
    for _ in range(2):  # the second time changes nothing
        done = subprocess.run(
            [sys.executable, str(COMPOSE / "minio_users.py")],
            env={**os.environ, **root},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "quicksilver-reader" in done.stdout

    def of(who: str) -> Settings:
        return load_settings(
            minio_endpoint_url=minio_server.endpoint_url,
            minio_access_key=(tmp_path / f"{who}_ACCESS_KEY").read_text(),
            minio_secret_key=(tmp_path / f"{who}_SECRET_KEY").read_text(),
        )

    yield of
    admin = minio_admin(
        load_settings(
            minio_endpoint_url=minio_server.endpoint_url,
            minio_access_key=minio_server.access_key,
            minio_secret_key=minio_server.secret_key,
        )
    )
    for who in ("READER", "WRITER"):
        admin.user_remove((tmp_path / f"{who}_ACCESS_KEY").read_text())


def client_of(settings: Settings) -> Minio:
    return Minio(
        urlsplit(settings.minio_endpoint_url).netloc,
        settings.minio_access_key,
        settings.minio_secret_key.get_secret_value(),
        secure=False,
    )


@pytest.fixture
def lake(minio_server: MinioServer) -> Iterator[Minio]:
    """The lake's administrator, with bronze, something else in the bucket, and another bucket."""
    client = Minio(
        urlsplit(minio_server.endpoint_url).netloc,
        minio_server.access_key,
        minio_server.secret_key,
        secure=False,
    )
    mine = not client.bucket_exists(BUCKET)
    if mine:
        client.make_bucket(BUCKET)
    client.make_bucket("another")
    places = [(BUCKET, KEY), (BUCKET, "private/salaries.csv"), ("another", "bronze/x")]
    for bucket, key in places:
        client.put_object(bucket, key, BytesIO(b"data"), 4)
    yield client
    for bucket, key in places:
        client.remove_object(bucket, key)
    client.remove_bucket("another")
    if mine:
        client.remove_bucket(BUCKET)


async def test_the_service_reads_bronze_and_writes_its_canary_alone(
    users: Callable[[str], Settings], lake: Minio
) -> None:
    settings = users("READER")
    listed = await Bronze(settings).list_folder(BUCKET, "bronze/nyc_tlc/yellow_tripdata/")
    assert KEY in [found.key for found in listed]
    user = client_of(settings)
    found = user.get_object(BUCKET, KEY)
    assert found.read() == b"data"
    found.close()
    denied: list[Callable[[], Any]] = [
        lambda: list(user.list_objects(BUCKET)),
        lambda: list(user.list_objects(BUCKET, prefix="private/")),
        lambda: user.get_object(BUCKET, "private/salaries.csv"),
        lambda: user.put_object(BUCKET, KEY, BytesIO(b"x"), 1),
        lambda: user.put_object(BUCKET, "bronze/new", BytesIO(b"x"), 1),
        lambda: user.remove_object(BUCKET, KEY),
        lambda: user.set_object_tags(BUCKET, KEY, tags()),
        lambda: list(user.list_objects("another", prefix="bronze/")),
        lambda: user.get_object("another", "bronze/x"),
        lambda: user.make_bucket("mine"),
        lambda: user.remove_bucket(BUCKET),
        lambda: user.get_bucket_notification(BUCKET),
        lambda: user.get_bucket_policy(BUCKET),
    ]
    allowed = [number for number, call in enumerate(denied) if not refused(call)]
    assert allowed == []
    # Its canary, which measures the lanes, is all that it writes.
    user.put_object(BUCKET, f"{CANARY_PREFIX}x", BytesIO(b"canary"), 6)
    user.remove_object(BUCKET, f"{CANARY_PREFIX}x")
    assert user.list_buckets() in ([], [b for b in user.list_buckets() if b.name == BUCKET])
    from minio.error import MinioAdminException

    with pytest.raises(MinioAdminException):
        minio_admin(settings).info()


def tags() -> Any:
    from minio.commonconfig import Tags

    made = Tags.new_object_tags()
    made["a"] = "b"
    return made


async def test_the_worker_writes_bronze_and_deletes_nothing(
    users: Callable[[str], Settings], lake: Minio
) -> None:
    user = client_of(users("WRITER"))
    large = BytesIO(b"x" * (6 * 1024 * 1024))
    user.put_object(BUCKET, KEY, large, -1, part_size=5 * 1024 * 1024)
    assert user.stat_object(BUCKET, KEY).size == 6 * 1024 * 1024
    denied: list[Callable[[], Any]] = [
        lambda: user.remove_object(BUCKET, KEY),
        lambda: user.put_object(BUCKET, "private/x", BytesIO(b"x"), 1),
        lambda: user.get_object(BUCKET, "private/salaries.csv"),
        lambda: user.put_object("another", "bronze/x", BytesIO(b"x"), 1),
        lambda: user.get_bucket_notification(BUCKET),
    ]
    assert [number for number, call in enumerate(denied) if not refused(call)] == []


@dataclass
class Production:
    """A Postgres server of its own, prepared by `roles.sql` as the stack's is."""

    server: Postgres
    passwords: dict[str, str] = field(default_factory=dict[str, str])

    def url(self, role: str, database: str) -> str:
        port = self.server.home.port("postgres")
        return f"postgresql://{role}:{self.passwords[role]}@127.0.0.1:{port}/{database}"

    def libpq(self, role: str, database: str) -> dict[str, str]:
        return {
            "PATH": f"{BINARIES}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.server.home.port("postgres")),
            "PGUSER": role,
            "PGDATABASE": database,
            "PGPASSWORD": self.passwords[role],
        }


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """Not the session's server: the roles' names are the same, their rights are not."""
    from quicksilver.stack import EmbeddedStack
    from tests.support.servers import HOMES

    with EmbeddedStack(HOMES / "roles", parts={"postgres"}, ports=None) as stack:
        made = Production(Postgres(stack.home, stack))
        made.passwords["postgres"] = stack.home.credentials.postgres_password
        names = (
            *("prefect", "ledger", "ledger_service"),
            *("warehouse", "warehouse_settler", "warehouse_reader"),
        )
        made.passwords |= {name: secrets.token_hex(16) for name in names}
        with psycopg.connect(stack.home.database_url("postgres", admin=True), autocommit=True) as c:
            for name in ("prefect", "ledger", "warehouse"):
                c.execute(f"drop database {name} with (force)")
        for _ in range(2):  # as often as you like
            done = subprocess.run(
                [str(BINARIES / "psql"), "--no-psqlrc", "--file", str(COMPOSE / "roles.sql")],
                env={
                    **made.libpq("postgres", "postgres"),
                    **{f"{name.upper()}_PASSWORD": made.passwords[name] for name in names},
                },
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""
        yield made


def denied(url: str, statement: str) -> bool:
    with psycopg.connect(url) as connection:
        try:
            connection.execute(cast("Any", statement))
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


async def test_the_service_lives_with_rights_to_rows_alone(production: Production) -> None:
    owner, service = production.url("ledger", "ledger"), production.url("ledger_service", "ledger")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await migrate(service)  # nothing there yet, and not its to make
    assert await migrate(owner)
    assert await migrate(service) == []
    async with serving(service) as receiver:
        body = encoded({"Records": [record()]})
        assert (await receiver.post("/events/minio", body, **BEARER)).text == "settling\n"
        ledger = receiver.app.state.ledger
        from datetime import timedelta

        await ledger.upkeep.beat("d1")
        claims = await ledger.claims.claim("d1", slots=1, lease=timedelta(seconds=30))
        assert [str(c.partition) for c in claims] == ["nyc_tlc.yellow_tripdata/2024-01-01"]
        async with ledger.database.transaction() as tx:
            assert await give_back(tx, claims[0], "d1", "nobody runs here")
        quarantined = await receiver.post("/events/minio", b"no event", **BEARER)
        assert quarantined.text.startswith("quarantined")
        assert await ledger.upkeep.prune(keep=timedelta(0)) is not None
    for statement in (
        "create table quicksilver.mine (a int)",
        "create schema mine",
        "create temp table mine (a int)",
        "drop table quicksilver.event",
        "alter table quicksilver.event add column mine int",
        "truncate quicksilver.event",
        "create role mine",
        "select pg_read_file('/etc/passwd')",
        "copy quicksilver.event to program 'true'",
    ):
        assert denied(service, statement), statement
    for other in ("warehouse", "prefect"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(production.url("ledger_service", other)).close()


async def test_a_used_warehouse_and_a_restart(production: Production) -> None:
    """The ledger is younger than the warehouse's fences: its service raises its own ids."""
    ledger_owner = production.url("ledger", "ledger")
    warehouse_owner = production.url("warehouse", "warehouse")
    await migrate(ledger_owner)
    await Warehouse(load_settings(warehouse_url=warehouse_owner)).ensure()
    with psycopg.connect(warehouse_owner) as connection:
        connection.execute(
            "insert into quicksilver.fence (dataset, partition, holder) "
            " values ('used', '2024-01-01', 5000)"
        )
    settings = load_settings(warehouse_url=production.url("warehouse_settler", "warehouse"))
    for is_behind in (True, False):
        # Each as a process that starts: connections, statements, rights of its own.
        database = Database(production.url("ledger_service", "ledger"))
        await database.open()
        declared = Datasets(datasets=(), path=COMPOSE)
        ledger = Ledger(database, declared)
        assert await Alignment(ledger, Warehouse(settings)).run_once() is is_behind
        assert (
            await Settler(settings, ledger, cast("Any", None), Warehouse(settings)).run_once() == 0
        )
        await database.close()


async def test_a_missing_right_is_named(production: Production) -> None:
    owner = production.url("ledger", "ledger")
    await migrate(owner)
    with psycopg.connect(owner) as connection:
        connection.execute("revoke all on quicksilver.dispatcher from ledger_service")
    database = Database(production.url("ledger_service", "ledger"))
    await database.open()
    with pytest.raises(LedgerRightsError, match=r"permission denied.*roles\.sql"):
        await Ledger(database, Datasets(datasets=(), path=COMPOSE)).upkeep.beat("one")
    await database.close()
    with psycopg.connect(owner) as connection:
        connection.execute(
            "grant select, insert, update, delete on quicksilver.dispatcher to ledger_service"
        )


async def test_the_settler_decides_and_reads_no_trip(production: Production) -> None:
    owner = production.url("warehouse", "warehouse")
    settler = production.url("warehouse_settler", "warehouse")
    reader = production.url("warehouse_reader", "warehouse")
    await Warehouse(load_settings(warehouse_url=owner)).ensure()
    with psycopg.connect(owner) as connection:
        connection.execute("create table silver.yellow_trips (dt date)")
        connection.execute("create table gold.daily_revenue (dt date)")
        connection.execute("create table bronze.yellow_tripdata (dt date)")
    partition = Partition.of_day("nyc_tlc.yellow_tripdata", date(2024, 1, 1))
    with psycopg.connect(owner, application_name="quicksilver build 7") as zombie:
        assert await Warehouse(load_settings(warehouse_url=settler)).revoke(partition, 7) is None
        with pytest.raises(psycopg.OperationalError):
            zombie.execute("select 1")
    with psycopg.connect(owner, row_factory=cast("Any", dict_row)) as connection:
        row = connection.execute(
            "select holder, is_revoked from quicksilver.fence where dataset = %s",
            (partition.dataset,),
        ).fetchone()
        assert row == {"holder": 7, "is_revoked": True}
    for statement in (
        "select * from silver.yellow_trips",
        "select * from bronze.yellow_tripdata",
        "delete from quicksilver.publication",
        "create table quicksilver.mine (a int)",
    ):
        assert denied(settler, statement), statement
    assert not denied(reader, "select * from silver.yellow_trips")
    assert not denied(reader, "select * from gold.daily_revenue")
    for statement in (
        "insert into gold.daily_revenue values ('2024-01-01')",
        "select * from bronze.yellow_tripdata",
        "select * from quicksilver.fence",
    ):
        assert denied(reader, statement), statement


def run_script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(COMPOSE / name), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_the_ledger_is_backed_up_and_restored(production: Production, tmp_path: Path) -> None:
    owner, service = production.url("ledger", "ledger"), production.url("ledger_service", "ledger")
    await migrate(owner)
    libpq = production.libpq("ledger", "ledger")
    (tmp_path / "password").write_text(libpq.pop("PGPASSWORD"))
    libpq["PGPASSWORD_FILE"] = str(tmp_path / "password")
    folder = tmp_path / "backups"
    second = record(object={"key": KEY.replace("01-01", "02-01")})
    async with serving(service) as receiver:
        await receiver.post("/events/minio", encoded({"Records": [record()]}), **BEARER)
        before = receiver.rows("select id, key, reason from quicksilver.event order by id")
        done = run_script("backup.sh", str(folder), **libpq)
        assert done.returncode == 0, done.stderr
        file = done.stdout.strip()
        (dump,) = folder.iterdir()
        assert (str(dump), dump.stat().st_mode & 0o077) == (file, 0)
        await receiver.post("/events/minio", encoded({"Records": [second]}), **BEARER)
        busy = run_script("restore.sh", file, "--yes", **libpq)
        assert busy.returncode == 1
        assert "stop it first" in busy.stderr
    hasty = run_script("restore.sh", file, **libpq)
    assert hasty.returncode == 2
    (tmp_path / "half.dump").write_bytes(dump.read_bytes()[:3000])
    broken = run_script("restore.sh", str(tmp_path / "half.dump"), "--yes", **libpq)
    assert broken.returncode != 0
    with psycopg.connect(owner, row_factory=cast("Any", dict_row)) as connection:
        rows = connection.execute("select key from quicksilver.event").fetchall()
        assert len(rows) == len(before) + 1, "a backup that is cut short changes nothing"
    done = run_script("restore.sh", file, "--yes", **libpq)
    assert done.returncode == 0, done.stderr
    # Its own role works on, ids go on rising, and what is new is taken.
    async with serving(service) as receiver:
        ids = receiver.rows("select id, key, reason from quicksilver.event order by id")
        assert ids == before
        answer = await receiver.post("/events/minio", encoded({"Records": [second]}), **BEARER)
        assert answer.text == "settling\n"
    assert await migrate(owner) == []


def test_old_backups_make_room(production: Production, tmp_path: Path) -> None:
    asyncio.run(migrate(production.url("ledger", "ledger")))
    for day in range(1, 6):
        (tmp_path / f"ledger-2026010{day}T000000Z.dump").touch()
    (tmp_path / "notes.txt").touch()
    done = run_script("backup.sh", str(tmp_path), "3", **production.libpq("ledger", "ledger"))
    assert done.returncode == 0, done.stderr
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept[:2] == ["ledger-20260104T000000Z.dump", "ledger-20260105T000000Z.dump"]
    assert kept[-1] == "notes.txt"
    assert len(kept) == 4


def test_the_policies_name_what_the_datasets_declare() -> None:
    from quicksilver.domain.datasets import load_datasets

    for file in ("minio-policy.json", "minio-policy-ingest.json"):
        policy = json.loads((COMPOSE / file).read_text())
        resources = [r for s in policy["Statement"] for r in _list(s["Resource"])]
        for dataset in load_datasets(PROJECT / "datasets.yaml").datasets:
            assert f"arn:aws:s3:::{dataset.bucket}/bronze/*" in resources
            assert dataset.key.startswith("bronze/")
        assert not any("*" in action for s in policy["Statement"] for action in _list(s["Action"]))


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
