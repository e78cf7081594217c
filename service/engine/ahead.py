"""What a child does before it knows its run: it opens Prefect's client in the run's own loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import httpx
from prefect.context import AsyncClientContext

# Seconds; Prefect's client would try again for much longer.
_PATIENCE = 2.0


class OpenedClient:
    """A client with its connection and its CSRF token, for the first coroutine that is run.

    Prefect's engine runs an async flow with `asyncio.run`, and takes the client of the context if
    that belongs to the running loop. A sync flow's engine has another kind of client and does not
    use this loop.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._opened = self._runner.run(_opened())

    def lend(self) -> None:
        """Give client and loop to the next `asyncio.run`, which from then on is its own again."""
        stock = asyncio.run

        def run(main: Coroutine[Any, Any, Any], *, debug: bool | None = None) -> Any:
            asyncio.run = stock
            if debug is not None:
                return stock(main, debug=debug)
            context = contextvars.copy_context()
            context.run(AsyncClientContext.__var__.set, self._opened)
            with self._runner as runner:
                return runner.run(main, context=context)

        asyncio.run = run


async def _opened() -> AsyncClientContext:
    opened = AsyncClientContext()
    client = await opened.client.__aenter__()
    async with asyncio.timeout(_PATIENCE):
        # What its first change would ask for; no public call asks for it alone.
        http = client._client  # pyright: ignore[reportPrivateUsage]
        change = httpx.Request("POST", str(client.api_url))
        await http._add_csrf_headers(change)  # pyright: ignore[reportPrivateUsage]
    return opened


def opened_client() -> OpenedClient | None:
    """The client, or None when Prefect does not answer: the run will then try itself."""
    try:
        return OpenedClient()
    except (httpx.HTTPError, OSError, RuntimeError, ValueError):
        return None
