"""The list of partitions: found by name, key, date, run and state; many rebuilt at once."""

from collections import Counter
from datetime import date
from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from quicksilver.domain.partition import Partition
from quicksilver.ledger.finding import Sort
from quicksilver.operators.condition import condition
from quicksilver.web.pages.asking import Acting, Field, ask
from quicksilver.web.pages.page import STATES, PageRoute, Viewer, go_to, ledger_of, render

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Text = Annotated[str, Query(max_length=300, pattern=r"^[^\x00]*$")]
Day = Annotated[str, Query(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]

_ROWS = 100

# The most of one bulk rebuild; the rest needs another one.
_MANY = 10_000

_SORTS = {
    "trouble": "trouble first",
    "newest": "newest",
    "oldest": "oldest",
    "changed": "last changed",
    "rows": "most rows",
    "rejected": "most rejected",
}

_CAUSE = 120


def _asked(
    dataset: str, state: list[str], q: str, first: str, last: str, sort: str = "trouble"
) -> dict[str, Any]:
    """What `finding.partitions` takes.

    Raises:
        HTTPException: 422, an invalid date or order.
    """
    try:
        days = {
            name: date.fromisoformat(day) if day else None
            for name, day in (("first", first), ("last", last))
        }
    except ValueError as error:
        raise HTTPException(422, "from and to are days: YYYY-MM-DD") from error
    states = [one for one in state if one and "\0" not in one]
    return {
        **days,
        "dataset": dataset or None,
        "states": states or None,
        "text": q.strip() or None,
        "sort": sort if sort in get_args(Sort) else "trouble",
    }


@router.get("/partitions")
async def partitions(
    request: Request,
    session: Viewer,
    dataset: Text = "",
    state: Annotated[list[str] | None, Query(max_length=20)] = None,
    q: Text = "",
    first: Day = "",
    last: Day = "",
    sort: Text = "trouble",
    skip: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Response:
    """Partitions; `q` is a part of a name or key, or the beginning of a run's id."""
    ledger = ledger_of(request)
    asked = _asked(dataset, state or [], q, first, last, sort)
    rows = await ledger.finding.partitions(**asked, skip=skip, limit=_ROWS)
    found = rows[0]["found"] if rows else 0
    chosen = asked["states"] or []
    query = [("dataset", dataset), ("q", q.strip()), ("first", first), ("last", last)]
    filters = [pair for pair in [*query, *(("state", one) for one in chosen)] if pair[1]]
    return render(
        request,
        "partitions.html",
        session,
        rows=[{**row, "condition": condition(row)} for row in rows],
        found=found,
        states=STATES,
        datasets=[row["name"] for row in await ledger.views.dataset_rows()],
        dataset=dataset,
        chosen=chosen,
        q=q,
        first=first,
        last=last,
        sort=asked["sort"],
        sorts=_SORTS,
        query=urlencode([*filters, ("sort", asked["sort"])]),
        filters=urlencode(filters),
        many=_MANY,
        skip=skip,
        next=skip + _ROWS if skip + _ROWS < found else None,
    )


@router.get("/partitions/rebuild")
async def ask_rebuild(
    request: Request,
    session: Viewer,
    p: Annotated[list[str] | None, Query(max_length=_MANY)] = None,
    dataset: Text = "",
    state: Annotated[list[str] | None, Query(max_length=20)] = None,
    q: Text = "",
    first: Day = "",
    last: Day = "",
) -> Response:
    """Ask whether to build many anew: those that were ticked, or all that a filter finds."""
    ledger = ledger_of(request)
    if p:
        rows = [row for one in p if (row := await ledger.views.partition(_partition(one)))]
    elif dataset or state or q or first or last:
        asked = _asked(dataset, state or [], q, first, last)
        rows = await ledger.finding.partitions(**asked, limit=_MANY)
    else:
        raise HTTPException(422, "tick partitions first, or filter the list")
    if not rows:
        raise HTTPException(404, "no partition is like that")
    causes = Counter(
        (row["error"] or "").strip().split("\n")[0][:_CAUSE] or row["shown_state"] for row in rows
    )
    groups = "; ".join(f"{count} {cause}" for cause, count in causes.most_common(5))
    more = f"; and {len(causes) - 5} other causes" if len(causes) > 5 else ""
    return ask(
        request,
        session,
        f"Rebuild {len(rows)} partition{'s' if len(rows) > 1 else ''}?",
        f"By what is known of them: {groups}{more}. What failed fails again while its cause is"
        " there; until a build is committed, readers see what is there now.",
        "Rebuild",
        "/partitions",
        fields=(
            Field(
                "partitions",
                "",
                kind="hidden",
                value="\n".join(f"{row['dataset']}/{row['partition']}" for row in rows),
            ),
        ),
        action="/partitions/rebuild",
    )


@router.post("/partitions/rebuild")
async def rebuild(request: Request, session: Viewer, actions: Acting) -> Response:
    """Build them anew."""
    form: dict[str, str] = request.state.form
    chosen = [_partition(one) for one in form.get("partitions", "").splitlines() if one]
    if not chosen:
        raise HTTPException(422, "tick partitions first")
    count = await actions.rebuild_many(chosen)
    words = f"{count} partition{'s' if count != 1 else ''} will be built."
    return go_to(request, "/partitions", session, words)


def _partition(text: str) -> Partition:
    dataset, _, name = text.strip().partition("/")
    if not name:
        raise HTTPException(422, f"{text[:100]!r} is not dataset/partition")
    return Partition(dataset, name)
