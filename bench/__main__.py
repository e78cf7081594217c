"""`python -m bench`: take the figures, print the table, write `results.json` and `budget.svg`."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Generator

from rich.console import Console

from bench import backlog, budget, full_month, history, idle, latency, receiver, sweeps
from bench.report import Figure, Outcome, machine, show, write
from bench.stage import BenchStage, staged
from quicksilver.settings import load_settings

_PARTS = ("latency", "backlog", "full_month", "idle", "receiver", "history", "sweeps")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=_PARTS, help="these figures; repeatable")
    parser.add_argument("--quick", action="store_true", help="few rounds: to try the bench itself")
    parser.add_argument("--idle-seconds", type=float, default=idle.SECONDS)
    options = parser.parse_args()
    wanted: set[str] = set(options.only or _PARTS)
    console = Console(width=150)
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {line}", highlight=False, markup=False)

    host = machine()
    console.print(host, highlight=False)
    home = load_settings().home.expanduser().resolve() / "bench"
    outcomes: dict[str, Outcome] = {}
    with staged(home, quick=options.quick, say=say) as stage:
        for name, outcome in _measure(stage, wanted, options.idle_seconds):
            outcomes[name] = outcome
            # Figures found so far are kept, even if the rest fails.
            write(outcomes, host, time.monotonic() - began, quick=options.quick)
            if name == "latency":
                budget.write(outcome.raw["budget_ms"])
    figures: list[Figure] = [
        one for part in _PARTS if part in outcomes for one in outcomes[part].figures
    ]
    show(figures, console)
    say("done")


def _measure(
    stage: BenchStage, wanted: set[str], idle_seconds: float
) -> Generator[tuple[str, Outcome]]:
    parts = {"latency": latency, "backlog": backlog, "full_month": full_month}
    for name, part in parts.items():
        if name in wanted:
            yield name, _one(stage, name, part.measure)
    if wanted & set(parts) and "idle" in wanted:
        time.sleep(5)  # the stack settles after what was just built
    window = idle.begin(stage, idle_seconds) if "idle" in wanted else None
    # They have processes and databases of their own: the stack's service stays idle.
    for name, part in {"receiver": receiver, "history": history, "sweeps": sweeps}.items():
        if name in wanted:
            yield name, _one(stage, name, part.measure)
    if window is not None:
        stage.say("measuring idle")
        yield "idle", idle.end(stage, window)


def _one(stage: BenchStage, name: str, measure: Callable[[BenchStage], Outcome]) -> Outcome:
    stage.say(f"measuring {name} (load {os.getloadavg()[0]:.1f})")
    began = time.monotonic()
    outcome = measure(stage)
    outcome.raw["took_seconds"] = time.monotonic() - began
    return outcome


if __name__ == "__main__":
    main()
