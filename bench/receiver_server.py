"""The receiver as a process of its own: `python -m bench.receiver_server stored|parsed|bare`.

`stored` is the service's receiver. `parsed` is the same application, whose recorder forgets: it
checks the token, reads, parses and answers. `bare` is the same web server with the same limits and
one route that checks the token, reads the body and answers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response

from quicksilver.app import create_app, running
from quicksilver.cli.serve import keep_out_of_collections
from quicksilver.domain.arrival import Arrival
from quicksilver.domain.datasets import load_datasets
from quicksilver.settings import Settings, load_settings
from quicksilver.support.log import configure_logging
from quicksilver.web.body import read_body
from quicksilver.web.events import answer, reject_unless_authorized
from quicksilver.web.server import server_config


class _Forgetful:
    """A recorder that records nothing."""

    async def record(self, arrivals: Sequence[Arrival]) -> list[str]:
        return ["fired"] * len(arrivals)


@asynccontextmanager
async def _forgetting(app: FastAPI, settings: Settings) -> AsyncGenerator[None]:
    app.state.ledger = SimpleNamespace(datasets=load_datasets(settings.datasets_file))
    app.state.recorder = _Forgetful()
    yield


@asynccontextmanager
async def _nothing() -> AsyncGenerator[None]:
    yield


def _bare(settings: Settings) -> FastAPI:
    app = FastAPI()
    app.state.settings = settings

    async def receive(request: Request) -> Response:
        refused = reject_unless_authorized(request)
        if refused is not None:
            return refused
        await read_body(request, settings.body_limit)
        return answer(200, "read")

    app.add_api_route("/events/minio", receive, methods=["POST"], response_model=None)
    return app


async def main(kind: str) -> None:
    """Serve until SIGTERM."""
    settings = load_settings()
    configure_logging(settings.log_format)
    app = _bare(settings) if kind == "bare" else create_app(settings)
    context = {
        "stored": lambda: running(app),
        "parsed": lambda: _forgetting(app, settings),
        "bare": _nothing,
    }[kind]()
    async with context:
        keep_out_of_collections()
        await uvicorn.Server(server_config(app, settings)).serve()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
