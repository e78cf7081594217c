"""Health and readiness, for load balancers, supervisors and operators."""

from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from quicksilver.domain.health import HealthView
from quicksilver.web.access import METRICS_SCHEME, require_metrics
from quicksilver.web.ledger_metrics import LedgerMetrics

router = APIRouter(tags=["health"])


class Alive(TypedDict):
    """The process answers."""

    status: Literal["alive"]


class Readiness(TypedDict):
    """`unready` without ledger or Prefect, `degraded` with another part in trouble.

    `problems` has a sentence for each part in trouble, `parts` everything that is known of each.
    """

    status: Literal["ready", "degraded", "unready"]
    problems: dict[str, str]
    parts: list[dict[str, Any]]


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> Alive:
    """The process is alive."""
    return {"status": "alive"}


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"description": "Ledger or Prefect is away", "model": Readiness}},
)
async def readyz(request: Request) -> Response:
    """Ledger and Prefect answer; 503 with the reason otherwise. The other parts are told too."""
    watch: HealthView = request.app.state.health
    health = await watch.look()
    status = "unready" if not health.is_ready else "degraded" if health.troubles else "ready"
    return JSONResponse(
        Readiness(
            status=status,
            problems={part.name: part.sentence for part in health.troubles},
            parts=[part.shown() for part in health.parts],
        ),
        200 if health.is_ready else 503,
    )


@router.get(
    "/metrics", dependencies=[Depends(require_metrics), METRICS_SCHEME], include_in_schema=False
)
async def metrics(request: Request) -> Response:
    """Prometheus' text format: this process's own numbers, then the ledger's."""
    of_ledger: LedgerMetrics = request.app.state.ledger_metrics
    await of_ledger.refresh(request.app.state.ledger, request.app.state.health)
    body = generate_latest() + generate_latest(of_ledger.registry)
    return Response(body, media_type=CONTENT_TYPE_LATEST)
