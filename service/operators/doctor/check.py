"""What the checks share, and what they find."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from quicksilver.domain.datasets import Datasets
from quicksilver.ledger import Ledger
from quicksilver.roles.canary import PATIENCE
from quicksilver.roles.health import HealthWatch
from quicksilver.settings import Settings

# Seconds that a link has to answer a question.
ANSWER_WITHIN = 5

# The finding for dbt and the warehouse in a project that only fires flows.
NO_TABLES = "not needed: no dataset has a bronze_table"


@dataclass(frozen=True, slots=True)
class Finding:
    """One link: `ok`, `broken` or `skipped`; what was seen, and the command that fixes it."""

    link: str
    status: str
    found: str
    fix: str = ""


class BrokenError(Exception):
    """A link is broken: what was seen, and what fixes it."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(found)
        self.found = found
        self.fix = fix


@dataclass(slots=True)
class Probe:
    """The chain being checked: its settings, and what earlier checks opened.

    `patience` is how many seconds a canary has, `pool` the work pool that is looked at,
    `prefect_database` the URL of Prefect's own database, where it is known.
    """

    settings: Settings
    pool: str = ""
    patience: float = PATIENCE
    prefect_database: str = ""
    datasets: Datasets | None = None
    ledger: Ledger | None = None
    findings: list[Finding] = field(default_factory=list[Finding])
    _health: HealthWatch | None = None

    @property
    def health(self) -> HealthWatch:
        """The parts as the service itself sees them, checked from here."""
        if self._health is None:
            looked_at = self.settings.model_copy(update={"pool": self.pool})
            self._health = HealthWatch(looked_at, self.ledger)
        return self._health

    def __post_init__(self) -> None:
        """The pool comes from the settings unless another one is given."""
        self.pool = self.pool or self.settings.pool

    def declared(self) -> Datasets:
        """The datasets, once they were read."""
        if self.datasets is None:
            raise BrokenError("datasets.yaml was not read", "see above")
        return self.datasets

    def buckets(self) -> list[str]:
        """Every declared dataset's bucket, each once."""
        return sorted({dataset.bucket for dataset in self.declared().datasets})


Check = Callable[[Probe], Awaitable[str]]


def first_line(error: Exception) -> str:
    """An error's first line, or its name when it says nothing."""
    return str(error).strip().split("\n")[0] or type(error).__name__
