"""`quicksilver init`: everything outside this process that the service relies on. Idempotent."""

from collections.abc import Callable

from prefect.client.orchestration import get_client

from flows.automations import apply, channels, example, wanted
from flows.blocks import register_blocks
from flows.prepare_warehouse import ensure_warehouse
from service.datasets import load_datasets
from service.lanes import configure_lanes
from service.migrate import migrate
from service.pool import configure_pool, deploy_all
from service.settings import Settings

Say = Callable[[str], None]

# Where MinIO keeps what the durable lane could not deliver, unless said otherwise.
QUEUE_DIR = "/var/lib/minio/quicksilver-queue"


async def initialise(
    settings: Settings,
    say: Say,
    *,
    queue_dir: str = QUEUE_DIR,
    receiver_url: str | None = None,
    lanes: bool = True,
    with_example: bool = False,
) -> None:
    """Ledger, warehouse, buckets and lanes, work pool, blocks, deployments, automations.

    Without `lanes` MinIO is left alone: it takes a webhook target only where the service answers,
    and the service starts only where the deployments are.

    Raises:
        QuicksilverError: a part refused or is away; what was done before it stays, and calling
            again goes on.
    """
    settings.require("database_url", "warehouse_url")
    datasets = load_datasets(settings.datasets_file)
    for name in await migrate(settings.database_url.get_secret_value()):
        say(f"ledger: migration {name}")
    await ensure_warehouse(settings, datasets)
    say("warehouse: in place")
    if lanes:
        settings.require("minio_access_key", "minio_secret_key")
        for line in configure_lanes(
            settings, datasets, receiver_url=receiver_url or settings.url, queue_dir=queue_dir
        ).lines:
            say(line)
    say(await configure_pool(settings))
    for line in await register_blocks(settings):
        say(line)
    for line in await deploy_all(settings):
        say(line)
    async with get_client() as client:
        told = wanted(await channels(client, settings))
        if with_example:
            told.append(await example(client))
        for line in await apply(client, told):
            say(line)
