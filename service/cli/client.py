"""The operators' API as the commands call it: over the ledger itself, or a running service.

With QUICKSILVER_DATABASE_URL the API runs in this process, so that a command works while the
service is down; without it the service at QUICKSILVER_URL is asked, and a token is enough. Both are
the same routes, so that a command says the same either way.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import typer

from quicksilver.cli.shared import actor, opened_ledger
from quicksilver.errors import NotFoundError, QuicksilverError, ServiceUnavailableError
from quicksilver.settings import Settings, load_settings

R = TypeVar("R")

# A service that is away is noticed within that; one that lists bronze to answer may take longer.
_LIMITS = httpx.Timeout(600, connect=2)

# The exit code for each kind of answer.
_REFUSALS: dict[int, type[QuicksilverError]] = {404: NotFoundError, 503: ServiceUnavailableError}


@dataclass(frozen=True, slots=True)
class Api:
    """The API, ready to be asked."""

    client: httpx.AsyncClient

    async def get(self, path: str, **query: Any) -> Any:
        """A route's answer as JSON; query values that are None are left out.

        Raises:
            QuicksilverError: the API's refusal.
        """
        return await self._ask("GET", path, query)

    async def post(self, path: str, **query: Any) -> Any:
        """An action's answer; otherwise as `get`."""
        return await self._ask("POST", path, query)

    async def delete(self, path: str) -> Any:
        """A removal's answer; otherwise as `get`."""
        return await self._ask("DELETE", path, {})

    async def _ask(self, method: str, path: str, query: dict[str, Any]) -> Any:
        # `first` stands for `from`, which is a keyword in Python.
        given = {"from" if k == "first" else k: v for k, v in query.items() if v is not None}
        try:
            answer = await self.client.request(method, path, params=given)
        except httpx.HTTPError as error:
            said = str(error).strip() or type(error).__name__
            raise ServiceUnavailableError(
                f"{self.client.base_url} does not answer ({said}): start it with `quicksilver"
                " serve`, set QUICKSILVER_URL, or give QUICKSILVER_DATABASE_URL"
            ) from error
        if answer.is_error:
            raise _refusal(answer)
        return answer.json()


def _refusal(answer: httpx.Response) -> Exception:
    detail: Any = answer.text or answer.status_code
    if "json" in answer.headers.get("content-type", ""):
        detail = answer.json().get("detail", detail)
    if isinstance(detail, list):
        first: dict[str, Any] = detail[0]
        return typer.BadParameter(f"{first['loc'][-1]}: {first['msg']}")
    if answer.status_code == 401:
        detail = f"{detail}; set QUICKSILVER_OPERATOR_TOKENS to one that the service accepts"
    return _REFUSALS.get(answer.status_code, QuicksilverError)(str(detail))


def partition_path(dataset: str, name: str, action: str = "") -> str:
    """The route of a partition, or of something about it."""
    path = f"/api/partitions/{quote(dataset, safe='')}/{quote(name, safe='/=')}"
    return f"{path}/{action}" if action else path


@asynccontextmanager
async def opened_api(settings: Settings) -> AsyncGenerator[Api]:
    """The API over the ledger where its database is known, over the service otherwise."""
    if settings.database_url.get_secret_value():
        from quicksilver.cli.local import local_api

        async with (
            opened_ledger(settings) as ledger,
            local_api(settings, ledger, actor()) as transport,
            httpx.AsyncClient(transport=transport, base_url="http://ledger") as own,
        ):
            yield Api(own)
        return
    tokens = settings.operator_tokens or settings.viewer_tokens
    headers = {"Authorization": f"Bearer {tokens[0].get_secret_value()}"} if tokens else {}
    async with httpx.AsyncClient(
        base_url=settings.url, headers=headers, timeout=_LIMITS, trust_env=False
    ) as client:
        yield Api(client)


def with_api(work: Callable[[Settings, Api], Awaitable[R]]) -> R:
    """Run `work` with the API that the settings lead to."""

    async def run() -> R:
        settings = load_settings()
        async with opened_api(settings) as api:
            return await work(settings, api)

    return asyncio.run(run())


def get(path: str, **query: Any) -> Any:
    """One answer of the API, for a command that needs only one."""
    return with_api(lambda _, api: api.get(path, **query))


def post(path: str, **query: Any) -> Any:
    """The answer to one action."""
    return with_api(lambda _, api: api.post(path, **query))


def delete(path: str) -> Any:
    """The answer to one removal."""
    return with_api(lambda _, api: api.delete(path))
