"""`make chaos`: pull every plug while real objects land; a table at the end, non-zero when bad.

CHAOS_SEED replays the dice of a run, CHAOS_KILLS changes how many faults there are (200), and
CHAOS_ONLY=model,kills,misfits,flood,overflow,disk,hosts runs some of its parts.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from tests.chaos.diskfull import run_disk_full
from tests.chaos.flood import Check, run_flood, run_overflow
from tests.chaos.misfits import DECLARED, run_misfits
from tests.chaos.outages import run_hosts
from tests.chaos.rounds import Outcome, run_rounds
from tests.chaos.stage import MONTHS, ChaosStage, stage
from tests.support.checkout import PROJECT

# Where the partitions only bear witness, two are enough.
FEW = MONTHS[:2]
PARTS = ("model", "kills", "misfits", "flood", "overflow", "disk", "hosts")


def main() -> int:
    """Run the parts that are asked for."""
    console = Console(soft_wrap=True)
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[{time.monotonic() - began:6.0f} s] {line}", highlight=False, markup=False)

    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    kills = int(os.environ.get("CHAOS_KILLS") or 200)
    chosen = [p for p in os.environ.get("CHAOS_ONLY", ",".join(PARTS)).split(",") if p in PARTS]
    say(f"seed {seed} (CHAOS_SEED={seed} replays its dice); parts: {', '.join(chosen)}")
    checks: list[tuple[str, bool, str]] = []
    # `kill` ends the rounds as Ctrl-C does: with the table of what was done.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "model" in chosen:
        say("the model of the ledger: 500 examples of 50 steps, and 5,000 partitions to drain")
        checks.append(_model())
    outcome: Outcome | None = None
    if "kills" in chosen:
        with stage(say) as made:
            outcome = run_rounds(made, kills=kills, seed=seed, at_once=8)
    scenarios: dict[str, tuple[Callable[[ChaosStage], list[Check]], int | None, str]] = {
        "misfits": (run_misfits, None, DECLARED),
        "flood": (run_flood, None, ""),
        "overflow": (run_overflow, 500, ""),
        "disk": (run_disk_full, None, ""),
    }
    for name, (run, queue_limit, declared) in scenarios.items():
        if name in chosen:
            try:
                with stage(say, months=FEW, queue_limit=queue_limit, declared=declared) as made:
                    checks += run(made)
            except Exception as error:
                console.print_exception()
                checks.append((name, False, f"{type(error).__name__}: {error}"))
            say(f"{checks[-1][0]}: {'good' if checks[-1][1] else 'BAD'}: {checks[-1][2]}")
    if "hosts" in chosen:
        try:
            checks += run_hosts(say, seed=seed)
        except Exception as error:
            console.print_exception()
            checks.append(("several hosts", False, f"{type(error).__name__}: {error}"))
    report(console, outcome, checks)
    return 0 if (outcome is None or outcome.is_good) and all(good for _, good, _ in checks) else 1


def _model() -> tuple[str, bool, str]:
    tests = ("test_ledger_model.py", "test_ledger_ends.py")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short"),
            *(f"tests/integration/{name}" for name in tests),
        ],
        env={**os.environ, "CHAOS": "1"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines() or [done.stderr]
    return "model of the ledger", done.returncode == 0, lines[-1]


def report(console: Console, outcome: Outcome | None, checks: list[tuple[str, bool, str]]) -> None:
    """Print what was done and what came of it."""
    table = Table(title="chaos", show_header=False)
    if outcome is not None:
        median, worst = outcome.recovery()
        for name, count in sorted(outcome.injected.items()):
            table.add_row(f"  kill -9: {name}", f"{count}")
        table.add_row("faults injected", f"{outcome.kills}")
        table.add_row("events sent", f"{outcome.events}")
        table.add_row("partitions", f"{outcome.partitions}")
        table.add_row("lost", f"{outcome.lost}")
        table.add_row("doubled", f"{outcome.doubled}")
        table.add_row("stuck", f"{outcome.stuck}")
        table.add_row("recovery p50", f"{median:.1f} s")
        table.add_row("recovery max", f"{worst:.1f} s")
        for name, note in outcome.notes.items():
            table.add_row(name, note)
        table.add_row("seed", f"{outcome.seed}")
        table.add_section()
    for name, good, note in checks:
        table.add_row(name, f"{'good' if good else 'BAD'}: {note}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
