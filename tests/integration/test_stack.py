"""The embedded stack: what it starts, how it keeps it running, and that nothing outlives it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import psycopg
import pytest
from minio import Minio
from minio.error import S3Error
from minio.notificationconfig import NotificationConfig, QueueConfig

from quicksilver.settings import Settings, load_settings
from quicksilver.stack import (
    EmbeddedStack,
    Home,
    Program,
    StackError,
    StackNotRunningError,
    StackRunningError,
    down,
    environment,
    shell_lines,
)
from quicksilver.stack.ports import LOOPBACK
from quicksilver.stack.state import load_credentials, load_running
from tests.support.servers import HOMES
from tests.support.stack_up import Up, await_end, family
from tests.support.waiting import until

SERVERS = {"postgres", "minio"}


def minio_client(home: Home) -> Minio:
    own = home.credentials
    address = home.store_url.removeprefix("http://")
    return Minio(address, own.minio_user, own.minio_password, secure=False)


@pytest.fixture(scope="module")
def folder() -> Path:
    """A home as awkward as they come: deep, private above, full of characters that mean much."""
    deep = HOMES / "it's 100%(here)s" / ("d" * 60) / ("e" * 60) / "home"
    deep.parent.mkdir(parents=True, mode=0o700)
    return deep


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(folder, parts=SERVERS, ports=None) as running:
        yield running
    assert not running.home.socket.parent.exists(), "the short folder for sockets stayed"


@pytest.fixture
def settings(folder: Path) -> Settings:
    return load_settings(home=folder)


class TestServers:
    """One stack of Postgres and MinIO for all of these."""

    def test_postgres_is_durable_and_has_its_databases(self, stack: EmbeddedStack) -> None:
        url = stack.home.database_url("postgres", admin=True)
        with psycopg.connect(url) as admin:
            shown = {
                name: admin.execute(f"show {name}").fetchone()
                for name in ("fsync", "synchronous_commit", "max_connections", "timezone")
            }
            databases = admin.execute("select datname from pg_database").fetchall()
        assert shown == {
            "fsync": ("on",),
            "synchronous_commit": ("on",),
            "max_connections": ("200",),
            "timezone": ("UTC",),
        }
        assert {"prefect", "ledger", "warehouse"} <= {name for (name,) in databases}
        with psycopg.connect(stack.home.database_url("prefect")) as connection:
            found = connection.execute("select similarity('silver', 'silber')").fetchone()
        assert found is not None

    def test_a_role_reaches_its_own_database_alone(self, stack: EmbeddedStack) -> None:
        own = stack.home.database_url("ledger")
        with psycopg.connect(own) as connection:
            connection.execute("create schema if not exists mine")
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(f"{own.removesuffix('/ledger')}/warehouse").close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(own.replace(stack.home.credentials.ledger_password, "postgres")).close()

    def test_no_credential_is_a_default_or_used_twice(self, stack: EmbeddedStack) -> None:
        own = stack.home.credentials
        secrets = [
            value for name, value in own if name.endswith(("_password", "_token", "stack_id"))
        ]
        assert len(set(secrets)) == len(secrets) >= 9
        assert all(len(secret) >= 16 for secret in secrets)
        address = stack.home.store_url.removeprefix("http://")
        with pytest.raises(S3Error):
            Minio(address, "minioadmin", "minioadmin", secure=False).list_buckets()

    def test_what_is_written_is_private(self, stack: EmbeddedStack, folder: Path) -> None:
        checked = 0
        for path in folder.rglob("*"):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                assert not mode & 0o077, f"{path} has mode {stat.filemode(mode)}"
                checked += 1
        assert (folder / "credentials.json").exists()
        assert checked > 10

    def test_no_secret_is_in_a_command_line(self, stack: EmbeddedStack) -> None:
        lines = " ".join(" ".join(p.cmdline()) for p in family(stack.supervisor.pid))
        own = stack.home.credentials
        assert "minio" in lines
        assert not [
            name for name, value in own if name not in ("ports", "store") and value in lines
        ]

    def test_everything_listens_on_loopback_alone(self, stack: EmbeddedStack) -> None:
        listening = [
            connection.laddr.ip
            for process in family(stack.supervisor.pid)
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert LOOPBACK in listening
        assert set(listening) <= {LOOPBACK, "::1"}

    def test_postgres_is_never_root(self, stack: EmbeddedStack) -> None:
        process = psutil.Process(stack.supervisor.status("postgres").pid)
        assert process.uids().effective != 0
        assert process.exe().endswith("postgres")

    def test_a_killed_minio_comes_back_with_its_data(self, stack: EmbeddedStack) -> None:
        client = minio_client(stack.home)
        client.make_bucket("kept")
        before = stack.supervisor.status("minio").pid
        psutil.Process(before).kill()

        def restarted() -> bool:
            status = stack.supervisor.status("minio")
            return status.pid not in (0, before) and client.bucket_exists("kept")

        until(restarted, "MinIO is back", despite=(Exception,))

    def test_a_killed_postgres_comes_back(self, stack: EmbeddedStack) -> None:
        before = stack.supervisor.status("postgres").pid
        psutil.Process(before).kill()

        def restarted() -> bool:
            with psycopg.connect(stack.home.database_url("ledger"), connect_timeout=1):
                return stack.supervisor.status("postgres").pid not in (0, before)

        until(restarted, "Postgres is back", despite=(Exception,))

    def test_a_second_stack_in_the_home_is_refused(
        self, stack: EmbeddedStack, folder: Path
    ) -> None:
        with pytest.raises(StackRunningError, match=rf"process {os.getpid()}.*quicksilver down"):
            EmbeddedStack(folder, parts=SERVERS, ports=None).start()
        assert stack.supervisor.is_alive()
        assert load_running(folder) is not None

    def test_env_can_be_read_by_a_shell(self, stack: EmbeddedStack, settings: Settings) -> None:
        variables = environment(settings)
        tell = "import os, json; print(json.dumps(dict(os.environ)))"
        script = f"{shell_lines(variables)}\nexec {shlex.join([sys.executable, '-c', tell])}"
        printed = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout
        seen: dict[str, str] = json.loads(printed)
        assert {name: seen[name] for name in variables} == variables
        assert "'" in variables["QUICKSILVER_HOME"]
        # The names are those that the settings read.
        loaded = Settings.model_validate(variables)
        assert loaded.database_url.get_secret_value() == stack.home.database_url("ledger")
        assert len(loaded.webhook_tokens) == 2

    def test_both_lanes_reach_the_service_with_their_tokens(self, stack: EmbeddedStack) -> None:
        received: list[tuple[str, str]] = []

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, self.headers["Authorization"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        own = stack.home.credentials
        client = minio_client(stack.home)
        client.make_bucket("lanes")
        with ThreadingHTTPServer((LOOPBACK, stack.home.port("service")), Receiver) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            client.set_bucket_notification(
                "lanes",
                NotificationConfig(
                    queue_config_list=[
                        QueueConfig(
                            ["s3:ObjectCreated:*"],
                            config_id=lane,
                            queue=f"arn:minio:sqs::QUICKSILVER_{lane}:webhook",
                        )
                        for lane in ("FAST", "DURABLE")
                    ]
                ),
            )
            with (Path(__file__)).open("rb") as data:
                client.put_object("lanes", "object", data, Path(__file__).stat().st_size)
            until(lambda: len(received) >= 2, "both lanes deliver")
            server.shutdown()
        assert set(received) == {
            ("/events/minio?lane=fast", f"Bearer {own.fast_token}"),
            ("/events/minio?lane=durable", f"Bearer {own.durable_token}"),
        }


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., Up]]:
    """Start `quicksilver up` in a fresh home (or a given one); ended with the test."""
    started: list[Up] = []

    def launch(folder: Path | None = None, parts: Collection[str] = SERVERS) -> Up:
        name = f"up-{request.node.name[:40]}"
        started.append(Up(folder or HOMES / name, parts))
        return started[-1]

    yield launch
    for up in started:
        up.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything(start: Callable[..., Up], number: signal.Signals) -> None:
    up = start()
    up.ready()
    processes = family(up.process.pid)
    assert len(processes) > 4
    # Twice: an impatient second Ctrl-C must not cut the orderly stop short.
    up.process.send_signal(number)
    time.sleep(0.2)
    up.process.send_signal(number)
    assert up.process.wait(40) == 0, up.said()
    await_end(processes, 0)
    assert "database system is shut down" in (up.folder / "logs" / "postgres.log").read_text()
    assert not (up.folder / "run" / "running.json").exists()
    assert not (up.folder / "run" / "tmp").exists()
    with pytest.raises(StackNotRunningError, match="quicksilver up"):
        environment(load_settings(home=up.folder))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
@pytest.mark.parametrize(
    "victims",
    [("up",), ("guardian",), ("supervisor",), ("up", "supervisor"), ("up", "guardian")],
    ids=" and ".join,
)
def test_a_kill_leaves_nothing(start: Callable[..., Up], victims: tuple[str, ...]) -> None:
    up = start()
    up.ready()
    processes = family(up.process.pid)
    known = {"up": up.process, "guardian": up.guardian, "supervisor": up.supervisor}
    for victim in victims:
        known[victim].kill()
    if "up" not in victims:
        assert up.process.wait(40) == 1
        assert "the supervisor ended" in up.said()
    up.process.wait(40)
    await_end(processes)
    # And the home is fit for the next start.
    again = start(up.folder)
    again.ready()
    assert down(load_settings(home=up.folder))
    assert again.process.wait(40) == 0


def test_down_stops_it_from_elsewhere_and_a_restart_keeps_everything(
    start: Callable[..., Up],
) -> None:
    up = start()
    before = up.ready()
    with psycopg.connect(before["QUICKSILVER_DATABASE_URL"]) as connection:
        connection.execute("create table kept as select 42 as answer")
    settings = load_settings(home=up.folder)
    processes = family(up.process.pid)
    assert down(settings)
    await_end(processes, 5)
    assert not down(settings)

    again = start(up.folder)
    assert again.ready() == before, "credentials and ports are those of the first start"
    with psycopg.connect(before["QUICKSILVER_DATABASE_URL"]) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)


def test_a_second_up_that_is_refused_harms_nothing(start: Callable[..., Up]) -> None:
    up = start()
    variables = up.ready()
    refused = start(up.folder)
    assert refused.process.wait(30) == 1
    assert "runs already" in refused.said()
    # Postgres opens files that it had not opened before, as its own account.
    with psycopg.connect(variables["QUICKSILVER_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("create table t as select g from generate_series(1, 1000) g")
    assert down(load_settings(home=up.folder))
    said = (up.folder / "logs" / "postgres.log").read_text()
    assert "PANIC" not in said
    assert "abnormal" not in said


def test_taken_ports_are_avoided(start: Callable[..., Up]) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        usual = {"postgres": port, "minio": port, "prefect": port, "service": port}
        with EmbeddedStack(HOMES / "ports", parts={"minio"}, ports=usual) as stack:
            found = stack.home.credentials.ports
    assert port not in found.values()
    assert len(set(found.values())) == 4


def test_a_part_that_does_not_start_is_named_with_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = HOMES / "broken"
    HOMES.joinpath("minio-that-fails").write_text("#!/bin/sh\necho no such drive\nexit 3\n")
    HOMES.joinpath("minio-that-fails").chmod(0o700)
    monkeypatch.setenv("MINIO_BIN", str(HOMES / "minio-that-fails"))
    with pytest.raises(StackError, match=r"(?s)minio ended while .*minio\.log:\n.*no such drive"):
        EmbeddedStack(folder, parts=SERVERS, ports=None).start()
    assert load_running(folder) is None
    assert not psutil.Process().children(recursive=True) or not _marked(folder)


def _marked(folder: Path) -> list[psutil.Process]:
    from quicksilver.stack.strays import find_strays

    return find_strays(folder)


def test_what_an_earlier_run_left_is_ended_and_nothing_else() -> None:
    folder = HOMES / "strays"
    with EmbeddedStack(folder, parts={"minio"}, ports=None) as stack:
        marked = stack.home.base_environment()
    sleep = ["sleep", "600"]
    left = subprocess.Popen(sleep, env=marked)
    other = subprocess.Popen(sleep)
    try:
        with EmbeddedStack(folder, parts={"minio"}, ports=None):
            assert left.wait(5) is not None
            assert other.poll() is None
    finally:
        left.kill()
        other.kill()
        left.wait()
        other.wait()


def test_a_further_program_is_supervised_and_an_optional_one_may_fail() -> None:
    said: list[str] = []

    def fails(_: Home) -> Program:
        return Program("fails", ("/bin/false",), ready=lambda: False, optional=True)

    def sleeps(home: Home) -> Program:
        return Program("sleeps", ("sleep", "600"), env=home.base_environment())

    extra = (fails, sleeps)
    with EmbeddedStack(HOMES / "extra", parts=(), ports=None, extra=extra, say=said.append) as s:
        program = psutil.Process(s.supervisor.status("sleeps").pid)
        until(lambda: program.cmdline() == ["sleep", "600"], "it has become the program")
    assert any("going on without fails" in line for line in said)


def test_lost_credentials_are_an_error_and_not_new_ones() -> None:
    folder = HOMES / "lost"
    with EmbeddedStack(folder, parts={"postgres"}, ports=None):
        pass
    (folder / "credentials.json").unlink()
    with pytest.raises(StackError, match=r"credentials\.json .*is gone"):
        EmbeddedStack(folder, parts={"postgres"}, ports=None).start()
    (folder / "credentials.json").write_text("{")
    with pytest.raises(StackError, match="cannot be read"):
        EmbeddedStack(folder, parts={"postgres"}, ports=None).start()
    shutil.rmtree(folder)


def test_a_home_that_never_ran_has_nothing_to_tell() -> None:
    settings = load_settings(home=HOMES / "never")
    assert not down(settings)
    with pytest.raises(StackNotRunningError, match="no stack runs in"):
        environment(settings)
    assert load_credentials(HOMES / "never") is None
    assert not (HOMES / "never").exists()
