"""Where the design saturates: a day of events and builds through a model of its stages.

    python -m bench.scale_model

Events are a flow, second by second; builds are single ones, each with its wait for a slot, for
Prefect's server and for its run. What a stage can do was measured on two cores (the constants
below); what a set-up has is how many of each. Half of a day's partitions land evenly, half within
one hour, as a daily delivery does. The same seed gives the same numbers.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

DAY = 86_400
RUSH = (4 * 3600, 5 * 3600)

# Events a second that each stage sustains, one of it.
LANE = 900.0  # a MinIO server's two lanes, with the PUTs themselves
RECEIVER = 6_900.0  # one process, committed with fsync in groups
LEDGER = 9_000.0  # one Postgres, many receivers: the primary's own commits
# A create_flow_run_from_deployment keeps one of Prefect's API servers this long, in seconds.
CREATE = 1 / 23
# API servers on one database slow each other down: three do the work of 2.4.
SHARED_DATABASE = 0.8
# A warm run: from create to code, the build of a small month, and Prefect's heartbeat thread,
# whose end keeps the slot though silver is there.
START, BUILD, TAIL = 0.65, 1.05, 1.0
# From PUT to the commit in the ledger, and from the commit to a claim, with nothing in the way.
EVENT_DELAY, CLAIM_DELAY = 0.006, 0.010


@dataclass(frozen=True)
class Setup:
    """How many of each there are; `batch` partitions share one flow run."""

    name: str
    minio: int = 1
    receivers: int = 1
    ledgers: int = 1
    prefect: int = 1
    slots: int = 4
    batch: int = 1

    def stages(self) -> dict[str, float]:
        """Events a second that each stage can pass on."""
        return {
            "MinIO's lanes": LANE * self.minio,
            "receivers": RECEIVER * self.receivers,
            "ledger": LEDGER * self.ledgers,
        }

    def create_seconds(self) -> float:
        """Seconds between two creates, when there is always one to make."""
        parallel = 1 + (self.prefect - 1) * SHARED_DATABASE
        return CREATE / parallel


@dataclass(frozen=True)
class Outcome:
    """A day's figures; latencies in seconds, from PUT to silver."""

    busiest: str
    load: float
    median: float
    p99: float
    worst: float
    keeps_up: bool


def arrivals(partitions: int, seed: int) -> list[float]:
    """When a day's partitions land."""
    dice = random.Random(seed)
    spread = [dice.uniform(0, DAY) for _ in range(partitions // 2)]
    rush = [dice.uniform(*RUSH) for _ in range(partitions - len(spread))]
    return sorted(spread + rush)


def simulate(setup: Setup, events_per_second: float, partitions: int, seed: int = 1) -> Outcome:
    """One day. Events beyond the partitions' own are metadata, duplicates and other files."""
    stages = setup.stages()
    narrow = min(stages.values())
    # Past capacity the senders' queues hold what comes: the wait grows for as long as it lasts.
    excess = max(events_per_second / narrow - 1, 0.0)
    slots = [0.0] * setup.slots
    api_free = 0.0
    latencies: list[float] = []
    landed = arrivals(partitions, seed)
    position = 0
    while position < len(landed):
        put = landed[position]
        known = put + EVENT_DELAY + excess * put
        slot = heapq.heappop(slots)
        claimed = max(known + CLAIM_DELAY, slot)
        # Whatever is known by then, up to `batch`, goes with the same run.
        members = [put]
        while (
            len(members) < setup.batch
            and position + len(members) < len(landed)
            and landed[position + len(members)] * (1 + excess) + EVENT_DELAY <= claimed
        ):
            members.append(landed[position + len(members)])
        position += len(members)
        created = max(claimed, api_free) + setup.create_seconds()
        api_free = created
        built = created + START
        for put_at in members:
            built += BUILD
            latencies.append(built - put_at)
        heapq.heappush(slots, built + TAIL)
    latencies.sort()
    span = RUSH[1] - RUSH[0]
    rush_share = 0.5 * partitions / span
    loads = {name: events_per_second / capacity for name, capacity in stages.items()}
    run_seconds = (setup.create_seconds() + START + BUILD * setup.batch + TAIL) / setup.batch
    loads["Prefect's creates"] = rush_share / setup.batch * setup.create_seconds()
    loads["worker slots"] = rush_share * run_seconds / setup.slots
    busiest = max(loads, key=lambda name: loads[name])
    return Outcome(
        busiest=busiest,
        load=loads[busiest],
        median=latencies[len(latencies) // 2],
        p99=latencies[int(len(latencies) * 0.99)],
        worst=latencies[-1],
        keeps_up=excess == 0,
    )


SETUPS = (
    Setup("one machine"),
    Setup("the compose stack, 16 slots", receivers=2, slots=16),
    Setup("48 slots, 3 Prefect servers", receivers=2, prefect=3, slots=48),
    Setup("48 slots, 10 partitions a run", receivers=2, prefect=1, slots=48, batch=10),
    Setup("the same, 12 MinIO servers, 2 ledgers", 12, 3, 2, slots=48, batch=10),
)
LOADS = ((10, 100), (10, 100_000), (10_000, 100), (10_000, 100_000))


def seconds(value: float) -> str:
    """A duration that a person reads at once."""
    if value < 100:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def table() -> list[str]:
    """The model's answers as a Markdown table."""
    lines = [
        "| events/s | partitions/day | set-up | busiest stage (load in the rush) | PUT → silver,"
        " median | 99 % | worst |",
        "| ---: | ---: | --- | --- | ---: | ---: | ---: |",
    ]
    for events, partitions in LOADS:
        for setup in SETUPS:
            day = simulate(setup, events, partitions)
            took = [seconds(t) for t in (day.median, day.p99, day.worst)]
            if not day.keeps_up:
                # A queue that keeps growing has no typical wait.
                took = ["falls behind"] * 3
            lines.append(
                f"| {events:,} | {partitions:,} | {setup.name} | {day.busiest}"
                f" ({day.load * 100:.0f} %) | {' | '.join(took)} |"
            )
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
