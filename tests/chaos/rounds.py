"""Rounds of faults; after each, everything must be well again."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.faults import Faults
from tests.chaos.stage import ChaosStage, StuckError

# A run that stays PENDING is replaced after 30 s, and its successor may meet the same fate; on a
# small machine each restart takes its time as well.
_WELL_WITHIN = 300.0


@dataclass
class Outcome:
    """What came of it."""

    seed: int
    injected: Counter[str] = field(default_factory=Counter[str])
    events: int = 0
    partitions: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    recoveries: list[float] = field(default_factory=list[float])
    notes: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def kills(self) -> int:
        """Faults injected."""
        return sum(self.injected.values())

    @property
    def is_good(self) -> bool:
        """Nothing lost, doubled or stuck."""
        return not (self.lost or self.doubled or self.stuck)

    def recovery(self) -> tuple[float, float]:
        """Median and maximum, in seconds."""
        if not self.recoveries:
            return 0.0, 0.0
        return statistics.median(self.recoveries), max(self.recoveries)


def run_rounds(stage: ChaosStage, *, kills: int, seed: int, at_once: int = 4) -> Outcome:
    """Inject faults until there were `kills`, `at_once` a round; stops at the first that sticks."""
    outcome = Outcome(seed)
    faults = Faults(stage, random.Random(seed))
    for number, dt in enumerate(stage.versions):
        stage.put(dt, number)
    stage.await_built(_WELL_WITHIN)
    try:
        _strike_and_mend(stage, faults, outcome, kills, at_once)
    except KeyboardInterrupt:
        # Asked to end early: what was done so far still has to be well.
        outcome.notes["ended early"] = f"{outcome.kills} of {kills} kills"
        outcome.recoveries.append(stage.await_built(_WELL_WITHIN))
    return _conclude(stage, outcome)


def _strike_and_mend(
    stage: ChaosStage, faults: Faults, outcome: Outcome, kills: int, at_once: int
) -> None:
    number = 0
    while outcome.kills < kills:
        number += 1
        names: list[str] = []
        for _ in range(min(at_once, kills - outcome.kills)):
            if name := faults.strike():
                names.append(name)
                outcome.injected = faults.injected
        try:
            seconds = stage.await_built(_WELL_WITHIN)
        except StuckError as error:
            outcome.stuck += 1
            outcome.notes["stuck"] = f"round {number} ({', '.join(names)}): {error}"
            return
        outcome.recoveries.append(seconds)
        outcome.doubled = stage.doubled()
        stage.say(
            f"round {number}: {', '.join(names) or 'missed'};"
            f" well after {seconds:.1f} s ({outcome.kills} of {kills} kills)"
        )
        if outcome.doubled:
            return


def _conclude(stage: ChaosStage, outcome: Outcome) -> Outcome:
    problems = stage.unfinished()
    outcome.lost = sum("not what bronze holds" in problem for problem in problems.values())
    outcome.events = stage.sent
    outcome.partitions = len(stage.current)
    states = dict(stage.ledger("select state, count(*) from quicksilver.build group by state"))
    outcome.notes["builds"] = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    found = dict(stage.ledger("select name, value from quicksilver.counter"))
    outcome.notes["found by the sweep alone"] = str(found.get("sweep_found", 0))
    return outcome
