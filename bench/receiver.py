"""Events accepted durably per second by one process, beside the same web server storing nothing.

Three servers run side by side on ports of their own and are loaded in turn; the stored events go
to a ledger of their own, so that the stack's service has nothing to do meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import httpx
import psutil
import psycopg

from bench.report import Figure, Outcome, median
from bench.stage import BenchStage
from quicksilver.stack.ports import choose_port
from quicksilver.support.http import local_http_client
from tests.support.checkout import PROJECT
from tests.support.waiting import until

_KINDS = ("stored", "parsed", "bare")
_ROUNDS, _SECONDS, _PACED_SECONDS = 3, 4.0, 10.0
_DATABASE = "bench_receiver"


def measure(stage: BenchStage) -> Outcome:
    """Load the three servers in turn, then the storing one at half of what it took."""
    rounds = 1 if stage.quick else _ROUNDS
    seconds = 2.0 if stage.quick else _SECONDS
    home = stage.stack.home
    with psycopg.connect(home.database_url("postgres", admin=True), autocommit=True) as admin:
        admin.execute(f"drop database if exists {_DATABASE} with (force)".encode())
        admin.execute(f"create database {_DATABASE} owner ledger".encode())
    url = home.database_url("ledger").rpartition("/")[0] + f"/{_DATABASE}"
    found: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        pids: dict[str, int] = {}
        for kind in _KINDS:
            ports[kind], pids[kind] = stack.enter_context(serving(stage, kind, url))
            _load(stage, ports[kind], 1.0, seed=1 + len(ports))
        before = _memory(pids["stored"])
        for number in range(rounds):
            for kind in _KINDS:
                one = _load(stage, ports[kind], seconds, seed=10 + number)
                found[kind].append(one["per_second"])
        half = median(found["stored"]) / 2
        paced = _load(
            stage, ports["stored"], 3.0 if stage.quick else _PACED_SECONDS, rate=half, seed=30
        )
        after = _memory(pids["stored"])
        stored_rows = _count(url)
    stored, parsed, bare = (median(found[kind]) for kind in _KINDS)
    figures = [
        Figure(
            "events accepted durably, one process", stored, "events/s", "≥ 75 % of (d)",
            stored >= 0.75 * parsed, "(d) same server, nothing stored", parsed, stored / parsed,
            rounds,
        ),
        Figure(
            "events accepted durably, one process", stored, "events/s", "", None,
            "web server that only reads and answers", bare, stored / bare, rounds,
        ),
        Figure(
            "p99 at half that load", paced["p99_ms"], "ms", "≤ 25 ms", paced["p99_ms"] <= 25,
            samples=int(paced["answered"]),
        ),
    ]  # fmt: skip
    raw = {
        "per_second": found,
        "paced": paced,
        "stored_rows": stored_rows,
        "memory_mb_before": before,
        "memory_mb_after": after,
    }
    return Outcome(figures, raw)


@contextmanager
def serving(stage: BenchStage, kind: str, url: str) -> Generator[tuple[int, int]]:
    port = choose_port(None)
    log = stage.stack.home.logs / f"bench-receiver-{kind}.log"
    environment = {
        **os.environ,
        **stage.env,
        "QUICKSILVER_DATABASE_URL": url,
        "QUICKSILVER_ROLES": "receiver",
        "QUICKSILVER_PORT": str(port),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.receiver_server", kind],
            env=environment,
            cwd=PROJECT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: _answers(port, process), f"the {kind} receiver", every=0.1)
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"a receiver ended with {process.returncode}")
    try:
        local_http_client().get(f"http://127.0.0.1:{port}/healthz", timeout=2)
    except httpx.HTTPError:
        return False
    return True


def _load(
    stage: BenchStage, port: int, seconds: float, *, seed: int, rate: float = 0.0
) -> dict[str, float]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench.load", "--port", str(port)),
            *("--token", stage.settings.webhook_tokens[0].get_secret_value()),
            *("--seconds", str(seconds), "--rate", str(rate), "--seed", str(seed)),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    )
    found: dict[str, float] = json.loads(done.stdout)
    if found["errors"]:
        raise RuntimeError(f"{found['errors']:.0f} events were refused: {found}")
    return found


def _memory(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20


def _count(url: str) -> int:
    with psycopg.connect(url) as ledger:
        row = ledger.execute("select count(*) from quicksilver.event").fetchone()
    return int(row[0]) if row else 0
