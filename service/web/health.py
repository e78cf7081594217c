"""Alive, and ready: what a load balancer, a supervisor and an operator ask first."""

import asyncio

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from quicksilver.errors import LedgerUnavailableError
from quicksilver.web.access import require_operator
from quicksilver.web.ledger_metrics import LedgerMetrics

router = APIRouter(tags=["health"])

# A probe that hangs is a probe that fails.
_PATIENCE = 3.0


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "What is away, by name"}})
async def readyz(request: Request) -> Response:
    """Ledger and Prefect answer; 503 with the reason otherwise."""
    problems: dict[str, str] = {}
    try:
        async with asyncio.timeout(_PATIENCE):
            await request.app.state.ledger.upkeep.next_due()
    except (LedgerUnavailableError, TimeoutError) as error:
        problems["ledger"] = str(error) or f"no answer in {_PATIENCE:g} s"
    try:
        async with asyncio.timeout(_PATIENCE):
            problem = await request.app.state.deployments.is_healthy()
    except TimeoutError:
        problem = f"no answer in {_PATIENCE:g} s"
    if problem:
        problems["prefect"] = problem
    return JSONResponse(
        {"status": "unready" if problems else "ready", "problems": problems},
        503 if problems else 200,
    )


@router.get("/metrics", dependencies=[Depends(require_operator)], include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Prometheus' text format: this process's own numbers, then the ledger's."""
    of_ledger: LedgerMetrics = request.app.state.ledger_metrics
    await of_ledger.refresh(request.app.state.ledger)
    body = generate_latest() + generate_latest(of_ledger.registry)
    return Response(body, media_type=CONTENT_TYPE_LATEST)
