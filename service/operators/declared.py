"""A dataset's declaration in words, with a key that fits it. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Match, match, prefixes


def example_key(dataset: Dataset, now: datetime, newest: str | None = None) -> str:
    """A key that belongs to the dataset; `newest` is the name of a partition that it has."""
    pattern = dataset.pattern
    if newest is None:
        parts = [pattern.time_name(now)] if pattern.grain else []
        parts += [f"{name}=example" for name in pattern.dimensions]
        newest = "example" if dataset.each == "object" else "/".join(parts) or "all"
    try:
        start = prefixes(dataset, newest)[0]
    except ValueError:
        # The name comes from an earlier declaration.
        return example_key(dataset, now)
    if dataset.each == "object" or not pattern.tail:
        return start
    return start + dataset.globs[0].replace("*", "data").replace("?", "1")


def in_words(dataset: Dataset, key: str) -> Iterator[tuple[str, str]]:
    """What each part of a declaration means: a title and sentences."""
    found = match(dataset, key)
    name = found.partition.name if isinstance(found, Match) else "none"
    files = " or ".join(dataset.globs)
    yield (
        "What lands",
        f"Objects of bucket {dataset.bucket} whose key is like {dataset.key} and whose name is like"
        f" {files}. {key} belongs to partition {name}.",
    )
    yield "When it is ready", _ready(dataset)
    ends = (
        "the flow tells the ledger, and publishes in one commit"
        if dataset.ends_by == "ledger"
        else "the end of its Prefect run is the end of the build"
    )
    most = f"; at most {dataset.max_running} at once" if dataset.max_running else ""
    table = f" Its rows go to {dataset.bronze_table}." if dataset.bronze_table else ""
    after = f" Then {', '.join(dataset.then)} is fired." if dataset.then else ""
    yield (
        "How it is built",
        f"By deployment {dataset.deployment}; {ends}{most}.{table}{after}",
    )
    skipped = (
        " A file that cannot be read is left out, and told."
        if dataset.on_bad_file == "skip"
        else ""
    )
    yield (
        "If it fails",
        f"An outage is tried again, {dataset.attempts} times at most; an error of the data is final"
        f" at once. A build has {_span(dataset.time_limit)}.{skipped}",
    )
    yield (
        "If bronze loses it",
        "Silver is emptied of it." if dataset.when_gone == "remove" else "Silver stays as it is.",
    )
    fresh = (
        f" or when nothing new landed for {_span(dataset.fresh_within)}"
        if dataset.fresh_within
        else ""
    )
    yield (
        "When people are told",
        f"When a partition waits for more than {_span(dataset.overdue)}{fresh}, and of each"
        " failure.",
    )


def _ready(dataset: Dataset) -> str:
    if dataset.each == "object":
        return "Each object is a partition of its own, ready when it lands."
    rule = dataset.ready
    needs: list[str] = []
    if rule.marker:
        needs.append(f"{rule.marker} is there")
    if rule.min_files:
        needs.append(f"{rule.min_files} files are there")
    if rule.quiet:
        needs.append(f"nothing has changed for {_span(rule.quiet)}")
    if not needs:
        return "As soon as a file lands."
    most = f", and after {_span(rule.max_wait)} at the latest" if rule.max_wait else ""
    return f"When {' and '.join(needs)}{most}."


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit if count != 1 else unit[:-1]}"
    return f"{seconds:g} seconds"
