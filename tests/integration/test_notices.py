"""People are told once of each cause, then that it is over, whether Prefect lives or not."""

import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import orjson
import pytest

from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.roles.health import HealthWatch
from quicksilver.roles.notifier import Notifier
from quicksilver.roles.watchdog import Watchdog
from quicksilver.stack.ports import choose_port
from quicksilver.support import clock
from tests.support.ledger_harness import NAME, LedgerHarness, days

MISSING = "bronze/trips/dt=2024-01-{:02d}/data.parquet: required column id is missing"


class Inbox:
    """A webhook that can be told to refuse; `messages` is what it took."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if inbox.status == 200:
                    inbox.messages.append(orjson.loads(body))
                self.send_response(inbox.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                return

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """A webhook of people."""
    opened = Inbox()
    yield opened
    opened.close()


@pytest.fixture
async def kit(ledger_url: str, inbox: Inbox) -> AsyncIterator[LedgerHarness]:
    """A ledger whose trouble is told to the inbox; its Prefect and its MinIO are nowhere."""
    nobody = f"http://127.0.0.1:{choose_port(None)}"
    opened = await LedgerHarness.open(
        ledger_url,
        notify_webhook_url=inbox.url,
        prefect_api_url=f"{nobody}/api",
        minio_endpoint_url=nobody,
    )
    opened.settings.url = "http://quicksilver.example"
    yield opened
    await opened.close()
    clock.reset()


def watching(kit: LedgerHarness) -> tuple[Watchdog, Notifier]:
    """The two roles over the ledger."""
    notifier = Notifier(kit.settings, kit.ledger)
    health = HealthWatch(kit.settings, kit.ledger)
    return Watchdog(kit.settings, kit.ledger, health, notifier), notifier


async def fail(kit: LedgerHarness, count: int) -> None:
    """So many partitions whose files lack a column."""
    for number, dt in enumerate(days(count), 1):
        await kit.put("v1", dt)
        await kit.fetch(
            "update quicksilver.partition set state = 'failed', error = %s, updated_at = %s"
            " where state <> 'failed'",
            MISSING.format(number % 28 + 1),
            clock.now(),
        )


async def test_forty_bad_files_are_one_message_and_their_end_another(
    kit: LedgerHarness, inbox: Inbox
) -> None:
    watchdog, notifier = watching(kit)
    await fail(kit, 40)
    await watchdog.run_once()
    assert await notifier.run_once() == 0, "what belongs together is gathered first"
    clock.advance(timedelta(seconds=7))
    assert await notifier.run_once() == 1
    await watchdog.run_once()
    clock.advance(timedelta(seconds=60))
    assert await notifier.run_once() == 0
    (message,) = inbox.messages
    assert message["subject"].startswith(f"Quicksilver: 40 partitions of {NAME} failed: ")
    assert "required column id is missing" in message["body"]
    assert f"http://quicksilver.example/partitions?dataset={NAME}&state=failed" in message["body"]
    (told,) = message["alerts"]
    assert (told["state"], told["kind"], told["count"]) == ("raised", "failed", 40)
    await kit.fetch("update quicksilver.partition set state = 'built', error = null")
    await watchdog.run_once()
    assert await notifier.run_once() == 1
    assert inbox.messages[1]["subject"].startswith("Quicksilver: resolved: 40 partitions")


async def test_a_channel_that_refuses_is_tried_again(kit: LedgerHarness, inbox: Inbox) -> None:
    watchdog, notifier = watching(kit)
    await fail(kit, 1)
    await watchdog.run_once()
    clock.advance(timedelta(seconds=7))
    inbox.status = 503
    assert await notifier.run_once() == 0
    inbox.status = 200
    assert await notifier.run_once() == 1
    assert inbox.messages[0]["subject"].startswith(f"Quicksilver: {NAME}/")


async def test_two_replicas_tell_of_an_alert_once(kit: LedgerHarness, inbox: Inbox) -> None:
    watchdog, notifier = watching(kit)
    _, other = watching(kit)
    await fail(kit, 3)
    await watchdog.run_once()
    clock.advance(timedelta(seconds=7))
    assert sorted([await notifier.run_once(), await other.run_once()]) == [0, 1]
    assert len(inbox.messages) == 1


async def test_prefect_and_minio_away_are_told_with_what_fixes_them(
    kit: LedgerHarness, inbox: Inbox
) -> None:
    notifier = Notifier(kit.settings, kit.ledger)
    health = HealthWatch(kit.settings, kit.ledger)
    watchdog = Watchdog(kit.settings, kit.ledger, health, notifier)
    await watchdog.run_once()
    assert await kit.ledger.notices.alerts() == [], "what is started again is told to nobody"
    clock.advance(timedelta(seconds=11))
    await health.look(fresh=0)
    await watchdog.run_once()
    alerts = await kit.ledger.notices.alerts()
    assert {(a["kind"], a["subject"]) for a in alerts} == {("part", "minio"), ("part", "prefect")}
    clock.advance(timedelta(seconds=7))
    assert await notifier.run_once() == 2
    (message,) = inbox.messages
    assert message["subject"] == "Quicksilver: 2 new"
    assert "Fix: start MinIO, or correct MINIO_ENDPOINT_URL" in message["body"]
    assert "Fix: start Prefect's server, or correct PREFECT_API_URL" in message["body"]


async def test_a_silenced_alert_is_told_to_nobody_until_then(
    kit: LedgerHarness, inbox: Inbox
) -> None:
    watchdog, notifier = watching(kit)
    await fail(kit, 2)
    await watchdog.run_once()
    (alert,) = await kit.ledger.notices.alerts()
    until = clock.now() + timedelta(hours=1)
    assert await kit.ledger.notices.silence(alert["id"], until, "page:anna", "known: vendor")
    clock.advance(timedelta(minutes=30))
    assert await notifier.run_once() == 0
    (shown,) = await kit.ledger.notices.alerts()
    assert (shown["silenced_by"], shown["silenced_for"]) == ("page:anna", "known: vendor")
    clock.advance(timedelta(minutes=31))
    assert await notifier.run_once() == 1
    assert len(inbox.messages) == 1


async def test_what_is_due_and_not_dispatched_is_told(kit: LedgerHarness) -> None:
    await kit.put("v1")
    clock.advance(timedelta(minutes=2))
    row = await kit.ledger.notices.stuck(within=timedelta(seconds=40), slots=4)
    assert row is not None
    assert row["partitions"] == 1
    assert await kit.ledger.notices.stuck(within=timedelta(seconds=40), slots=0) is None


async def test_what_a_store_that_is_away_brings_with_it_is_not_told(
    kit: LedgerHarness, inbox: Inbox
) -> None:
    notifier = Notifier(kit.settings, kit.ledger)
    for name in ("a", "b", "c"):
        await raise_alert(kit.ledger, "sweep", name, f"{name} cannot be compared with bronze")
    clock.advance(timedelta(seconds=10))
    assert await notifier.run_once() == 0, "its cause may be on its way"
    await raise_alert(kit.ledger, "part", "minio", "minio does not answer")
    clock.advance(timedelta(seconds=60))
    assert await notifier.run_once() == 1
    for name in ("a", "b"):
        await clear_alert(kit.ledger, "sweep", name)
    await clear_alert(kit.ledger, "part", "minio")
    clock.advance(timedelta(seconds=60))
    # The store is back: what is still wrong has another cause, and what was not told has no end.
    assert await notifier.run_once() == 2
    assert [a["subject"] for m in inbox.messages for a in m["alerts"]] == ["minio", "c", "minio"]
