"""A partition's condition, finer than its state: a word and three sentences. Pure.

The six states say what the ledger does with a partition. An operator asks other questions: what
is wrong, what readers see meanwhile, and what to do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quicksilver.domain.states import BuildState, PartitionState
from quicksilver.ledger.overview import REJECTED_SHARE
from quicksilver.support import clock

_BUILDING: Mapping[str, tuple[str, str]] = {
    BuildState.CLAIMED: ("waiting for Prefect", "It is claimed, and is being brought to Prefect."),
    BuildState.DISPATCHED: ("queued", "Prefect has its run, and no worker has taken it up yet."),
    BuildState.RUNNING: ("building", "Its flow is at work."),
    BuildState.PUBLISHED: ("ending", "Silver is committed; the run comes to its end."),
    BuildState.YIELDED: ("building again", "Bronze changed meanwhile: it is built again next."),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """`detail` is the finer word; then what is wrong or going on, what readers see, what to do.

    `is_warning` marks a built partition that is worth a look.
    """

    detail: str
    happening: str
    readers: str
    todo: str
    is_warning: bool = False


def condition(row: Mapping[str, Any]) -> Condition:
    """The condition of a partition as `views.partitions` and `finding.partitions` give it."""
    readers = _readers(row)
    state: str = row["shown_state"]
    if row["gone_at"] and state in (PartitionState.BUILT, PartitionState.WAITING):
        return _gone(row, readers)
    if state == PartitionState.FAILED:
        reason = (row["error"] or "no reason was given").strip().split("\n")[0]
        return Condition(
            "failed",
            f"It failed: {reason}",
            readers,
            "Fix the cause, then rebuild it; a new version of the file is built by itself.",
        )
    if state == PartitionState.RUNNING:
        word, said = _BUILDING.get(row["build_state"] or "", ("building", "A build is under way."))
        return Condition(word, said, readers, "Nothing: it ends by itself.")
    if state == PartitionState.PAUSED:
        return Condition(
            "paused",
            "Its dataset is paused; its events are recorded.",
            readers,
            "Resume the dataset: it is built then.",
        )
    if state == PartitionState.BUILT:
        return _built(row, readers)
    return _waiting(row, readers)


def _waiting(row: Mapping[str, Any], readers: str) -> Condition:
    due: datetime | None = row["due_at"]
    is_later = due is not None and due > clock.now()
    if row["attempts"] and is_later and due is not None:
        reason = (row["error"] or "no reason was given").strip().split("\n")[0]
        return Condition(
            f"retrying at {due:%H:%M:%S}",
            f"Attempt {row['attempts']} failed: {reason}. The next begins at {due:%H:%M:%S} UTC.",
            readers,
            "Nothing, if the cause passes by itself; a rebuild tries at once.",
        )
    if row["wait_reason"]:
        return Condition(
            "waiting",
            f"It waits: {row['wait_reason']}.",
            readers,
            "Nothing: what it waits for, or a rebuild, begins a build.",
        )
    if row["error"]:
        return Condition(
            "waiting",
            f"It waits: {row['error'].strip().splitlines()[0]}.",
            readers,
            "See the alert about it; then it goes on by itself.",
        )
    return Condition(
        "next in turn", "It is next in turn.", readers, "Nothing: it begins by itself."
    )


def _built(row: Mapping[str, Any], readers: str) -> Condition:
    bronze, silver, rejected = row["rows_bronze"], row["rows_silver"], row["rows_rejected"] or 0
    warnings: int = row["warnings"]
    if bronze and silver is None:
        return Condition(
            "bronze only",
            f"Bronze holds its {bronze:,} rows, and no model reads them.",
            "Readers of silver see nothing of it.",
            "Add a dbt model that selects it, then rebuild.",
            True,
        )
    if bronze and rejected / bronze >= REJECTED_SHARE:
        return Condition(
            "built with warnings",
            f"{rejected / bronze:.1%} of its rows were rejected ({rejected:,} of {bronze:,}).",
            readers,
            "See the reasons of its rejected rows; is it the right file?",
            True,
        )
    if warnings:
        return Condition(
            "built with warnings",
            f"It is built, with {warnings} warning{'s' if warnings > 1 else ''}.",
            readers,
            "Read the warnings of its build.",
            True,
        )
    return Condition("built", "Silver holds the newest generation.", readers, "Nothing needs you.")


def _gone(row: Mapping[str, Any], readers: str) -> Condition:
    gone: datetime = row["gone_at"]
    if row["built_manifest"] == []:
        readers = "Readers see nothing of it: silver was emptied."
    return Condition(
        "gone",
        f"Bronze has held no object of it since {gone:%Y-%m-%d %H:%M:%S} UTC.",
        readers,
        "Nothing, if it was meant to be deleted; otherwise put the object again.",
    )


def _readers(row: Mapping[str, Any]) -> str:
    if not row["built_generation"]:
        return "Readers see nothing of it yet."
    rows = "" if row["rows_silver"] is None else f", {row['rows_silver']:,} rows"
    # A running build has none of its own yet.
    since = row.get("served_at") or row["built_at"]
    at = f", since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    still = "still " if row["built_generation"] < row["generation"] else ""
    return f"Silver {still}serves generation {row['built_generation']}{at}{rows}."
