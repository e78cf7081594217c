"""A real receiver over a fresh ledger, in this process."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
import psycopg
import uvicorn
from fastapi import FastAPI
from psycopg.rows import dict_row

from quicksilver.app import create_app
from quicksilver.domain.datasets import load_datasets
from quicksilver.intake.group_commit import Recorder
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.settings import load_settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.support.postgres import Database
from tests.support.checkout import PROJECT

TOKEN = "the-senders-token"
BEARER = {"authorization": f"Bearer {TOKEN}"}
BASIC = {"authorization": "Basic " + base64.b64encode(f"any:{TOKEN}".encode()).decode()}


@dataclass
class Receiver:
    """A served receiver over a fresh ledger."""

    url: str
    app: FastAPI
    ledger_url: str
    client: httpx.AsyncClient
    server: uvicorn.Server

    def stop(self) -> None:
        """Listen no more: connections are refused from now on."""
        for each in self.server.servers:
            each.close()

    async def post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        return await self.client.post(path, content=body, headers=headers)

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.ledger_url, row_factory=cast("Any", dict_row)) as connection:
            found = connection.execute(cast("Any", statement)).fetchall()
        return cast("list[dict[str, Any]]", found)

    def partition(self) -> dict[str, Any]:
        (row,) = self.rows("select partition, generation, state from quicksilver.partition")
        return row

    def events(self) -> list[dict[str, Any]]:
        return self.rows("select * from quicksilver.event order by id")


@asynccontextmanager
async def serving(
    ledger_url: str, *, port: int | None = None, bronze: Bronze | None = None, **settings: Any
) -> AsyncGenerator[Receiver]:
    """The application on a port of its own; no dispatcher, so the ledger stays as recorded."""
    port = port or choose_port(None)
    app = create_app(load_settings(database_url=ledger_url, webhook_tokens=TOKEN, **settings))
    database = Database(ledger_url)
    await database.open()
    ledger = Ledger(database, load_datasets(PROJECT / "datasets.yaml"))
    await ledger.upkeep.sync_datasets()
    app.state.ledger, app.state.recorder = ledger, Recorder(ledger)
    app.state.bronze = bronze
    server = uvicorn.Server(uvicorn.Config(app, LOOPBACK, port, lifespan="off", log_config=None))
    task = asyncio.create_task(server.serve())
    url = f"http://{LOOPBACK}:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            async with asyncio.timeout(20):
                while not server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
                    await asyncio.sleep(0.01)
            yield Receiver(url, app, ledger_url, client, server)
    finally:
        server.should_exit = True
        await task
        await app.state.recorder.close()
        await database.close()
