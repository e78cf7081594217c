"""The health of each part of an installation: states, sentences, and what fixes them."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

State = Literal["ok", "trouble", "unknown", "unused"]

# Without them no event is recorded and no build begins.
VITAL = ("ledger", "prefect")


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its state and since when, a sentence, and the command that fixes it.

    `unknown` could not be asked, `unused` is not part of this installation. `seen_at` is when the
    part last gave a sign of life, where that is known.
    """

    name: str
    state: State
    sentence: str
    fix: str = ""
    seen_at: datetime | None = None
    since: datetime | None = None

    def shown(self) -> dict[str, Any]:
        """The part as a JSON object."""
        return {
            **asdict(self),
            "seen_at": self.seen_at.isoformat() if self.seen_at else None,
            "since": self.since.isoformat() if self.since else None,
        }


@dataclass(frozen=True, slots=True)
class Health:
    """All parts, in the order of the data's way, as of `at`."""

    at: datetime
    parts: tuple[Part, ...]

    @property
    def troubles(self) -> tuple[Part, ...]:
        """The parts in trouble."""
        return tuple(part for part in self.parts if part.state == "trouble")

    @property
    def is_ready(self) -> bool:
        """Whether events are recorded and builds can begin."""
        return not any(part.name in VITAL for part in self.troubles)

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        if not self.troubles:
            return "Every part answers."
        return "; ".join(f"{part.name}: {part.sentence}" for part in self.troubles)


class HealthView(Protocol):
    """A source of the parts' health."""

    async def look(self, *, fresh: float = ...) -> Health:
        """The parts now, or as they were at most `fresh` seconds ago."""
        ...

    def glance(self) -> Health | None:
        """What was known last, without waiting for any part."""
        ...
