"""The command line: `quicksilver …`. Thin: each command calls one function and shows its answer."""

from quicksilver.cli import (
    acting,
    alerts,
    backfill,
    consume,
    doctor,
    ledger,
    project,
    quarantine,
    stack,
)
from quicksilver.cli.shared import LOOK, RUN, app

app.add_typer(quarantine.app, name="quarantine", rich_help_panel=LOOK)
app.add_typer(alerts.app, name="alerts", rich_help_panel=LOOK)
app.add_typer(consume.app, name="consume", rich_help_panel=RUN)

__all__ = [
    "acting",
    "alerts",
    "app",
    "backfill",
    "consume",
    "doctor",
    "ledger",
    "project",
    "quarantine",
    "stack",
]
