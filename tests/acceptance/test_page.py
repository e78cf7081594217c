"""The operators' page in a real browser: what it shows, what it does, what it refuses."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from minio import Minio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    async_playwright,
    expect,
)

from quicksilver.domain.partition import Partition
from quicksilver.support import clock
from tests.prepare import chromium, is_browser_wanted
from tests.support.page_stage import (
    BUCKET,
    DAILY,
    MONTHLY,
    TOKEN,
    Site,
    notification,
    serve,
)
from tests.support.picture import faults, picture
from tests.support.servers import MinioServer

if not is_browser_wanted():
    pytest.skip("QUICKSILVER_SKIP_BROWSER is 1", allow_module_level=True)

_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, without a window."""
    program = chromium()
    assert program is not None, "no Chromium: run `python -m tests.prepare`"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def site(tmp_path: Path, ledger_url: str, minio_server: MinioServer) -> AsyncIterator[Site]:
    """The application, with an operator's token configured."""
    async with serve(tmp_path, ledger_url, minio_server) as site:
        yield site


@dataclass
class Looker:
    """An operator's browser, and everything that must not happen in it."""

    context: BrowserContext
    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    allowed: set[str] = field(default_factory=set)

    async def log_in(self, name: str = "anna") -> None:
        """Show the token."""
        await self.page.goto(self.url)
        await self.page.get_by_label("Operator's token").fill(TOKEN)
        await self.page.get_by_label("Your name").fill(name)
        await self.page.get_by_role("button", name="Log in").click()
        await expect(self.page.get_by_role("heading", name="Overview")).to_be_visible()

    async def agree(self, button: str) -> None:
        """Answer the open dialog's question with its button."""
        dialog = self.page.get_by_role("dialog")
        await expect(dialog).to_be_visible()
        await dialog.get_by_role("button", name=button).click()

    def cell(self, label: str) -> Any:
        """A cell of a calendar, by the beginning of what it says."""
        return self.page.locator(f'a.cell[aria-label^="{label}"]')


@pytest.fixture
async def looker(browser: Browser, site: Site) -> AsyncIterator[Looker]:
    """A fresh browser profile; fails on a console error, a dialog, or a request elsewhere."""
    context = await browser.new_context()
    context.set_default_timeout(10_000)
    page = await context.new_page()
    looker = Looker(context, page, site.url)

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            looker.problems.append(f"console: {message.text}")

    def asked(request: Any) -> None:
        if not request.url.startswith(site.url + "/"):
            looker.problems.append(f"request to {request.url}")

    context.on("console", said)
    context.on("request", asked)
    context.on("weberror", lambda error: looker.problems.append(f"error: {error.error}"))
    context.on("dialog", lambda dialog: looker.problems.append(f"dialog: {dialog.message}"))
    yield looker
    await context.close()
    assert [p for p in looker.problems if not any(a in p for a in looker.allowed)] == []


async def test_only_a_token_opens_the_page(looker: Looker, site: Site) -> None:
    page = looker.page
    looker.allowed.add("401 (Unauthorized)")
    looker.allowed.add("403 (Forbidden)")
    await page.goto(f"{site.url}/events?reason=fired")
    assert urlsplit(page.url).path == "/login"
    await page.get_by_label("Operator's token").fill("a wrong one")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("not accepted")
    assert await looker.context.cookies() == []
    await page.get_by_label("Operator's token").fill(TOKEN)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Events")).to_be_visible()
    assert page.url == f"{site.url}/events?reason=fired"
    (cookie,) = await looker.context.cookies()
    assert cookie.get("httpOnly") is True
    assert cookie.get("sameSite") == "Lax"
    assert cookie.get("expires", -1) > 0
    assert TOKEN not in cookie.get("value", "")
    # The same cookie reads the API, and changes nothing without the session's own token.
    ask = "url => fetch(url, {method: 'POST'}).then(answer => answer.status)"
    assert await page.evaluate("url => fetch(url).then(a => a.status)", "/api/partitions") == 200
    assert await page.evaluate(ask, "/api/reconcile") == 403
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Operator's token")).to_be_visible()
    assert await looker.context.cookies() == []


async def test_a_partition_goes_from_pending_to_built_under_the_eyes(
    looker: Looker, site: Site
) -> None:
    partition = await site.land(MONTHLY, "2019-03-01")
    await looker.log_in()
    page = looker.page
    await expect(looker.cell("2019-03-01: pending")).to_be_visible()
    await expect(page.locator("#live-text")).to_have_text("live")
    await page.evaluate("window.neverReloaded = true")
    sealed = await site.dispatch(partition)
    await expect(looker.cell("2019-03-01: running")).to_be_visible()
    # The keyboard stays where it was while the page changes under it.
    await looker.cell("2019-03-01").focus()
    await site.succeed(sealed)
    await expect(looker.cell("2019-03-01: built, generation 1")).to_be_visible()
    await expect(looker.cell("2019-03-01")).to_be_focused()
    await expect(page.locator("#summary")).to_have_text("1 built")
    assert await page.evaluate("window.neverReloaded") is True

    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="2019-03-01")).to_be_visible()
    bar = page.locator("#way svg")
    words = await bar.get_attribute("aria-label") or ""
    for step in ("telling", "slot", "Prefect", "worker", "load", "dbt", "publish"):
        assert f"{step} " in words
    await expect(page.locator("#way")).to_contain_text("on the fast lane")
    run = page.get_by_role("link", name="in Prefect").filter(has_not_text="report")
    assert "/runs/flow-run/" in (await run.get_attribute("href") or "")
    await expect(page.locator("#state")).to_contain_text("9,859")
    await expect(page.locator("#details")).to_contain_text("negative total")
    await expect(page.locator("#details")).to_contain_text("cbd_congestion_fee")
    await expect(page.locator("#manifest")).to_contain_text("data.parquet")
    await expect(page.locator("#events")).to_contain_text("fired")


async def test_rebuild_pause_resume_ask_first_and_are_logged(looker: Looker, site: Site) -> None:
    partition = await site.land(MONTHLY, "2019-01-01")
    await site.build(partition)
    await looker.log_in("anna")
    page = looker.page
    await looker.cell("2019-01-01").click()
    await page.get_by_role("link", name="Rebuild").click()
    await page.get_by_role("dialog").get_by_role("link", name="Cancel").click()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    assert await site.ledger.settlement.generation(partition) == 1
    await page.get_by_role("link", name="Rebuild").click()
    await looker.agree("Rebuild")
    await expect(page.get_by_role("status").first).to_contain_text("built as generation 2")
    await expect(page.locator("#state .badge")).to_have_text("pending")
    assert await site.ledger.settlement.generation(partition) == 2
    # What a notice said is said once.
    await page.reload()
    await expect(page.locator(".notice")).to_have_count(0)

    await page.get_by_role("link", name="Overview").first.click()
    first = page.locator("#dataset-1")
    await first.locator("summary").click()
    await first.get_by_role("link", name="Pause").click()
    await page.get_by_role("dialog").get_by_label("Why").fill("the vendor resends May")
    await looker.agree("Pause")
    await expect(first).to_contain_text("the vendor resends May")
    await expect(page.locator(".notice")).to_contain_text("is paused")
    await expect(looker.cell("2019-01-01: paused")).to_be_visible()
    await page.locator("#dataset-1 summary").click()
    await page.locator("#dataset-1").get_by_role("link", name="Resume").click()
    await looker.agree("Resume")
    await expect(looker.cell("2019-01-01: pending")).to_be_visible()
    done = [(row["actor"], row["action"]) for row in await site.ledger.operators.actions()]
    assert done == [("page:anna", "resume"), ("page:anna", "pause"), ("page:anna", "rebuild")]
    await page.get_by_role("link", name="Activity").click()
    await expect(page.locator("#actions")).to_contain_text("page:anna")
    await page.goto(f"{site.url}/activity?action=pause")
    await expect(page.locator("#actions tbody tr")).to_have_count(1)
    ask = "url => fetch(url).then(answer => answer.text())"
    lines = (await page.evaluate(ask, "/activity.csv?subject=yellow")).splitlines()
    assert lines[0] == "at,actor,action,subject"
    assert [line.split(",")[1:3] for line in lines[1:]] == [
        ["page:anna", "resume"],
        ["page:anna", "pause"],
        ["page:anna", "rebuild"],
    ]


async def test_what_needs_somebody_comes_first_as_causes(looker: Looker, site: Site) -> None:
    for month in (1, 2, 3):
        sealed = await site.dispatch(await site.land(MONTHLY, f"2019-{month:02d}-01"))
        key = f"bronze/nyc_tlc/dt=2019-{month:02d}-01/data.parquet"
        await site.fail(sealed, f"{key}: required column id is missing")
    watchdog = site.watchdog()
    await looker.log_in()
    page = looker.page
    act_now = page.locator("#alerts")
    await expect(act_now).to_contain_text("Nothing needs you")
    await watchdog.run_once()
    cause = act_now.locator("li", has_text=f"3 partitions of {MONTHLY} failed")
    await expect(cause).to_contain_text("required column id is missing")
    await cause.get_by_role("link", name="Silence").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill("the vendor knows")
    await dialog.get_by_role("button", name="Silence").click()
    await expect(cause).to_contain_text("the vendor knows")
    await cause.get_by_role("link", name="Rebuild all").click()
    await looker.agree("Rebuild")
    await expect(page.locator(".notice")).to_contain_text("3 partitions will be built")
    await expect(looker.cell("2019-02-01: pending")).to_be_visible()
    await watchdog.run_once()
    await expect(act_now).to_contain_text("Nothing needs you")
    done = [row["action"] for row in await site.ledger.operators.actions()]
    assert done == ["rebuild", "rebuild", "rebuild", "silence"]


async def test_many_are_found_ticked_and_rebuilt_by_cause(looker: Looker, site: Site) -> None:
    for month in (1, 2, 3, 4):
        sealed = await site.dispatch(await site.land(MONTHLY, f"2019-{month:02d}-01"))
        if month < 4:
            await site.fail(sealed, "required column id is missing")
        else:
            await site.succeed(sealed)
    await looker.log_in()
    page = looker.page
    await page.keyboard.press("/")
    await page.keyboard.type("dt=2019-0")
    await page.keyboard.press("Enter")
    await expect(page.locator("#rows")).to_contain_text(
        "4 partitions, 1 to 4; together 10,000 rows"
    )
    await page.get_by_label("failed").check()
    await page.get_by_label("From").fill("2019-02-01")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("#rows tbody tr")).to_have_count(2)
    await page.get_by_label(f"Tick {MONTHLY}/2019-03-01").check()
    await page.get_by_role("button", name="Rebuild the ticked").click()
    await expect(page.get_by_role("heading", name="Rebuild 1 partition?")).to_be_visible()
    await page.goto(f"{site.url}/partitions?state=failed")
    await page.get_by_role("link", name="Rebuild all 3 found").click()
    await expect(page.get_by_role("dialog")).to_contain_text("3 required column id is missing")
    await looker.agree("Rebuild")
    await expect(page.locator(".notice")).to_contain_text("3 partitions will be built")
    for month in (1, 2, 3):
        partition = Partition.of_day(MONTHLY, date(2019, month, 1))
        assert await site.ledger.settlement.generation(partition) == 2


async def test_a_datasets_page_says_what_it_is_and_backfills(
    looker: Looker, site: Site, minio_server: MinioServer
) -> None:
    lake = _lake(minio_server)
    if not lake.bucket_exists(BUCKET):
        lake.make_bucket(BUCKET)
    for month in (1, 2):
        await site.build(await site.land(MONTHLY, f"2019-{month:02d}-01"))
    key = "bronze/nyc_tlc/yellow_tripdata/dt=2019-09-01/data.parquet"
    put_object(lake, key)
    try:
        await looker.log_in()
        page = looker.page
        await page.locator("#dataset-1").get_by_role("link", name=MONTHLY, exact=True).click()
        await expect(page.get_by_role("heading", name=MONTHLY)).to_be_visible()
        await expect(page.locator("main")).to_contain_text(
            "bronze/nyc_tlc/yellow_tripdata/dt=2019-02-01/data.parquet belongs to partition"
        )
        await expect(looker.cell("2019-01-01: built")).to_be_visible()
        words = await page.locator("#trends svg").first.get_attribute("aria-label") or ""
        assert "in the middle" in words
        await page.get_by_role("link", name="Backfill").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("A hundred partitions take about")
        await dialog.get_by_label("From").fill("2019-09-01")
        await dialog.get_by_label("To").fill("2019-09-30")
        await looker.agree("Backfill")
        await expect(page.locator(".notice")).to_contain_text("1 partitions of")
        await expect(looker.cell("2019-09-01: pending")).to_be_visible()
    finally:
        lake.remove_object(BUCKET, key)


async def test_the_parts_are_told_on_every_page(looker: Looker, site: Site) -> None:
    """Here Prefect is nowhere; the words are `/readyz`'s own."""
    await looker.log_in()
    await site.app.state.health.look()
    page = looker.page
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        told = (await client.get("/readyz")).json()
    for path in ("/", "/events", "/delivery", "/activity"):
        await page.goto(site.url + path)
        strip = page.locator("#health")
        await expect(strip).to_contain_text("prefect")
        await expect(strip).to_contain_text(told["problems"]["prefect"])
        await expect(strip).to_contain_text("start Prefect's server")


async def test_light_or_dark_and_whose_time_are_kept(looker: Looker, site: Site) -> None:
    await site.build(await site.land(MONTHLY, "2019-03-01"))
    await looker.log_in()
    page = looker.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    await page.get_by_role("button", name="Light or dark").click()
    assert await page.evaluate(ground) != light
    await page.goto(f"{site.url}/events")
    assert await page.evaluate(ground) != light
    await page.get_by_role("button", name="UTC").click()
    await expect(page.locator("footer")).to_contain_text("this browser's time")


async def test_a_gate_says_what_is_missing_and_what_it_fired(looker: Looker, site: Site) -> None:
    months = [f"2019-{month:02d}-01" for month in range(1, 13)]
    for month in months[:10]:
        await site.build(await site.land(MONTHLY, month))
    last = await site.land(MONTHLY, months[10])
    await looker.log_in()
    row = looker.page.locator("#gates tbody tr")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("gold-year 2019")
    await expect(row).to_contain_text("pending: 2019-11-01")
    await expect(row).to_contain_text("nothing landed: 2019-12-01")
    await expect(row).to_contain_text("never")
    await site.build(last)
    await expect(row).not_to_contain_text("2019-11-01")
    await site.build(await site.land(MONTHLY, months[11]))
    await expect(row.locator(".badge")).to_have_text("pending")
    run = uuid4()
    assert await site.ledger.gates.open([("gold-year", "2019", 12)])
    assert await site.ledger.gates.mark_fired("gold-year", "2019", 12, run)
    await expect(row.locator(".badge")).to_have_text("fired")
    await expect(row).to_contain_text("generation 12")
    link = row.get_by_role("link", name="in Prefect")
    assert (await link.get_attribute("href") or "").endswith(f"/runs/flow-run/{run}")
    ask = "url => fetch(url).then(answer => answer.json())"
    (told,) = (await looker.page.evaluate(ask, "/api/gates"))["gates"]
    assert (told["state"], told["fired_generation"]) == ("fired", 12)
    assert (told["missing"], told["flow_run_id"]) == ([], str(run))


async def test_reconcile_lists_bronze_and_the_proof_says_so(
    looker: Looker, site: Site, minio_server: MinioServer
) -> None:
    lake = _lake(minio_server)
    if not lake.bucket_exists(BUCKET):
        lake.make_bucket(BUCKET)
    key = "bronze/nyc_tlc/yellow_tripdata/dt=2019-07-01/data.parquet"
    try:
        put_object(lake, key)
        await looker.log_in()
        page = looker.page
        await page.goto(f"{site.url}/delivery")
        await expect(page.locator("#proof")).to_contain_text("not compared yet")
        await page.get_by_role("link", name="Reconcile now").click()
        await looker.agree("Reconcile")
        await expect(page.locator(".notice")).to_contain_text("1 that no event told of")
        await expect(looker.cell("2019-07-01: pending")).to_be_visible()
        await page.goto(f"{site.url}/delivery")
        await expect(page.locator("#proof")).to_contain_text("not built at the newest generation")
        row = page.locator("#proof table").first.get_by_role("row", name=MONTHLY)
        assert await row.get_by_role("cell").nth(0).text_content() == "1"
        (origin,) = [r for r in await site.ledger.proof.origins() if r["dataset"] == MONTHLY]
        assert (origin["objects"], origin["fast"], origin["only_sweep"]) == (1, 0, 1)
    finally:
        lake.remove_object(BUCKET, key)


async def test_quarantine_is_shown_safely_replayed_and_discarded(
    looker: Looker, site: Site
) -> None:
    limits = {"max_rows": 100, "max_bytes": 1_000_000}
    body = notification(
        "bronze/nyc_tlc/yellow_tripdata/dt=2019-05-01/data.parquet", "e" * 32, clock.now()
    )
    good = await site.ledger.quarantine.add(
        body, reason="quarantined:refused", lane="fast", source="127.0.0.1", **limits
    )
    bad = await site.ledger.quarantine.add(
        f"{_HOSTILE}\x1b[2J\u202e".encode() + b"\xff\x00",
        reason="not JSON",
        lane="durable",
        source="127.0.0.1",
        **limits,
    )
    await looker.log_in()
    page = looker.page
    await page.get_by_role("link", name="Quarantine").first.click()
    await page.get_by_role("link", name="not JSON").click()
    text = page.locator("pre.raw").first
    await expect(text).to_contain_text(f"{_HOSTILE}\\x1b[2J\\u202e\\xff\\x00")
    await expect(page.locator("pre.raw").last).to_contain_text("3c 73 63 72 69 70 74 3e")
    assert await page.locator("main script").count() == 0
    await page.goto(f"{site.url}/quarantine")
    # Not understood, it stays.
    await page.locator(f'a[href="/quarantine/{bad}/replay"]').click()
    await looker.agree("Replay")
    await expect(page.locator(".notice")).to_contain_text(f"Event {bad}: quarantined")
    # Without its script a link leads to the question's own page.
    await page.wait_for_load_state()
    await page.locator(f'a[href="/quarantine/{good}/replay"]').click()
    await looker.agree("Replay")
    await expect(page.locator(".notice")).to_contain_text(f"Event {good}: settling")
    await page.wait_for_load_state()
    await expect(page.locator("#rows tbody tr")).to_have_count(1)
    await page.locator(f'a[href="/quarantine/{bad}/discard"]').click()
    await looker.agree("Discard")
    await expect(page.locator("#rows")).to_contain_text("Nothing is in quarantine")
    await page.goto(site.url)
    await expect(looker.cell("2019-05-01: pending")).to_be_visible()


async def test_a_hostile_key_shows_as_text(looker: Looker, site: Site) -> None:
    file = f"{_HOSTILE}\u202e\"'&.parquet".replace("/", "\uff0f")
    await site.land(MONTHLY, "2019-02-01", file=file)
    key = f"bronze/nyc_tlc/yellow_tripdata/{_HOSTILE}"
    await site.tell(notification(key, "f" * 32, clock.now()))
    await looker.log_in(f"anna{_HOSTILE}")
    page = looker.page
    shown = _HOSTILE.replace("/", "\uff0f") + "\\u202e\"'&.parquet"
    for path in (
        "/",
        "/events",
        "/events?key=" + quote(key),
        "/explain?key=" + quote(key),
        f"/partitions/{MONTHLY}/2019-02-01",
        "/partitions/" + quote(_HOSTILE.replace("/", ""), safe="") + "/2019-02-01",
        "/login?next=" + quote("//elsewhere.example"),
    ):
        looker.allowed.add("404 (Not Found)")
        await page.goto(site.url + path)
        assert await page.locator("main script").count() == 0, path
    await page.goto(f"{site.url}/events")
    await expect(page.locator("#rows")).to_contain_text(shown)
    await expect(page.locator("#rows")).to_contain_text(key)
    await page.get_by_role("link", name=key).click()
    await expect(page.locator(".answer")).to_contain_text("ignored")
    await expect(page.get_by_label("Key", exact=True)).to_have_value(key)


async def test_every_action_works_without_javascript(browser: Browser, site: Site) -> None:
    partition = await site.land(MONTHLY, "2019-01-01")
    await site.build(partition)
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    looker = Looker(context, page, site.url)
    await looker.log_in("berta")
    await looker.cell("2019-01-01").click()
    await page.get_by_role("link", name="Rebuild").click()
    await expect(page.get_by_role("heading", name="Rebuild")).to_be_visible()
    assert await site.ledger.settlement.generation(partition) == 1
    await page.get_by_role("button", name="Rebuild").click()
    await expect(page.get_by_role("status").first).to_contain_text("generation 2")
    assert [row["actor"] for row in await site.ledger.operators.actions()] == ["page:berta"]
    await context.close()


async def test_forms_that_are_not_ours_do_nothing(site: Site) -> None:
    partition = await site.land(MONTHLY, "2019-01-01")
    path = f"/partitions/{MONTHLY}/2019-01-01/rebuild"
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        strange = await client.post(path, data={"csrf": "x"})
        assert (strange.status_code, strange.headers["location"][:6]) == (303, "/login")
        entered = await client.post("/login", data={"token": TOKEN, "next": "//elsewhere.example"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        form = (await client.get(path)).text
        token = form.split('name="csrf" value="')[1].split('"')[0]
        assert (await client.post(path, data={})).status_code == 403
        assert (await client.post(path, data={"csrf": token[:-1] + "é"})).status_code == 403
        for headers in (
            {"Origin": "https://elsewhere.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            foreign = await client.post(path, data={"csrf": token}, headers=headers)
            assert foreign.status_code == 403, headers
        assert await site.ledger.settlement.generation(partition) == 1
        assert (await client.post(path, data={"csrf": token})).status_code == 303
        assert await site.ledger.settlement.generation(partition) == 2
        ours = await client.post("/api/reconcile", headers={"X-CSRF-Token": "x"})
        assert ours.status_code == 403
        # A shift later, the cookie is worth nothing.
        clock.advance(timedelta(hours=13))
        assert (await client.get("/")).headers["location"] == "/login?next=%2F"
        assert (await client.get("/api/partitions")).status_code == 401
        assert (await client.get("/live")).status_code == 401


async def test_without_tokens_only_this_machine_is_answered(
    tmp_path: Path, ledger_url: str, minio_server: MinioServer
) -> None:
    async with (
        serve(tmp_path, ledger_url, minio_server, operator_tokens="") as site,
        httpx.AsyncClient(base_url=site.url, trust_env=False) as client,
    ):
        await site.land(MONTHLY, "2019-01-01")
        path = f"/partitions/{MONTHLY}/2019-01-01/rebuild"
        form = (await client.get(path)).text
        token = form.split('name="csrf" value="')[1].split('"')[0]
        assert (await client.post(path, data={})).status_code == 403
        for address in (path, f"/api/partitions/{MONTHLY}/2019-01-01/rebuild"):
            foreign = await client.post(
                address, data={"csrf": token}, headers={"Origin": "https://elsewhere.example"}
            )
            assert foreign.status_code == 403
        for address in ("/", "/api/partitions", "/live"):
            rebound = await client.get(address, headers={"Host": "elsewhere.example:8420"})
            assert rebound.status_code == 403, address
        assert (await client.post(path, data={"csrf": token})).status_code == 303
        assert (await site.ledger.operators.actions())[0]["actor"] == "local"


async def test_pages_hold_a_strict_policy(looker: Looker, site: Site) -> None:
    await looker.log_in()
    for path in ("/", "/partitions", "/events", "/explain", "/login", "/docs", "/nothing"):
        answer = await looker.context.request.get(site.url + path, max_redirects=0)
        headers = answer.headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
    # It is in force: what a page did not bring does not run.
    ran = await looker.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); return window.ran }"
    )
    assert ran is None
    looker.allowed.add("Content Security Policy")


async def test_the_api_is_described_without_another_host(looker: Looker, site: Site) -> None:
    await looker.log_in()
    page = looker.page
    await page.get_by_role("link", name="API").click()
    await expect(page.get_by_role("heading", name="API", exact=False).first).to_be_visible()
    schema = site.app.openapi()["paths"]
    described = {(method.upper(), path) for path, methods in schema.items() for method in methods}
    shown = await page.locator("article.operation").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))"
    )
    assert len(shown) == len(described) >= 15
    assert {tuple(label.split(" ")) for label in shown} == described
    rebuild = page.get_by_label("POST /api/partitions/{dataset}/{partition}/rebuild")
    await expect(rebuild).to_contain_text("raises its generation")
    await expect(rebuild).to_contain_text("No operator's token")


async def test_an_unknown_path_leads_on(looker: Looker, site: Site) -> None:
    looker.allowed |= {"404 (Not Found)", "405 (Method Not Allowed)", "401 (Unauthorized)"}
    page = looker.page
    await page.goto(f"{site.url}/nowhere<b>")
    await expect(page.locator("main")).to_contain_text("There is no page /nowhere<b>.")
    await page.locator("main").get_by_role("link", name="Log in").click()
    await expect(page.get_by_label("Operator's token")).to_be_visible()
    await page.goto(f"{site.url}/metrics")
    await expect(page.locator("main")).to_contain_text("an operator's token is needed")
    await looker.log_in()
    await page.goto(f"{site.url}/nowhere")
    await expect(page.locator("main")).to_contain_text("ask Explain what became of an object")
    await page.goto(f"{site.url}/logout")
    await expect(page.locator("main")).to_contain_text("not opened that way")
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        for path, accept in (("/nowhere", "*/*"), ("/api/nowhere", "text/html")):
            answer = await client.get(path, headers={"Accept": accept})
            assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


async def test_a_picture_shows_the_page_by_itself(looker: Looker, site: Site) -> None:
    await site.build(await site.land(MONTHLY, "2019-03-01"))
    await looker.log_in()
    page = looker.page
    await expect(looker.cell("2019-03-01: built")).to_be_visible()
    text = await picture(page)
    assert faults(text) == []
    assert MONTHLY in text
    assert "csrf" not in text
    assert TOKEN not in text
    assert "http://127" not in text
    # As an image, which runs and loads nothing, it has the page's own size.
    await page.route(
        "**/picture.svg", lambda route: route.fulfill(body=text, content_type="image/svg+xml")
    )
    size = await page.evaluate(
        "() => new Promise((done, failed) => { const i = new Image(); i.onerror = failed;"
        " i.onload = () => done([i.naturalWidth, i.naturalHeight]); i.src = '/picture.svg' })"
    )
    assert size == await page.evaluate(
        "[document.documentElement.clientWidth, document.documentElement.scrollHeight]"
    )
    assert faults("<svg>")
    assert faults(text.replace('href="#"', 'href="https://x"', 1))
    assert faults(text.replace("<title>", "<script/><title>"))


async def furnish(site: Site) -> None:
    """A ledger in which everything happens at once."""
    for month in range(1, 13):
        for year in (2018, 2019):
            if (year, month) == (2018, 5):
                continue
            lanes = ("durable",) if month == 4 else ("fast", "durable")
            partition = await site.land(MONTHLY, f"{year}-{month:02d}-01", lanes=lanes)
            if (year, month) in ((2019, 11), (2019, 12)):
                continue
            sealed = await site.dispatch(partition)
            if (year, month) == (2019, 8):
                error = (
                    "column 'tpep_pickup_datetime' of data.parquet is text, not a timestamp:"
                    " land the file again, or map the column in datasets.yaml"
                )
                await site.fail(sealed, error)
            elif (year, month) == (2019, 9):
                await site.fail(sealed, "the warehouse did not answer: timeout", again=True)
            elif (year, month) != (2019, 10):
                await site.succeed(sealed, 9_000 + 137 * month)
    for day in range(1, 15):
        partition = await site.land(DAILY, f"2019-06-{day:02d}")
        if day < 12:
            await site.land(DAILY, f"2019-06-{day:02d}", file="_SUCCESS")
            await site.build(partition, 24)
    await site.ledger.recording.rebuild([await site.land(MONTHLY, "2018-02-01")])
    await site.ledger.operators.log_action("cli:root", "rebuild", f"{MONTHLY}/2018-02-01")
    await site.ledger.operators.log_action("page:anna", "pause", DAILY)
    await site.ledger.operators.pause(DAILY, "page:anna")
    for index, dts in ((1, range(1, 11)), (2, range(1, 13))):
        clock.advance(timedelta(seconds=30 * index))
        await site.ledger.proof.record_sweep(
            MONTHLY,
            clock.now(),
            listed=23,
            found=0,
            gone=0,
            names=[o.name for o in site.objects if o.dataset == MONTHLY and o.dt.month in dts],
        )
    await site.tell(b'{"Records": [{"s3": {"object": {"key": 7}}}]}', "durable")
    await site.tell(b"<script>alert(1)</script>\x1b[31m\xff", "fast")
    await site.tell(notification(f"bronze/elsewhere/{_HOSTILE}", "a" * 32, clock.now()))
    await site.watchdog().run_once()


async def test_every_page_is_accessible(browser: Browser, site: Site) -> None:
    """axe-core finds nothing serious, in light and dark, on a desk and on a phone.

    And each can be taken as a picture for the README, as `tests.acceptance.screens` does.
    """
    await furnish(site)
    pictures = os.environ.get("QUICKSILVER_SCREENSHOTS")
    key = "bronze/nyc_tlc/yellow_tripdata/dt=2019-08-01/data.parquet"
    pages = {
        "login": "/login",
        "overview": "/",
        "partitions": "/partitions?state=built",
        "dataset": f"/datasets/{MONTHLY}",
        "dataset-daily": f"/datasets/{DAILY}",
        "backfill": f"/datasets/{MONTHLY}/backfill",
        "rebuild-many": "/partitions/rebuild?state=failed",
        "partition": f"/partitions/{MONTHLY}/2019-03-01",
        "partition-running": f"/partitions/{MONTHLY}/2019-10-01",
        "partition-failed": f"/partitions/{MONTHLY}/2019-08-01",
        "rebuild": f"/partitions/{MONTHLY}/2019-03-01/rebuild",
        "events": "/events",
        "explain": f"/explain?key={key}",
        "quarantine": "/quarantine",
        "quarantined": "/quarantine/2",
        "not-there": f"/partitions/{MONTHLY}/1999-01-01",
        "unknown": "/nowhere",
        "delivery": "/delivery",
        "activity": "/activity",
        "silence": "/alerts/1/silence",
        "api": "/docs",
    }
    found: list[str] = []
    for scheme, width, height in (("light", 1440, 900), ("dark", 390, 844)):
        context = await browser.new_context(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
        )
        page = await context.new_page()
        looker = Looker(context, page, site.url)
        for name, path in pages.items():
            if name == "overview":
                await looker.log_in()
            await page.goto(site.url + path)
            results = await Axe().run(page)
            found += [
                f"{name}, {scheme}: {violation['id']}: {violation['help']}:"
                f" {[node['target'] for node in violation['nodes']][:3]}"
                for violation in results.response["violations"]
                if violation["impact"] in ("serious", "critical")
            ]
            overflow = await page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            if overflow > 0:
                found.append(f"{name}, {scheme}: {overflow} px wider than the screen")
            found += [f"{name}, {scheme}: {fault}" for fault in faults(await picture(page))]
            if pictures:
                await page.screenshot(path=f"{pictures}/{name}-{scheme}.png", full_page=True)
        await context.close()
    assert found == []


def _lake(server: MinioServer) -> Minio:
    return Minio(
        server.endpoint_url.removeprefix("http://"),
        server.access_key,
        server.secret_key,
        secure=False,
    )


def put_object(lake: Minio, key: str) -> None:
    """An object that no event tells of."""
    from io import BytesIO

    lake.put_object(BUCKET, key, BytesIO(b"data"), 4)
