"""Commands about the project itself: make one, check one."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from quicksilver.cli.groups import SET_UP
from quicksilver.cli.shared import AsJson, app, console, print_json, reported
from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import QuicksilverError
from quicksilver.operators.new_project import Example, new_project
from quicksilver.settings import load_settings


@app.command(rich_help_panel=SET_UP)
@reported
def new(
    folder: Annotated[Path, typer.Argument(help="The project's folder; made if need be.")],
    example: Annotated[
        Example, typer.Option("--example", help="What it begins with.")
    ] = Example.PLAIN_FLOW,
    as_json: AsJson = False,
) -> None:
    """Make a project: datasets.yaml, prefect.yaml, .env and what the example needs."""
    written = new_project(folder, example)
    if as_json:
        print_json({"folder": str(folder), "files": written})
        return
    console.print(
        f"{folder}: {', '.join(written)}\nnext: cd {folder}, quicksilver check, quicksilver up",
        highlight=False,
        markup=False,
    )


@app.command(rich_help_panel=SET_UP)
@reported
def check(
    key: Annotated[
        str, typer.Argument(help="What would an object of this key be? A key, or s3://bucket/key.")
    ] = "",
    from_lake: Annotated[
        str,
        typer.Option(
            "--from-lake",
            metavar="BUCKET/PREFIX",
            help="Look at what lies there, and propose a declaration.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Say whether datasets.yaml, prefect.yaml, the dbt project and the buckets fit each other.

    Exit 1 on an error, or when a key belongs to no partition. What could not be looked at is said,
    and is not an error.
    """
    if key and from_lake:
        raise typer.BadParameter("KEY and --from-lake: which one?")
    if key:
        _check_key(key, as_json)
    elif from_lake:
        _propose(from_lake, as_json)
    else:
        _check_project(as_json)


def _check_project(as_json: bool) -> None:
    from quicksilver.operators.check import Level, check_project

    findings = asyncio.run(check_project(load_settings()))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _say(f"{finding.level:<12} {finding.where}: {finding.what}")
            if finding.do:
                _say(f"{'':<12} do: {finding.do}")
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(1)


def _check_key(key: str, as_json: bool) -> None:
    from quicksilver.operators.check.keys import explain_key

    datasets = load_datasets(load_settings().datasets_file)
    findings = explain_key(datasets, key)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            what = f"partition {finding.partition}" if finding.partition else finding.reason
            _say(f"{finding.dataset}: {what}: {finding.why}")
        if not findings:
            _say("no dataset is declared for that bucket")
    if not any(finding.partition for finding in findings):
        raise typer.Exit(1)


def _propose(location: str, as_json: bool) -> None:
    from quicksilver.operators.check.proposal import as_yaml, list_keys, propose

    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    keys = list_keys(load_settings(), bucket, prefix)
    proposals = propose(keys)
    if as_json:
        print_json([asdict(proposal) for proposal in proposals])
    elif proposals:
        _say(f"# {len(keys)} keys of s3://{bucket}/{prefix} looked at; read it before you use it")
        _say(as_yaml(bucket, proposals))
    else:
        raise QuicksilverError(
            f"s3://{bucket}/{prefix} holds no key that a pattern could be made of"
            f" ({len(keys)} looked at): name a prefix that holds data"
        )


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
