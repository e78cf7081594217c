"""What Prefect's answers mean: a refusal, of a deployment's or of ours, or that it is away."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from quicksilver.errors import (
    DeploymentRefusedError,
    PrefectRefusedError,
    PrefectUnavailableError,
)

# Seconds for one question, with the client's own retries.
_ANSWER_WITHIN = 15.0

NOT_FOUND = 404
_SERVER_ERROR = 500

# Transient answers, beside those of class 5: request time-out, and too many requests.
_PASSING = {408, 429}


@asynccontextmanager
async def translated(what: str) -> AsyncGenerator[None]:
    """Translate the errors of one request to Prefect into ours, within a time limit."""
    try:
        # Prefect's client tries again by itself for a minute and more, pausing longer each time.
        # Cut short: our own next try begins as soon as Prefect is back.
        async with asyncio.timeout(_ANSWER_WITHIN):
            yield
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in _PASSING or status >= _SERVER_ERROR:
            raise PrefectUnavailableError(f"Prefect answered {status} to {what}") from error
        raise PrefectRefusedError(
            f"Prefect refused {what}: {status}: {_detail(error.response)}"
        ) from error
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        raise PrefectUnavailableError(
            f"Prefect did not answer ({what}): {type(error).__name__}: {error}"
        ) from error


@asynccontextmanager
async def of_deployment(name: str) -> AsyncGenerator[None]:
    """A refusal within the block concerns one deployment."""
    try:
        yield
    except DeploymentRefusedError:
        raise  # Already about a deployment.
    except PrefectRefusedError as error:
        raise DeploymentRefusedError(
            f"{error}. Correct deployment {name} in Prefect, or the dataset that names it"
        ) from error


def _detail(answer: httpx.Response) -> str:
    """What Prefect says of a refusal, on one line of bounded length."""
    try:
        body: Any = answer.json()
    except ValueError:
        body = answer.text
    said = cast("dict[str, Any]", body).get("detail", body) if isinstance(body, dict) else body
    return " ".join(str(said).split())[:500]
