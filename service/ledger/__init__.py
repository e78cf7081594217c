"""The ledger: what landed, what must still be built, who builds it. The only SQL of the service.

Each method is one transaction and runs the statements of `service/queries/` by their names. A
method that changes a state names the state (and owner) it expects; finding none is an answer, not
an error. `LedgerUnavailableError` from any of them means: nothing was written, try again later.
"""

from service.database import Database
from service.datasets import Datasets
from service.ledger.announcements import Announcements
from service.ledger.claims import Claims
from service.ledger.gating import Gating
from service.ledger.overview import Overview
from service.ledger.proof import Proof
from service.ledger.quarantine import Quarantine
from service.ledger.recording import Recording
from service.ledger.rows import (
    ActiveBuild,
    BegunBuild,
    ClaimedBuild,
    NoBuild,
    SealedBuild,
)
from service.ledger.runs import Runs
from service.ledger.sealing import Sealing
from service.ledger.settlement import BUILD_SPACE, Settlement
from service.ledger.upkeep import Upkeep
from service.ledger.views import Views
from service.ledger.watch import Watch


class Ledger(
    Recording,
    Quarantine,
    Claims,
    Sealing,
    Runs,
    Settlement,
    Upkeep,
    Views,
    Overview,
    Proof,
    Watch,
    Announcements,
    Gating,
):
    """The ledger's transactions, by the role that calls them."""

    def __init__(self, database: Database, datasets: Datasets) -> None:
        self.database = database
        self.datasets = datasets


__all__ = [
    "BUILD_SPACE",
    "ActiveBuild",
    "BegunBuild",
    "ClaimedBuild",
    "Ledger",
    "NoBuild",
    "SealedBuild",
]
