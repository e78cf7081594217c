"""Commands about the project itself: make one, check one."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from quicksilver.cli.shared import AsJson, app, console, print_json, reported
from quicksilver.operators.new_project import Example, new_project
from quicksilver.settings import load_settings


@app.command()
@reported
def new(
    folder: Annotated[Path, typer.Argument(help="The project's folder; made if need be.")],
    example: Annotated[
        Example, typer.Option("--example", help="What it begins with.")
    ] = Example.PLAIN_FLOW,
) -> None:
    """Make a project: datasets.yaml, prefect.yaml, .env and what the example needs."""
    written = new_project(folder, example)
    console.print(
        f"{folder}: {', '.join(written)}\nnext: cd {folder}, quicksilver check, quicksilver up",
        highlight=False,
        markup=False,
    )


@app.command()
@reported
def check(as_json: AsJson = False) -> None:
    """Say whether datasets.yaml, prefect.yaml, the dbt project and the buckets fit each other.

    Exit 1 on an error. What could not be looked at is said, and is no error.
    """
    from quicksilver.operators.check import Level, check_project

    findings = asyncio.run(check_project(load_settings()))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            line = f"{finding.level:<12} {finding.where}: {finding.what}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
            if finding.do:
                console.print(f"{'':<12} do: {finding.do}", highlight=False, markup=False)
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(1)
