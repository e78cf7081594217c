"""MinIO's webhook targets: set where somebody answers, corrected when they are not what they
should be, and otherwise left alone. A MinIO whose environment says nothing of them, as people's."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest

from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import QuicksilverError
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.rules import configure_lanes
from quicksilver.lake.targets import configured_targets, minio_admin, read_targets
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from tests.support.minio import minio_running
from tests.support.servers import MinioServer
from tests.support.waiting import until

BUCKET = "lanes"


@dataclass
class Listener:
    """Stands where targets point to: who told of what on which lane, and with which token."""

    url: str
    heard: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, str | None]])

    def heard_of(self, lane: str) -> str | None:
        """What the newest event of a lane carried as its authorization."""
        return next((token for path, token in reversed(self.heard) if path.endswith(lane)), None)


@contextmanager
def listening() -> Generator[Listener]:
    """A receiver of events, on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if body:
                listener.heard.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    listener = Listener(f"http://{LOOPBACK}:{server.server_port}")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Lake:
    """A MinIO of people's own, and how it is set up."""

    settings: Settings
    folder: Path

    def configure(self, receiver_url: str, tokens: str = "one", **options: Any) -> list[str]:
        """Set the lanes up; what was said."""
        said: list[str] = []
        settings = self.settings.model_copy(
            update={"webhook_tokens": load_settings(webhook_tokens=tokens).webhook_tokens}
        )
        datasets = load_datasets(self.settings.datasets_file)
        configure_lanes(settings, datasets, said.append, receiver_url=receiver_url, **options)
        return said

    def put(self) -> None:
        """Land an object that both lanes tell of."""
        name = f"trips/dt=2024-01-01/{uuid4().hex}.parquet"
        minio_client(self.settings).put_object(BUCKET, name, BytesIO(b"x"), 1)

    def put_until(self, listener: Listener, lane: str, token: str) -> None:
        """Land objects until a lane tells with a token: a target just set may miss the first."""

        def is_heard() -> bool:
            self.put()
            return listener.heard_of(lane) == f"Bearer {token}"

        until(is_heard, f"the {lane} lane tells with {token}", every=0.5)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    folder = tmp_path_factory.mktemp("lake")
    declared = folder / "datasets.yaml"
    declared.write_text(
        f'{{"datasets": {{"trips": {{"bucket": "{BUCKET}", "key": "trips/dt={{dt}}/{{file}}",'
        ' "deployment": "a/b"}}}'
    )
    with minio_running(folder) as running:
        yield Lake(running.model_copy(update={"datasets_file": declared}), folder)


def test_targets_are_set_once_and_corrected_when_they_differ(lake: Lake) -> None:
    queue = str(lake.folder / "a queue")
    nobody = f"http://{LOOPBACK}:{choose_port(None)}"
    with pytest.raises(QuicksilverError) as refused:
        lake.configure(nobody, queue_dir=queue)
    assert f"nobody does at {nobody}" in str(refused.value)
    assert "start `quicksilver serve`, then run `quicksilver init` again" in str(refused.value)
    assert "--receiver-url" in str(refused.value)

    with listening() as first, listening() as second:
        said = lake.configure(first.url, queue_dir=queue)
        assert said == [
            "webhook target QUICKSILVER_FAST: set",
            "webhook target QUICKSILVER_DURABLE: set",
            f"bucket {BUCKET}: notification rules set",
        ]
        untouched = ["webhook targets: in place", f"bucket {BUCKET}: notification rules in place"]
        assert lake.configure(first.url, queue_dir=queue) == untouched
        assert lake.configure(f"{first.url}/") == untouched, "a queue that is not named stays"
        lake.put_until(first, "fast", "one")

        # Another address: both are set again, each with its token, the queue stays.
        said = lake.configure(second.url, "two,three")
        assert said[0] == (
            f"webhook target QUICKSILVER_FAST: set to {second.url}/events/minio?lane=fast,"
            f" was {first.url}/events/minio?lane=fast"
        )
        assert configured_targets(minio_admin(lake.settings))["QUICKSILVER_DURABLE"].queue_dir == (
            queue
        )
        lake.put_until(second, "fast", "two")
        lake.put_until(second, "durable", "three")

        # Another token: nobody sees that it differs, and it is set when asked for. Another queue.
        assert lake.configure(second.url, "four,five")[0] == "webhook targets: in place"
        other = str(lake.folder / "other")
        said = lake.configure(second.url, "four,five", renew=True, queue_dir=other)
        assert said[:2] == [
            "webhook target QUICKSILVER_FAST: set again, with its token",
            f"webhook target QUICKSILVER_DURABLE: queue directory set to {other}, was {queue}",
        ]
        lake.put_until(second, "fast", "four")
        lake.put_until(second, "durable", "five")


def test_a_queue_that_cannot_be_made_is_told_as_minio_says_it(lake: Lake) -> None:
    with listening() as listener, pytest.raises(QuicksilverError) as refused:
        lake.configure(listener.url, queue_dir="/proc/nowhere")
    assert "unable to initialize the queue store" in str(refused.value)
    assert "quicksilver serve" not in str(refused.value)


def test_what_minios_environment_sets_can_only_be_changed_there(
    minio_server: MinioServer, lake: Lake
) -> None:
    own = lake.settings.model_copy(
        update={
            "minio_endpoint_url": minio_server.endpoint_url,
            "minio_access_key": minio_server.access_key,
            "minio_secret_key": load_settings(
                minio_secret_key=minio_server.secret_key
            ).minio_secret_key,
        }
    )
    embedded = Lake(own, lake.folder)
    present = configured_targets(minio_admin(own))
    assert present["QUICKSILVER_FAST"].endpoint == (
        f"{minio_server.receiver_url}/events/minio?lane=fast"
    )
    assert all(target.is_of_environment for target in present.values())
    assert embedded.configure(minio_server.receiver_url)[1] == "webhook targets: in place"
    settled_there = "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_QUICKSILVER_FAST"
    with pytest.raises(QuicksilverError, match=settled_there):
        embedded.configure("http://elsewhere:1")
    with pytest.raises(QuicksilverError, match=settled_there):
        embedded.configure(minio_server.receiver_url, renew=True)


def test_what_minio_tells_of_its_targets_is_read() -> None:
    text = """notify_webhook enable=off endpoint= auth_token= queue_limit=0 queue_dir= client_cert=
notify_webhook:OTHER endpoint=http://other queue_dir=/o
notify_webhook:QUICKSILVER_FAST enable=off endpoint=http://f queue_limit=0 queue_dir=
notify_webhook:QUICKSILVER_DURABLE endpoint="http://d/a b" queue_limit=1 queue_dir="/a b" x=
"""
    (durable,) = read_targets(text).values()
    assert (durable.endpoint, durable.queue_dir, durable.is_of_environment) == (
        "http://d/a b",
        "/a b",
        False,
    )
