"""The command line: `quicksilver …`. Thin: each command calls one function and shows its answer."""

from quicksilver.cli import backfill, doctor, ledger, project, quarantine, stack
from quicksilver.cli.shared import app

app.add_typer(quarantine.app, name="quarantine")

__all__ = ["app", "backfill", "doctor", "ledger", "project", "quarantine", "stack"]
