"""How flows meet the service: through the ledger, whether the service is up or not."""

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import LedgerUnavailableError
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.orchestrator.blocks import settings_of_run
from quicksilver.settings import Settings
from quicksilver.support.postgres import Database


@dataclass(frozen=True, slots=True)
class FlowContext:
    """What a flow works with: settings, the ledger, bronze."""

    settings: Settings
    ledger: Ledger
    bronze: Bronze


@asynccontextmanager
async def opened(*required: str) -> AsyncGenerator[FlowContext]:
    """Open the ledger and bronze for a flow run; closed at its end.

    `required`: the settings that it needs; ledger and warehouse unless it says so.

    Raises:
        SettingsError, DatasetsError: the worker's environment is incomplete.
    """
    settings = await settings_of_run()
    settings.require(*(required or ("database_url", "warehouse_url")))
    datasets = load_datasets(settings.datasets_file)
    database = Database(
        settings.database_url.get_secret_value(), size=2, application="quicksilver-flow"
    )
    await database.open()
    try:
        ledger = Ledger(database, datasets)
        # All hosts share deadlines, so this host's clock must not decide. A ledger that is away is
        # asked later.
        with contextlib.suppress(LedgerUnavailableError):
            await ledger.upkeep.set_clock()
        yield FlowContext(settings, ledger, Bronze(settings))
    finally:
        await database.close()
