"""A real stack in which incidents are played, and everything that tells people of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.stack import EmbeddedStack
from quicksilver.stack.initialise import initialise_child
from tests.support.checkout import PROJECT
from tests.support.full_stack import BUCKET, FullStack

TINY = "ux.tiny"
_TINY = f"""
  {TINY}:
    bucket: {BUCKET}
    key: ux/tiny/dt={{dt}}/{{file}}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.ux_tiny
    columns: {{id: {{kind: integer, required: true}}}}
"""

# What is told late in life, so that nobody is woken for nothing, is told a little sooner here.
_QUICK = {
    "QUICKSILVER_CANARY_INTERVAL": "10",
    "QUICKSILVER_SWEEP_INTERVAL": "15",
}

_TAG = re.compile(r"<(script|style|svg)\b.*?</\1>|<[^>]+>", re.DOTALL)

Say = Callable[[str], None]


@dataclass
class Inbox:
    """A webhook of somebody's own: what people were told, and when."""

    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def texts(self, since: float) -> list[str]:
        """Subject and body of what came since then."""
        return [f"{m['subject']}\n{m['body']}" for at, m in list(self.messages) if at >= since]


@dataclass
class Stage:
    """The stack, its home, and the inbox."""

    full: FullStack
    inbox: Inbox
    say: Say

    def stop(self, program: str) -> None:
        """Stop a program of the stack; it stays stopped."""
        self.full.stack.supervisor.stop_program(program)

    def start(self, program: str) -> None:
        """Start it again, and wait for it."""
        made = self.full.stack._programs[program]  # pyright: ignore[reportPrivateUsage]
        self.full.stack.supervisor.start(made)
        self.full.stack.supervisor.await_ready(made)

    def put(self, key: str, body: bytes) -> None:
        """Put an object."""
        self.full.minio.put_object(BUCKET, key, BytesIO(body), len(body))

    def remove(self, key: str) -> None:
        """Delete an object."""
        self.full.minio.remove_object(BUCKET, key)

    def page(self, path: str) -> str:
        """A page's words, a line a tag; of an error page too."""
        headers = {"Authorization": f"Bearer {self.full.env['QUICKSILVER_OPERATOR_TOKENS']}"}
        url = self.full.env["QUICKSILVER_URL"]
        answer = httpx.get(url + path, headers=headers, timeout=30, trust_env=False)
        return re.sub(r"\s*\n\s*", "\n", unescape(_TAG.sub("\n", answer.text)))

    def command(self, *words: str) -> str:
        """What a command of ours prints, whatever its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "quicksilver.cli.main", *words],
            env={**os.environ, **self.full.env, "COLUMNS": "400", "NO_COLOR": "1"},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    def is_calm(self) -> bool:
        """Whether every part answers, nothing is being built, and no alert of a part is open."""
        try:
            ready = httpx.get(self.full.env["QUICKSILVER_URL"] + "/readyz", trust_env=False)
            parts = json.loads(self.command("status", "--json"))["parts"]
            busy = self.full.ledger(
                "select from quicksilver.build where finished_at is null union all"
                " select from quicksilver.alert where cleared_at is null and kind <> 'failed'"
            )
        except (httpx.HTTPError, ValueError, KeyError, psycopg.Error):
            return False
        return ready.is_success and not busy and all(p["state"] != "trouble" for p in parts)


def tiny(names: tuple[str, ...] = ("id",), rows: int = 3) -> bytes:
    """A small parquet file with these columns of integers."""
    sink = BytesIO()
    pq.write_table(pa.table({name: list(range(rows)) for name in names}), sink)
    return sink.getvalue()


def mostly_refused(year: int, month: int, rows: int = 400) -> bytes:
    """A month of which 97.5 % have a negative total."""
    table = generate_month(year, month, rows, 0)
    totals = [9.5 if number % 40 == 0 else -1.0 for number in range(table.num_rows)]
    place = table.column_names.index("total_amount")
    sink = BytesIO()
    pq.write_table(table.set_column(place, "total_amount", pa.array(totals)), sink)
    return sink.getvalue()


@contextmanager
def listening() -> Generator[tuple[str, Inbox]]:
    """A webhook on a free port; its address, and what it gets."""
    inbox = Inbox()

    class Taken(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            inbox.messages.append((time.monotonic(), json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing: the table says it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taken)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", inbox
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def stage(say: Say) -> Generator[Stage]:
    """The whole embedded stack in a home of its own."""
    folder = Path(tempfile.mkdtemp(prefix="qs-incidents-"))
    home = folder / "home"
    home.mkdir(mode=0o700)
    folder.chmod(0o711)
    datasets = folder / "datasets.yaml"
    own = (PROJECT / "datasets.yaml").read_text(encoding="utf-8")
    datasets.write_text(own.replace("datasets:\n", f"datasets:\n{_TINY}", 1), encoding="utf-8")
    with listening() as (url, inbox):
        extra = {
            **_QUICK,
            "QUICKSILVER_DATASETS": str(datasets),
            "QUICKSILVER_NOTIFY_WEBHOOK_URL": url,
        }
        stack = EmbeddedStack(home, ports=None, after_servers=[initialise_child], say=say)
        try:
            with mock.patch.dict(os.environ, extra):
                stack.start()
                full = FullStack(stack, {**stack.environment(), **extra})
                yield Stage(full, inbox, say)
        finally:
            stack.stop()
            if "QUICKSILVER_INCIDENTS_KEEP" in os.environ:
                say(f"kept: {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
