"""Every bad input against one real service process; afterwards it serves as if nothing had been."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from quicksilver.stack.ports import choose_port
from tests.support.bad_input import HUNG_UP, BadInput
from tests.support.checkout import PROJECT
from tests.support.corpus import CORPUS
from tests.support.payloads import PREFIX, notification, record
from tests.support.servers import Postgres
from tests.support.serving import (
    DURABLE_TOKEN,
    FAST_TOKEN,
    OPERATOR_TOKEN,
    Client,
    rows,
)
from tests.support.waiting import until

# What the process may grow by over the whole corpus; it is a quarter of it, kept by Python's heap.
GROWTH = 96 * 1024 * 1024


@dataclass(frozen=True)
class Target:
    """The process under test."""

    client: Client
    process: psutil.Process
    database_url: str
    memory: int


@pytest.fixture(scope="module")
def target(
    stack_postgres: Postgres, ledger_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """`quicksilver serve`, as a receiver only."""
    url = stack_postgres.create_database("corpus", "ledger", ledger_template)
    port = choose_port(None)
    log = tmp_path_factory.mktemp("corpus") / "service.log"
    environment = {
        **os.environ,
        "QUICKSILVER_DATABASE_URL": url,
        "QUICKSILVER_PORT": str(port),
        "QUICKSILVER_ROLES": "receiver",
        "QUICKSILVER_WEBHOOK_TOKENS": f"{FAST_TOKEN},{DURABLE_TOKEN}",
        "QUICKSILVER_OPERATOR_TOKENS": OPERATOR_TOKEN,
        "QUICKSILVER_BODY_SECONDS": "1",
        "QUICKSILVER_HEAD_SECONDS": "1",
        "QUICKSILVER_LOG_FORMAT": "json",
        "MINIO_ENDPOINT_URL": "http://127.0.0.1:9",
        "MINIO_ACCESS_KEY": "nobody",
        "MINIO_SECRET_KEY": "nothing",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
    }
    command = [sys.executable, "-m", "quicksilver.cli.main", "serve"]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env=environment, cwd=PROJECT, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        client = Client(port)
        try:
            until(
                lambda: answers(client) or process.poll() is not None,
                "the service starts",
                within=120,
            )
            assert process.poll() is None, log.read_text()
            running = psutil.Process(process.pid)
            yield Target(client, running, url, running.memory_info().rss)
            assert process.poll() is None, log.read_text()[-5000:]
        finally:
            process.terminate()
            process.wait(30)
    stack_postgres.drop_database("corpus")
    check_log(log)


def answers(client: Client) -> bool:
    try:
        return client.request("GET", "/healthz").status == 200
    except (OSError, http.client.HTTPException):
        return False


def check_log(log: Path) -> None:
    """Nothing broke inside, and nothing secret was written."""
    text = log.read_text(encoding="utf-8", errors="replace")
    for sign in ("Traceback", "Exception in ASGI", FAST_TOKEN, OPERATOR_TOKEN):
        assert sign not in text, text[max(0, text.find(sign) - 500) :][:3000]


def test_the_corpus_is_large_and_each_name_is_its_own() -> None:
    assert len(CORPUS) >= 120
    assert len({bad.name for bad in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("bad", CORPUS, ids=[bad.name for bad in CORPUS])
def test_bad_input(target: Target, bad: BadInput) -> None:
    try:
        answer = bad.say(target.client)
        status = answer.status if answer else None
    except (http.client.HTTPException, ConnectionError):
        answer, status = None, HUNG_UP
    if status is not None:
        assert status < 500
        assert status in bad.statuses, answer
    if bad.text is not None:
        assert answer is not None
        assert answer.text == bad.text
    if bad.key is not None:
        found = rows(
            target.database_url, "select reason from quicksilver.event where key = %s", bad.key
        )
        assert [row["reason"] for row in found] == [bad.text]


def test_afterwards_a_good_event_is_recorded_at_once(target: Target) -> None:
    body = notification(record(f"{PREFIX}2024-07-01/good.parquet"))
    started = time.monotonic()
    for lane, text in (("fast", "settling"), ("durable", "duplicate")):
        answer = target.client.post(body, lane=lane)
        assert (answer.status, answer.text) == (200, text)
    assert time.monotonic() - started < 5


def test_afterwards_memory_is_bounded_and_nothing_is_left_open(target: Target) -> None:
    grown = target.process.memory_info().rss - target.memory
    assert grown < GROWTH, f"grown by {grown / 2**20:.0f} MiB"

    def connections() -> int:
        return sum(
            c.status == psutil.CONN_ESTABLISHED and c.laddr.port == target.client.port
            for c in target.process.net_connections("tcp")
        )

    until(lambda: connections() == 0, "every connection of the corpus is closed", within=60)


def test_afterwards_only_wellformed_partitions_are_dirty(target: Target) -> None:
    found = rows(target.database_url, "select distinct state from quicksilver.partition")
    assert {row["state"] for row in found} <= {"pending", "built"}
    held = rows(
        target.database_url,
        "select count(*) as n, sum(length(body)) as bytes from quicksilver.quarantine",
    )
    assert 0 < held[0]["n"] <= 1000
    assert held[0]["bytes"] <= 64 * 1024 * 1024
