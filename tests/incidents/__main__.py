"""`make incidents`: play each incident on a real stack; who said what of it, and how soon.

INCIDENTS_ONLY=worker,deletion plays those whose name has one of the words. Non-zero when anything
took over a minute, was never said, or was said too often.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from rich.console import Console
from rich.table import Table

from tests.incidents.plays import PLAYS, Play
from tests.incidents.stage import Stage, stage
from tests.support.waiting import until

WITHIN = 60.0
# Longer is looked at, so that the table says how late it was.
_PATIENCE = 120.0
_SHOWN = 110


@dataclass(frozen=True)
class Told:
    """Who said it, after how many seconds, in what words; None: never."""

    who: str
    seconds: float | None
    words: str

    @property
    def is_good(self) -> bool:
        """Whether it came in time."""
        return self.seconds is not None and self.seconds <= WITHIN


def main() -> int:
    """Play what is asked for; a table at the end."""
    console = Console(soft_wrap=True)
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[{time.monotonic() - began:5.0f} s] {line}", highlight=False, markup=False)

    words = [w for w in os.environ.get("INCIDENTS_ONLY", "").split(",") if w]
    chosen = [p for p in PLAYS if not words or any(w in p.name for w in words)]
    outcome: dict[str, list[Told]] = {}
    with stage(say) as made:
        for play in chosen:
            until(made.is_calm, "a calm stack", within=300, every=1)
            try:
                outcome[play.name] = perform(made, play)
            except Exception as error:
                outcome[play.name] = [Told("the play itself", None, f"{error}")]
            for told in outcome[play.name]:
                say(f"{play.name}: {told.who}: {_seconds(told)}: {told.words[:_SHOWN]}")
    table = Table(title=f"incidents: seconds until it was said (at most {WITHIN:g})")
    for column in ("incident", "who", "s", "what was said"):
        table.add_column(column, justify="right" if column == "s" else "left")
    for name, tolds in outcome.items():
        for told in tolds:
            mark = "" if told.is_good else " BAD"
            table.add_row(name, told.who, _seconds(told) + mark, told.words[:_SHOWN])
        table.add_section()
    console.print(table, markup=False)
    return 0 if all(told.is_good for tolds in outcome.values() for told in tolds) else 1


def _seconds(told: Told) -> str:
    return "never" if told.seconds is None else f"{told.seconds:.1f}"


def perform(made: Stage, play: Play) -> list[Told]:
    """Strike, listen everywhere at once, mend."""
    if play.before is not None:
        play.before(made)
    struck = time.monotonic()
    play.strike(made)
    path, on_page = play.page
    command, in_status = play.status
    asked: list[tuple[str, Callable[[], str], str]] = [
        ("page", lambda: made.page(path), on_page),
        ("status", lambda: made.command(*command), in_status),
    ]
    if play.doctor is not None:
        asked.append(("doctor", lambda: made.command("doctor"), play.doctor))
    if play.message is not None:
        asked.append(("message", lambda: "\n".join(made.inbox.texts(struck)), play.message))
    with ThreadPoolExecutor(len(asked)) as pool:
        waiting = [pool.submit(listen, *one, since=struck) for one in asked]
        tolds = [one.result() for one in waiting]
    play.mend(made)
    if play.message is not None:
        tolds.append(_resolved(made, play, struck))
    return tolds


def listen(who: str, ask: Callable[[], str], words: str, *, since: float) -> Told:
    """Ask until the words are there."""
    pattern, last = re.compile(words), ""
    while time.monotonic() - since < _PATIENCE:
        try:
            last = ask()
        except (httpx.HTTPError, OSError) as error:
            last = f"{type(error).__name__}: {error}"
        for line in last.splitlines():
            if pattern.search(line):
                return Told(who, time.monotonic() - since, line.strip())
        time.sleep(0.5)
    return Told(who, None, " / ".join(last.split("\n"))[:400])


def _resolved(made: Stage, play: Play, since: float) -> Told:
    """That it is over is told, too; and nobody got more messages than the play allows."""
    mended = time.monotonic()

    def ask() -> str:
        return "\n".join(made.inbox.texts(since))

    told = listen("resolved", ask, r"(?i)resolved", since=mended)
    raised = [
        text
        for text in made.inbox.texts(since)
        if not text.lower().startswith("quicksilver: resolved")
    ]
    if len(raised) > play.messages:
        return Told("messages", None, f"{len(raised)} messages: {' | '.join(raised)}")
    return told


if __name__ == "__main__":
    sys.exit(main())
