"""Automations as code, on a real Prefect server, with local receivers for what they send."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiosmtpd.controller import Controller
from prefect.client.orchestration import get_client

from quicksilver.flows.notify_by_email import notify_by_email
from quicksilver.orchestrator.automations import apply, channels, wanted
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.ports import choose_port
from quicksilver.support import clock
from tests.support.waiting import until


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A local webhook receiver: its URL and what it got."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            received.append(orjson.loads(self.rfile.read(size)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received
    server.shutdown()
    thread.join()
    server.server_close()


def settings_with(url: str) -> Settings:
    return load_settings(notify_by="prefect", notify_webhook_url=url)


async def test_applied_twice_there_is_one_of_each(prefect_api: str, inbox: Any) -> None:
    async with get_client() as client:
        told = wanted(await channels(client, settings_with(inbox[0])))
        await apply(client, told)
        # Somebody made a second one of the same name by hand.
        await client.create_automation(told[0])
        lines = await apply(client, told)
        assert all("updated" in line for line in lines)
        for automation in told:
            assert len(await client.read_automations_by_name(automation.name)) == 1
        await apply(client, wanted([]))
        assert await client.read_automations_by_name(told[0].name) == []


async def test_a_failed_partition_reaches_the_webhook(prefect_api: str, inbox: Any) -> None:
    url, received = inbox
    deployments = Deployments(prefect_api)
    await deployments.open()
    async with get_client() as client:
        await apply(client, wanted(await channels(client, settings_with(url))))
        payload = {
            "dataset": "shop.orders",
            "dt": "2024-05-01",
            "generation": 3,
            "reason": "column total is missing",
            "link": "http://127.0.0.1:1/partitions/shop.orders/2024-05-01",
        }

        async def announce() -> None:
            await deployments.emit(
                [
                    {
                        "id": str(uuid4()),
                        "occurred": clock.now().isoformat(),
                        "event": "quicksilver.partition.failed",
                        "resource": {
                            "prefect.resource.id": "quicksilver.partition.shop.orders.2024-05-01"
                        },
                        "payload": payload,
                    }
                ]
            )

        # Prefect loads a new automation some time after it was made: tell until it hears.
        for _ in range(60):
            await announce()
            for _ in range(20):
                if received:
                    break
                await asyncio.sleep(0.05)
            if received:
                break
        await apply(client, wanted([]))
    await deployments.close()
    assert received
    text = received[0]["subject"] + received[0]["body"]
    for part in ("shop.orders", "2024-05-01", "column total is missing", payload["link"]):
        assert part in text


def test_an_email_is_sent(monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> None:
    class Box:
        def __init__(self) -> None:
            self.mails: list[bytes] = []

        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
            self.mails.append(envelope.content)
            return "250 OK"

    box = Box()
    port = choose_port(None)
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        monkeypatch.setenv("QUICKSILVER_NOTIFY_SMTP_URL", f"smtp://127.0.0.1:{port}")
        monkeypatch.setenv("QUICKSILVER_NOTIFY_EMAIL_TO", "night@example.org")
        notify_by_email("a\npartition: failed", "shop.orders/2024-05-01")
        mail = until(lambda: box.mails and box.mails[0], "the mail")
    finally:
        controller.stop()
    assert b"Subject: a partition: failed" in mail
    assert b"shop.orders/2024-05-01" in mail
