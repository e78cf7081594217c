"""`make screens`: the README's pictures of the pages, taken from real runs on the embedded stack.

Twelve months land and are built, a gate fires, a file is broken, an event goes to quarantine: what
stands in `docs/screens/` is what an operator saw then.
"""

import asyncio
import json
import os
import shutil
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import httpx
from playwright.async_api import Browser, async_playwright, expect

from quicksilver.stack import EmbeddedStack
from quicksilver.stack.initialise import initialise_child
from tests.prepare import chromium
from tests.support.checkout import PROJECT
from tests.support.declared import columns_in_yaml
from tests.support.full_stack import BUCKET, DATASET, FullStack
from tests.support.picture import faults, picture
from tests.support.servers import HOMES
from tests.support.waiting import until

SCREENS = PROJECT / "docs" / "screens"
YEAR = 2019
_BROKEN = "2018-12-01"
_KEY = "bronze/nyc_tlc/yellow_tripdata/dt={}/data.parquet"

_DATASETS = f"""
datasets:
  {DATASET}:
    bucket: {BUCKET}
    key: bronze/nyc_tlc/yellow_tripdata/dt={{dt}}/{{file}}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.yellow_tripdata
    columns: {json.dumps(columns_in_yaml())}
    attempts: 1
gates:
  gold-year:
    datasets: [{DATASET}]
    each: year
    deployment: gold-year/nyc-tlc
"""


def main() -> None:
    """Run the stack, let things happen, and write the pictures."""
    file = HOMES / "datasets.yaml"
    file.write_text(_DATASETS)
    os.environ |= {"QUICKSILVER_DATASETS": str(file), "QUICKSILVER_CANARY_INTERVAL": "10"}
    try:
        with EmbeddedStack(HOMES / "seen", ports=None, after_servers=[initialise_child]) as stack:
            seen = FullStack(stack, stack.environment())
            happen(seen)
            asyncio.run(take(seen))
    finally:
        shutil.rmtree(HOMES, ignore_errors=True)


def happen(stack: FullStack) -> None:
    """Months land and are built, one is broken, one is rebuilt, something is not understood."""
    stack.run_deployment("ingest-nyc-tlc/daily", {"year": YEAR})
    months = [f"{YEAR}-{month:02d}-01" for month in range(1, 13)]
    until(
        lambda: all(stack.partition(dt).get("state") == "built" for dt in months),
        "twelve months in silver",
        within=600,
    )
    stack.minio.put_object(BUCKET, _KEY.format(_BROKEN), BytesIO(b"PAR1 cut off"), 12)
    until(lambda: stack.partition(_BROKEN).get("state") == "failed", "the failure", within=120)
    stack.call("POST", f"/api/partitions/{DATASET}/{months[6]}/rebuild").raise_for_status()
    httpx.post(
        f"{stack.env['QUICKSILVER_URL']}/events/minio?lane=fast",
        content=b'{"Records": [{"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {}}}]}',
        headers={
            "Authorization": f"Bearer {stack.env['QUICKSILVER_WEBHOOK_TOKENS'].split(',')[0]}"
        },
        trust_env=False,
    ).raise_for_status()
    stack.call("POST", "/api/reconcile").raise_for_status()
    until(
        lambda: (
            stack.partition(months[6]).get("built_generation") == 2
            and stack.ledger("select from quicksilver.gate_run having count(fired_at) = 2")
            and stack.ledger("select from quicksilver.canary")
        ),
        "the rebuild, the gate's two runs, and a canary",
        within=120,
    )


async def take(stack: FullStack) -> None:
    """Every picture, in both colours between them, on a desk and on a phone."""
    month = f"/partitions/{DATASET}/{YEAR}-07-01"
    async with async_playwright() as playwright:
        program = chromium()
        assert program is not None, "no Chromium: run `python -m tests.prepare`"
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        desk = {
            "overview": "/",
            "partition": month,
            "failed": f"/partitions/{DATASET}/{_BROKEN}",
            "explain": "/explain?key=" + quote(_KEY.format(f"{YEAR}-07-01")),
            "quarantined": "/quarantine/1",
        }
        await photograph(browser, stack, desk, width=1180)
        await photograph(browser, stack, {"phone": "/"}, width=390, is_dark=True)
        await browser.close()


async def photograph(
    browser: Browser, stack: FullStack, pages: dict[str, str], *, width: int, is_dark: bool = False
) -> None:
    """Log in and write a picture of each page."""
    url = stack.env["QUICKSILVER_URL"]
    context = await browser.new_context(
        viewport={"width": width, "height": 600}, color_scheme="dark" if is_dark else "light"
    )
    page = await context.new_page()
    await page.goto(url)
    await page.get_by_label("Operator's token").fill(stack.env["QUICKSILVER_OPERATOR_TOKENS"])
    await page.get_by_label("Your name").fill("anna")
    await page.get_by_role("button", name="Log in").click()
    for name, path in pages.items():
        await page.goto(url + path)
        if await page.locator("[data-live]").count():
            await expect(page.locator("#live-text")).to_have_text("live")
        text = await picture(page)
        assert faults(text) == [], f"{name}: {faults(text)}"
        write(SCREENS / f"{name}.svg", text)
    await context.close()


def write(path: Path, text: str) -> None:
    """Keep a picture, and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"{path.relative_to(PROJECT)}: {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
