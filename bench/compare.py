"""`python -m bench.compare A.json B.json`: what changed between two results, beside their noise."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Figures = dict[tuple[str, str, str], dict[str, Any]]


def figures(path: Path) -> Figures:
    """A file's figures by part, name and baseline."""
    parts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["parts"]
    return {
        (part, one["figure"], one["baseline"]): one
        for part, found in parts.items()
        for one in found["figures"]
    }


def change(before: dict[str, Any], after: dict[str, Any]) -> tuple[float | None, str]:
    """By how much the second value differs, as a part of the first, and a verdict.

    Where both runs have a baseline on the same machine, the factors are compared, so that a faster
    machine does not count as progress.
    """
    if not before["value"]:
        return None, ""
    ratio = after["value"] / before["value"]
    if before.get("baseline_value") and after.get("baseline_value"):
        ratio /= after["baseline_value"] / before["baseline_value"]
    noise = [one["spread"] for one in (before, after) if one.get("spread") is not None]
    if not noise:
        return ratio - 1, "noise not known"
    return ratio - 1, "changed" if abs(ratio - 1) > max(noise) else "within the noise"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("before", type=Path, metavar="A.json")
    parser.add_argument("after", type=Path, metavar="B.json")
    options = parser.parse_args()
    before, after = figures(options.before), figures(options.after)
    table = Table("part", "figure", "A", "B", "change", "noise A, B", "")
    for key in before | after:
        one, other = before.get(key), after.get(key)
        cells = [_value(one), _value(other)]
        if one and other:
            by, words = change(one, other)
            noise = ", ".join(_percent(each.get("spread")) for each in (one, other))
            cells += ["" if by is None else f"{100 * by:+.0f} %", noise, words]
        else:
            cells += ["", "", "only in A" if one else "only in B"]
        table.add_row(key[0], key[1], *cells)
    Console(width=170).print(table)
    print("change: of the factor to the baseline of the same run, where there is one")


def _value(one: dict[str, Any] | None) -> str:
    return "" if one is None else f"{one['value']:,.3g} {one['unit']}"


def _percent(part: float | None) -> str:
    return "?" if part is None else f"{100 * part:.0f} %"


if __name__ == "__main__":
    main()
