"""The ledger's disk is full: 503 and nothing acknowledged, then recovery without a hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from quicksilver.stack.orchestrator import service_program
from quicksilver.support.http import local_http_client
from tests.chaos.stage import ChaosStage

Check = tuple[str, bool, str]
_NAME = "the ledger's disk full"
_SIZE = 48 * 1024 * 1024


@contextmanager
def _small_disk(owner: int) -> Generator[Path | None]:
    """A file system of 48 MB; None where none may be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="qs-disk-"))
    folder.chmod(0o711)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0711", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    try:
        if mounted.returncode:
            yield None
        else:
            space = folder / "space"
            space.mkdir(mode=0o700)
            os.chown(space, owner, -1)
            yield space
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def run_disk_full(stage: ChaosStage) -> list[Check]:
    """Move the ledger to a small disk, fill that, send events, make room again."""
    supervisor = stage.stack.supervisor
    owner = psutil.Process(supervisor.status("postgres").pid).uids().effective
    with _small_disk(owner) as space:
        if space is None:
            return [(_NAME, True, "NOT TRIED: this machine lets nobody mount a small volume")]
        _move(stage, space)
        try:
            return [_fill_and_recover(stage, space)]
        finally:
            # Before the volume goes: Postgres must not miss a tablespace when it stops.
            (space / "ballast").unlink(missing_ok=True)
            _move(stage, None)


def _move(stage: ChaosStage, space: Path | None) -> None:
    admin = stage.stack.home.database_url("postgres", admin=True)
    program = service_program(stage.stack.home)
    stage.stack.supervisor.stop_program("service")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'ledger'"
        )
        if space is not None:
            where = sql.Literal(str(space))
            connection.execute(sql.SQL("create tablespace small location {}").format(where))
            connection.execute("alter database ledger set tablespace small")
        else:
            connection.execute("alter database ledger set tablespace pg_default")
            connection.execute("drop tablespace small")
    stage.stack.supervisor.start(program)
    stage.stack.supervisor.await_ready(program)


def _fill_and_recover(stage: ChaosStage, space: Path) -> Check:
    ballast = space / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        except OSError:
            pass
    refused = [_post(stage, number) for number in range(400)]
    statuses = sorted(set(refused))
    accepted = refused.count(200)
    for number, dt in enumerate(stage.versions):
        # Told of to a full ledger; the durable lane keeps it.
        stage.put(dt, number)
    ballast.unlink()
    began = time.monotonic()
    # A pool that lost its connections to the full disk makes new ones by itself.
    while (after := _post(stage, 10_000)) != 200 and time.monotonic() - began < 60:
        time.sleep(0.5)
    well = stage.await_built(180)
    recorded = _recorded(stage) - 1
    good = 503 in statuses and set(statuses) <= {200, 503} and after == 200 and recorded == accepted
    note = (
        f"answers {', '.join(map(str, statuses))}: {refused.count(503)} refused, {accepted} taken"
        f" and {recorded} of them recorded; room again: {after} and all built after"
        f" {max(well, time.monotonic() - began):.1f} s"
    )
    return _NAME, good, note


def _recorded(stage: ChaosStage) -> int:
    statement = "select count(*) from quicksilver.event where key like 'elsewhere/%%'"
    return int(stage.ledger(statement)[0][0])


def _post(stage: ChaosStage, number: int) -> int:
    # A long key: the little room that is left in the tables' last pages is soon used up.
    thing = {"key": f"elsewhere/{number}/{'x' * 900}", "size": 1, "eTag": f"{number}"}
    record = {
        "eventName": "s3:ObjectCreated:Put",
        "s3": {"bucket": {"name": "datasets"}, "object": thing},
    }
    token = stage.env["QUICKSILVER_WEBHOOK_TOKENS"].split(",")[0]
    answer = local_http_client().post(
        f"{stage.env['QUICKSILVER_URL']}/events/minio",
        content=json.dumps({"Records": [record]}),
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )
    return answer.status_code
