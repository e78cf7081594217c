"""One dataset: what it is, every partition as a calendar, trends, and a backfill."""

from datetime import date
from statistics import median
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from quicksilver.ledger import Ledger
from quicksilver.operators.declared import example_key, in_words
from quicksilver.support import clock
from quicksilver.support.postgres import Row
from quicksilver.web.pages.asking import Acting, Field, ask
from quicksilver.web.pages.calendar import Calendar, days_of_months, months_of_years, rolled_up
from quicksilver.web.pages.charts import Chart, Point, chart
from quicksilver.web.pages.formats import number, span
from quicksilver.web.pages.page import PageRoute, Viewer, go_to, ledger_of, render
from quicksilver.web.params import Name

router = APIRouter(route_class=PageRoute, include_in_schema=False)

# A quarter of daily builds: a trend is visible, and so is each bar.
TREND = 90

Year = Annotated[int | None, Query(ge=1, le=9999)]


@router.get("/datasets/{dataset}")
async def show(request: Request, session: Viewer, dataset: Name, year: Year = None) -> Response:
    """A dataset; `year` chooses the year of its days."""
    ledger = ledger_of(request)
    rows = {row["name"]: row for row in await ledger.views.dataset_rows()}
    if dataset not in rows:
        raise HTTPException(404, f"no dataset {dataset} is known")
    builds = (await ledger.overview.recent_builds(TREND, dataset)).get(dataset, [])
    span_ = (await ledger.overview.calendar_spans()).get(dataset)
    years, days, shown = await _calendars(ledger, dataset, span_, year)
    declared = ledger.datasets.by_name.get(dataset)
    newest = await ledger.finding.partitions(dataset=dataset, limit=1)
    key = (
        example_key(declared, clock.now(), newest[0]["partition"] if newest else None)
        if declared
        else ""
    )
    counts = {
        row["shown_state"]: row["partitions"]
        for row in await ledger.views.state_counts()
        if row["dataset"] == dataset
    }
    return render(
        request,
        "dataset.html",
        session,
        dataset=rows[dataset],
        words=list(in_words(declared, key)) if declared else [],
        counts=counts,
        years=years,
        days=days,
        year=shown,
        trends=trends(builds),
    )


async def _calendars(
    ledger: Ledger, dataset: str, span_: Row | None, year: int | None
) -> tuple[Calendar | None, Calendar | None, int | None]:
    """All years by months, then the days of one of them; None where months are partitions."""
    if span_ is None:
        return None, None, None
    if span_["is_monthly"]:
        return months_of_years(await ledger.overview.calendar(dataset)), None, None
    shown = year or span_["last_dt"].year
    rows = await ledger.overview.calendar(
        dataset, first=date(shown, 1, 1), last=date(shown, 12, 31)
    )
    years = rolled_up(await ledger.overview.calendar_months(dataset))
    return years, days_of_months(rows, shown) if rows else None, shown


def trends(builds: list[Row]) -> dict[str, Chart]:
    """Seconds, rows and the share of rejected rows, build by build."""

    def label(build: Row, said: str) -> str:
        return f"{build['partition']}, build {build['id']}, {build['state']}: {said}"

    def kind(build: Row) -> str:
        return "" if build["state"] == "succeeded" else "failed"

    seconds = [
        Point(b["seconds"], label(b, span(b["seconds"])), kind(b))
        for b in builds
        if b["seconds"] is not None
    ]
    published = [b for b in builds if b["rows_bronze"] is not None]
    rows = [Point(b["rows_bronze"], label(b, number(b["rows_bronze"]))) for b in published]
    shares = [
        Point(
            share := 100 * (b["rows_rejected"] or 0) / (b["rows_bronze"] or 1),
            label(b, f"{share:.1f} %"),
            "warned" if share >= 20 else "",
        )
        for b in published
    ]
    return {
        "Seconds of a build": chart(seconds, span),
        "Rows read by a build": chart(rows, number),
        "Rejected, in percent": chart(shares, lambda percent: f"{percent:.1f} %"),
    }


@router.get("/datasets/{dataset}/backfill")
async def ask_backfill(request: Request, session: Viewer, dataset: Name) -> Response:
    """Ask which partitions are to be built."""
    ledger = ledger_of(request)
    if dataset not in ledger.datasets.by_name:
        raise HTTPException(404, f"dataset {dataset} is not declared in datasets.yaml")
    span_ = (await ledger.overview.calendar_spans()).get(dataset)
    return ask(
        request,
        session,
        f"Backfill {dataset}?",
        "What bronze holds from the first to the last day, both included, is built where silver is"
        f" not up to date, behind live events. {await _pace(request, dataset)}",
        "Backfill",
        f"/datasets/{dataset}",
        fields=(
            Field("first", "From", kind="date", value=str(span_["first_dt"]) if span_ else ""),
            Field("last", "To", kind="date", value=str(span_["last_dt"]) if span_ else ""),
            Field("order", "First", (("oldest", "the oldest"), ("newest", "the newest"))),
            Field("what", "Build", (("missing", "what is not built"), ("all", "all of it anew"))),
        ),
    )


@router.post("/datasets/{dataset}/backfill")
async def backfill(request: Request, session: Viewer, actions: Acting, dataset: Name) -> Response:
    """Schedule it."""
    form: dict[str, str] = request.state.form
    try:
        first, last = (date.fromisoformat(form.get(name, "")) for name in ("first", "last"))
    except ValueError as error:
        raise HTTPException(422, "from and to are days: YYYY-MM-DD") from error
    work = await actions.backfill(
        request.app.state.bronze,
        dataset,
        first,
        last,
        newest_first=form.get("order") == "newest",
        rebuild=form.get("what") == "all",
    )
    seconds = await _seconds(request, dataset, work.scheduled)
    about = f", about {span(seconds)}" if seconds and work.scheduled else ""
    rest = f"; {work.skipped} are built or on their way already" if work.skipped else ""
    return go_to(
        request,
        f"/datasets/{dataset}",
        session,
        f"{work.scheduled} partitions of {dataset} will be built{about}{rest}.",
    )


async def _pace(request: Request, dataset: str) -> str:
    seconds = await _seconds(request, dataset, 100)
    return f"A hundred partitions take about {span(seconds)}." if seconds else ""


async def _seconds(request: Request, dataset: str, partitions: int) -> float | None:
    """How long so many builds take, judging by the last ones; None without any."""
    ledger = ledger_of(request)
    builds = (await ledger.overview.recent_builds(TREND, dataset)).get(dataset, [])
    took = [b["seconds"] for b in builds if b["state"] == "succeeded" and b["seconds"]]
    if not took:
        return None
    own = ledger.datasets.by_name[dataset].max_running
    at_once = min(filter(None, (request.app.state.settings.max_running, own)))
    return median(took) * partitions / at_once
