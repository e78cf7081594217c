"""`python -m tests.upgrade`: what this version leaves behind when it is stopped amid its work.

A real stack is brought into every state that an upgrade can meet, then ledger and warehouse are
dumped into a folder of the version's name, for `tests/integration/test_upgrade.py` of all later
versions. Done once for each release; docs/upgrading.md says when.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import psycopg
import pyarrow.parquet as pq
from psycopg.conninfo import conninfo_to_dict

from quicksilver.flows.nyc_tlc.generated import Flaws, generate_month
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings
from quicksilver.stack import EmbeddedStack
from quicksilver.stack.initialise import initialise_child
from quicksilver.stack.postgres import BINARIES
from tests.chaos.faults import runs_below
from tests.support.waiting import until
from tests.upgrade import BUCKET, FOLDER, ROWS, declared, key_of

# What follows must not happen before the dump: nothing is given up, swept or tried again.
_PATIENT = {
    "QUICKSILVER_MAX_RUNNING": "2",
    "QUICKSILVER_ABANDON_GRACE": "3600",
    "QUICKSILVER_START_DEADLINE": "3600",
    "QUICKSILVER_SWEEP_INTERVAL": "3600",
    "QUICKSILVER_CANARY_INTERVAL": "0",
}


def main() -> int:
    """Make the snapshot of the installed version."""
    target = FOLDER / version("quicksilver")
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="qs-upgrade-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        datasets = folder / "datasets.yaml"
        datasets.write_text(declared(attempts=1), encoding="utf-8")
        os.environ |= {
            **_PATIENT,
            "QUICKSILVER_DATASETS": str(datasets),
        }
        stack = EmbeddedStack(folder / "home", ports=None, after_servers=[initialise_child])
        with stack:
            _work(stack)
            stack.supervisor.stop_program("service")
            for database in ("ledger", "warehouse"):
                text = _dump(stack.home.database_url(database))
                (target / f"{database}.sql").write_text(text, encoding="utf-8")
                print(f"{target / database}.sql: {len(text):,} characters")
    return 0


def _work(stack: EmbeddedStack) -> None:
    """Built (twice one of them), failed, running, dispatched, pending; quarantine."""
    env = stack.environment()
    lake = minio_client(Settings(**cast("Any", env)))

    def put(month: int, seed: int = 0, body: bytes = b"") -> None:
        sink = BytesIO(body)
        if not body:
            flaws = Flaws(negative_total=2)
            pq.write_table(generate_month(2024, month, ROWS, seed, flaws=flaws), sink)
        size = len(sink.getvalue())
        sink.seek(0)
        lake.put_object(BUCKET, key_of(month), sink, size)

    def reach(month: int, state: str, generation: int = 1) -> None:
        def ask() -> bool:
            with psycopg.connect(env["QUICKSILVER_DATABASE_URL"]) as ledger:
                return bool(
                    ledger.execute(
                        "select 1 from quicksilver.partition as p left join quicksilver.build as b"
                        " on (p.dataset, p.dt) = (b.dataset, b.dt) and b.finished_at is null"
                        " where extract(month from p.dt) = %s and p.generation = %s"
                        " and coalesce(b.state, p.state) = %s",
                        (month, generation, state),
                    ).fetchone()
                )

        until(ask, f"month {month} {state}", within=180)
        print(f"month {month}, generation {generation}: {state}")

    put(1)
    reach(1, "built")
    put(1, seed=1)
    put(2)
    reach(1, "built", 2)
    reach(2, "built")
    put(3, body=b"this is no parquet")
    reach(3, "failed")
    for path, body in (("/events/minio", b"no event"), ("/events/minio", b'{"Records": [{}]}')):
        answer = httpx.post(
            env["QUICKSILVER_URL"] + path,
            content=body,
            headers={"authorization": f"Bearer {env['QUICKSILVER_WEBHOOK_TOKENS'].split(',')[0]}"},
        )
        assert answer.text.startswith("quarantined"), answer.text
    put(4)
    reach(4, "running")
    # It neither ends nor says that it was ended, as when its host's power goes.
    for run in runs_below(stack.supervisor.pid):
        psutil.Process(run).suspend()
    stack.supervisor.stop_program("worker")
    put(5)
    reach(5, "dispatched")
    put(6)
    # Ready, and there is no slot.
    reach(6, "pending")


def _dump(url: str) -> str:
    """Schema and rows as plain SQL for any client, without comments and psql's commands."""
    where = conninfo_to_dict(url)
    done = subprocess.run(
        [
            *(str(BINARIES / "pg_dump"), "--rows-per-insert=50", "--no-owner", "--no-privileges"),
            *("--no-comments", "--host", str(where["host"]), "--port", str(where["port"])),
            *("--username", str(where["user"]), str(where["dbname"])),
        ],
        env={**os.environ, "PGPASSWORD": str(where["password"])},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if not re.match(r"--|\\|\s*$", line)]
    # Of newer servers than the oldest that is supported.
    return "\n".join(line for line in lines if "transaction_timeout" not in line) + "\n"


if __name__ == "__main__":
    sys.exit(main())
