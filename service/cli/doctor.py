"""`quicksilver doctor`: every link of the chain, and what fixes a broken one."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from quicksilver.cli.groups import LOOK
from quicksilver.cli.shared import AsJson, app, console, print_json, reported
from quicksilver.errors import SettingsError
from quicksilver.settings import load_settings

if TYPE_CHECKING:
    from quicksilver.operators.doctor import Finding

_MARKS = {"ok": "[green]ok[/]", "broken": "[red]broken[/]", "skipped": "[dim]skipped[/]"}


@app.command(rich_help_panel=LOOK)
@reported
def doctor(as_json: AsJson = False) -> None:
    """Check each link from the settings to silver; exit 1 when one is broken."""
    from quicksilver import stack
    from quicksilver.operators.doctor import Finding, Probe, run_checks, skipped_checks

    def show(finding: Finding) -> None:
        if as_json:
            return
        console.print(f"{_MARKS[finding.status]:<8}", f"{finding.link:<12}", end=" ")
        console.print(finding.found, markup=False, highlight=False)
        if finding.fix:
            console.print(f"         fix: {finding.fix}", markup=False, highlight=False)

    try:
        settings = load_settings()
    except SettingsError as error:
        findings = skipped_checks(error, show)
    else:
        probe = Probe(settings, prefect_database=stack.prefect_database(settings))
        findings = asyncio.run(run_checks(probe, show))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        console.print(_summary(findings), markup=False, highlight=False)
    if any(finding.status == "broken" for finding in findings):
        raise typer.Exit(1)


def _summary(findings: "Sequence[Finding]") -> str:
    count = Counter(finding.status for finding in findings)
    broken = [finding.link for finding in findings if finding.status == "broken"]
    said = f"{count['ok']} links ok, {count['broken']} broken, {count['skipped']} skipped"
    return f"{said}: fix {', '.join(broken)} first" if broken else said
