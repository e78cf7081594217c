"""`quicksilver init`: everything outside this process that the service relies on. Idempotent."""

from collections.abc import Callable
from contextlib import suppress

import httpx

from quicksilver.build.prepare import ensure_warehouse
from quicksilver.domain.datasets import Datasets, load_datasets
from quicksilver.errors import QuicksilverError
from quicksilver.lake.ceph import configure_topics
from quicksilver.lake.detect import contradiction
from quicksilver.lake.rules import configure_lanes, make_buckets
from quicksilver.lake.stores import store_of
from quicksilver.ledger.migrate import migrate
from quicksilver.orchestrator.automations import apply, channels, example, wanted
from quicksilver.orchestrator.blocks import register_blocks
from quicksilver.orchestrator.deploy import deploy_all
from quicksilver.orchestrator.pool import configure_pool, prefect_client
from quicksilver.settings import Settings

Say = Callable[[str], None]


def wants_warehouse(datasets: Datasets) -> bool:
    """Whether the project's datasets become tables; otherwise Quicksilver only fires flows."""
    return any(dataset.bronze_table for dataset in datasets.datasets)


async def initialise(
    settings: Settings,
    say: Say,
    *,
    queue_dir: str | None = None,
    receiver_url: str | None = None,
    lanes: bool = True,
    renew_lanes: bool = False,
    with_example: bool = False,
    set_pool_command: bool = False,
) -> None:
    """Ledger, warehouse, work pool, blocks, deployments, automations; buckets and lanes last.

    MinIO accepts a webhook target only if the service answers, and the service starts only if the
    deployments exist: the first call makes all that the service needs, and a second one after its
    start sets the lanes. Without `lanes`, MinIO is left alone.

    Raises:
        QuicksilverError: a part refused or is away; what was done before it stays, and calling
            again goes on.
    """
    settings.require("database_url")
    datasets = load_datasets(settings.datasets_file)
    if wants_warehouse(datasets):
        settings.require("warehouse_url")
    for name in await migrate(settings.database_url.get_secret_value()):
        say(f"ledger: migration {name}")
    if wants_warehouse(datasets):
        await ensure_warehouse(settings, datasets)
        say("warehouse: in place")
    say(await configure_pool(settings, set_command=set_pool_command))
    async with prefect_client(settings) as client:
        for line in await register_blocks(settings):
            say(line)
        for line in await deploy_all(settings):
            say(line)
        told = wanted(await channels(client, settings))
        if with_example:
            told.append(await example(client))
        for line in await apply(client, told):
            say(line)
    if lanes:
        settings.require("minio_access_key", "minio_secret_key", "webhook_tokens")
        _set_up_store(settings, datasets, say, receiver_url or settings.url, queue_dir, renew_lanes)


def _set_up_store(
    settings: Settings,
    datasets: Datasets,
    say: Say,
    receiver_url: str,
    queue_dir: str | None,
    renew: bool,
) -> None:
    """What the store's API sets, and the lines for what it does not."""
    store = store_of(settings)
    with suppress(httpx.HTTPError):  # the next call reports a store that is away
        if wrong := contradiction(settings.store, settings.minio_endpoint_url):
            raise QuicksilverError(
                f"{wrong}: correct the one or the other, for every part of Quicksilver"
            )
    if settings.store == "ceph":
        configure_topics(settings, datasets, say, receiver_url=receiver_url)
        return
    if store.instructions is None:
        configure_lanes(
            settings, datasets, say, receiver_url=receiver_url, queue_dir=queue_dir, renew=renew
        )
        return
    make_buckets(settings, datasets, say)
    told = store.instructions(receiver_url.rstrip("/"), datasets)
    say(f"{store.title}: {told}\nTOKEN is one of QUICKSILVER_WEBHOOK_TOKENS")
