"""The whole stack, once for the session: what a PUT meets in real life."""

from collections.abc import Iterator

import pytest

from quicksilver.stack import EmbeddedStack
from quicksilver.stack.initialise import initialise_child
from tests.support.full_stack import FullStack
from tests.support.otlp import collecting
from tests.support.servers import HOMES, spare_the_disk


@pytest.fixture(scope="session")
def full_stack() -> Iterator[FullStack]:
    """Postgres, MinIO, Prefect, the service, the warm engine and a worker; it sends traces, and its
    canaries fly every two seconds."""
    with collecting() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        patch.setenv("QUICKSILVER_CANARY_INTERVAL", "2")
        stack = EmbeddedStack(HOMES / "full", ports=None, after_servers=[initialise_child])
        with stack:
            patch.undo()
            spare_the_disk(stack.home)
            yield FullStack(stack, stack.environment(), collector)
