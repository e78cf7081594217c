"""The ledger: what landed, what must be built, and which builds run. The only SQL of the service.

Each method is one transaction and runs the statements of the `.sql` files here by their names. A
method that changes a state names the state (and owner) it expects; finding none is an answer, not
an error. `LedgerUnavailableError` from any of them means: nothing was written, try again later.
"""

from pathlib import Path

from quicksilver.domain.datasets import Datasets
from quicksilver.ledger.claims import Claims
from quicksilver.ledger.comparison import Comparison
from quicksilver.ledger.finding import Finding
from quicksilver.ledger.gates import Gating
from quicksilver.ledger.notices import Notices
from quicksilver.ledger.operators import Operators
from quicksilver.ledger.outbox import Announcements
from quicksilver.ledger.overview import Overview
from quicksilver.ledger.proof import Proof
from quicksilver.ledger.quarantine import Quarantine
from quicksilver.ledger.recording import Recording
from quicksilver.ledger.rows import ActiveBuild, BegunBuild, ClaimedBuild, NoBuild, SealedBuild
from quicksilver.ledger.runs import Runs
from quicksilver.ledger.sealing import Sealing
from quicksilver.ledger.settlement import BUILD_SPACE, Settlement
from quicksilver.ledger.upkeep import Upkeep
from quicksilver.ledger.views import Views
from quicksilver.ledger.waiting import Waiting
from quicksilver.ledger.watch import Monitoring
from quicksilver.support.postgres import Database
from quicksilver.support.statements import register

register(Path(__file__).parent)


class Ledger:
    """The ledger's transactions, in parts by the role that calls them."""

    def __init__(self, database: Database, datasets: Datasets) -> None:
        self.database = database
        self.datasets = datasets
        self.recording = Recording(database, datasets)
        self.comparison = Comparison(database, datasets)
        self.waiting = Waiting(database, datasets)
        self.quarantine = Quarantine(database, datasets)
        self.claims = Claims(database, datasets)
        self.sealing = Sealing(database, datasets)
        self.runs = Runs(database, datasets)
        self.settlement = Settlement(database, datasets)
        self.upkeep = Upkeep(database, datasets)
        self.views = Views(database, datasets)
        self.overview = Overview(database, datasets)
        self.proof = Proof(database, datasets)
        self.watch = Monitoring(database, datasets)
        self.outbox = Announcements(database, datasets)
        self.gates = Gating(database, datasets)
        self.operators = Operators(database, datasets)
        self.notices = Notices(database, datasets)
        self.finding = Finding(database, datasets)


__all__ = [
    "BUILD_SPACE",
    "ActiveBuild",
    "BegunBuild",
    "ClaimedBuild",
    "Ledger",
    "NoBuild",
    "SealedBuild",
]
