"""The command line: `quicksilver …`. Thin: each command calls one function and shows its answer."""

from quicksilver.cli import (
    acting,
    alerts,
    backfill,
    consume,
    doctor,
    looking,
    project,
    quarantine,
    serve,
    setting_up,
    stack,
    status,
)
from quicksilver.cli.groups import LOOK, RUN
from quicksilver.cli.shared import app

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
    "looking",
    "project",
    "quarantine",
    "serve",
    "setting_up",
    "stack",
    "status",
]
